"""Kafka's records in bulk: ranges of offsets as Arrow tables.

Belongs here: reading a planned range completely, or saying exactly what of it Kafka no longer holds.
Does not belong here: asking about offsets (``kafka_offsets.py``), producing (``kafka_producer.py``),
planning, or decoding events: a record's bytes are passed on as they are.
"""

import logging
import time
from bisect import bisect_right
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ..config import Settings
from .errors import PermanentError, TransientError
from .kafka_rows import Record, RecordRows, error_of, offset_of

_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30.0
"""How long a read goes on without a single record before it gives up."""
AHEAD_BYTES = 32 * 1024**2
"""How much librdkafka fetches ahead and holds in memory; with 16 MiB it stalls between fetches."""
POLL_SECONDS = 0.1
ASK_SECONDS = 10.0

CHUNK_RECORDS = 500
"""Records taken at once: more are slower, because librdkafka's and our objects leave the CPU's caches."""
FIRST_CHUNK_RECORDS = 16
"""Taken before anything is known about the records' size, which may be megabytes each."""
CHUNK_BYTES = 4 * 1024**2

_PERMANENT = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "there is no such topic or partition",
    KafkaError._UNKNOWN_TOPIC: "there is no such topic",
    KafkaError._UNKNOWN_PARTITION: "there is no such partition",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "reading the topic is not allowed",
    KafkaError._AUTHENTICATION: "the credentials are wrong",
    KafkaError.SASL_AUTHENTICATION_FAILED: "the credentials are wrong",
}
_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


class OffsetsGoneError(PermanentError):
    """Kafka no longer holds (or, the topic made anew, does not hold yet) all offsets of a range."""

    def __init__(self, topic: str, partition: int, first: int, last: int, low: int, high: int) -> None:
        self.first, self.last, self.low, self.high = first, last, low, high
        if first < low:
            gone = f"{first}-{min(last, low - 1)}"
            reason = f"Kafka's low watermark is {low}: retention or delete-records was quicker than landing."
        else:
            gone = f"{max(first, high)}-{last}"
            reason = f"Kafka ends at {high}: the topic was made anew or its log was cut."
        super().__init__(
            f"offsets {gone} of {topic}[{partition}] are gone: {reason} Asked for were {first}-{last}."
        )


@dataclass(frozen=True)
class RecordSlice:
    """Every committed record of ``first`` to ``last_offset``, in order, as ``RAW_SCHEMA``.

    Offsets without a record (compacted, aborted, transaction markers) are normal. ``bytes`` counts keys,
    values and headers.
    """

    table: pa.Table
    last_offset: int
    records: int
    bytes: int


class RecordReader:
    """Reads ranges of the settings' topic with one consumer; to be entered with ``with``.

    Ranges of one partition in the order of their offsets are read in one stream: what the consumer has
    fetched ahead of a range serves the next one. Not to be shared between threads.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        ahead_bytes: int = AHEAD_BYTES,
    ) -> None:
        self._topic = settings.kafka_topic
        self._servers = settings.kafka_bootstrap
        self._patience = patience_seconds
        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": settings.kafka_bootstrap,
                "client.id": "wotr-landing",
                # Required by the library. Offsets are neither read from it nor committed to it.
                "group.id": f"{settings.kafka_group}-landing",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "check.crcs": True,
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "topic.metadata.propagation.max.ms": 1000,
                "queued.min.messages": 1_000_000,
                "queued.max.messages.kbytes": ahead_bytes // 1024,
                "fetch.queue.backoff.ms": 5,
                "fetch.wait.max.ms": 50,
                "max.partition.fetch.bytes": 4 * 1024**2,
                "socket.connection.setup.timeout.ms": 5_000,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 2,
            },
            logger=_log,
        )
        self._partition: int | None = None
        self._next = -1
        self._ahead: list[Record] = []
        self._chunk_records = FIRST_CHUNK_RECORDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def read(self, partition: int, first: int, last: int, max_bytes: int) -> RecordSlice:
        """Offsets ``first`` to ``last`` (both included) of ``partition``.

        When the records exceed ``max_bytes``, the slice ends before the one that does, and says so by a
        ``last_offset`` below ``last``; it holds one record at least.

        Raises:
            OffsetsGoneError: Kafka does not hold the beginning or the end of the range.
            PermanentError: no such topic or partition, or Kafka refuses.
            TransientError: no record came for ``patience_seconds``, or Kafka is away.
        """
        try:
            return self._read(partition, first, last, max_bytes)
        except BaseException:
            self._partition = None  # whatever was fetched ahead: begin afresh
            raise

    def _read(self, partition: int, first: int, last: int, max_bytes: int) -> RecordSlice:
        if (self._partition, self._next) != (partition, first):
            self._seek(partition, first)
        rows = RecordRows(max_bytes)
        covered = first - 1
        deadline = time.monotonic() + self._patience
        while covered < last:
            chunk = self._take(last - covered)
            usable = _leading_records(chunk, last)
            taken = rows.add(chunk[:usable])
            self._ahead = chunk[taken:]
            if taken < usable:  # the byte bound
                covered = chunk[taken].offset() - 1
                break
            if usable:
                covered = chunk[usable - 1].offset()
                deadline = time.monotonic() + self._patience
            if usable < len(chunk) and covered < last:
                event = chunk[usable]
                if event.error() is None or self._is_end(event, partition, covered + 1, last):
                    covered = last  # a record or the partition's end lies behind the range
                elif event.error().code() in _GONE and rows.records:
                    break  # what was read is kept; the next read names what is gone
                else:
                    self._raise_if_fatal(event.error(), partition, covered + 1, last)
                    self._ahead = chunk[usable + 1 :]
            elif time.monotonic() > deadline:
                raise TransientError(
                    f"Kafka at {self._servers} sent nothing of {self._topic}[{partition}] after offset {covered} "
                    f"for {self._patience:.0f} s; {last - covered} offsets of {first}-{last} are missing."
                )
        self._next = covered + 1
        return RecordSlice(rows.table(), covered, rows.records, rows.bytes)

    def _seek(self, partition: int, first: int) -> None:
        try:
            if self._partition is None:
                # A missing topic would otherwise look like a slow one.
                described = self._consumer.list_topics(self._topic, ASK_SECONDS).topics[self._topic]
                if described.error is not None:
                    raise self._error(described.error, partition)
                if partition not in described.partitions:
                    raise self._error(KafkaError(KafkaError._UNKNOWN_PARTITION), partition)
            self._consumer.assign([TopicPartition(self._topic, partition, first)])
        except KafkaException as error:
            raise self._error(error.args[0], partition) from error
        self._partition, self._next, self._ahead = partition, first, []

    def _take(self, offsets: int) -> list[Record]:
        """The next records and events, in order; never more records than ``offsets``, maybe none."""
        if self._ahead:
            return self._ahead
        try:
            chunk: list[Record] = self._consumer.consume(min(self._chunk_records, offsets), POLL_SECONDS)
        except KafkaException as error:
            raise self._error(error.args[0], self._partition) from error
        if chunk:
            average = sum(map(len, chunk)) // len(chunk) + 1
            self._chunk_records = max(1, min(CHUNK_RECORDS, CHUNK_BYTES // average))
        return chunk

    def _is_end(self, event: Record, partition: int, first: int, last: int) -> bool:
        """Whether the event says that Kafka holds no more records up to ``last``, and rightly so.

        Raises:
            OffsetsGoneError: the partition ends inside the range, which it did not when it was planned.
        """
        if event.error().code() != KafkaError._PARTITION_EOF:
            return False
        if event.offset() > last:
            return True
        low, high = self._watermarks(partition)
        if high <= last:
            raise OffsetsGoneError(self._topic, partition, first, last, low, high)
        return False  # an old event: records have come since

    def _raise_if_fatal(self, error: KafkaError, partition: int, first: int, last: int) -> None:
        if error.code() in _GONE:
            low, high = self._watermarks(partition)
            if low <= first and last < high:
                raise self._error(error, partition)
            raise OffsetsGoneError(self._topic, partition, first, last, low, high)
        if error.code() != KafkaError._PARTITION_EOF and not error.retriable():
            raise self._error(error, partition)

    def _watermarks(self, partition: int) -> tuple[int, int]:
        try:
            found = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), timeout=ASK_SECONDS
            )
        except KafkaException as error:
            raise self._error(error.args[0], partition) from error
        low, high = found
        return low, high

    def _error(self, error: KafkaError, partition: int | None) -> PermanentError | TransientError:
        where = f"Kafka at {self._servers} did not let {self._topic}[{partition}] be read"
        if error.code() in _PERMANENT:
            return PermanentError(f"{where}: {_PERMANENT[error.code()]} ({error.name()}). Mend that first.")
        return TransientError(f"{where} ({error.name()}). Trying again is safe.")


def _leading_records(chunk: list[Record], last: int) -> int:
    """How many messages at the head of the chunk are records (not events) up to offset ``last``."""
    usable = len(chunk)
    if any(map(error_of, chunk)):
        usable = next(index for index, message in enumerate(chunk) if message.error() is not None)
    if usable and chunk[usable - 1].offset() > last:
        usable = bisect_right(chunk, last, hi=usable, key=offset_of)
    return usable
