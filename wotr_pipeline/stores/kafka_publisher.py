"""Publishing to Kafka from an event loop: an answer only when the brokers have the record.

Belongs here: the gateway's producer (acks=all, idempotent) and the way from its thread back to the loop.
Does not belong here: bulk sending (``kafka_producer.py``), what is published (``gateway/ingest.py``).

The driver calls back for each record, in its own thread. Waking the loop for each would cost more than the rest, so
the thread wakes it once for all that were acknowledged together.
"""

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ..config import Settings
from .errors import PermanentError, TransientError

_log = logging.getLogger(__name__)

DELIVERY_SECONDS = 8.0
"""After that a record counts as not taken, and the client is asked to send it again."""
LINGER_MS = 2
QUEUE_RECORDS = 200_000
QUEUE_KILOBYTES = 192 * 1024
MAX_RECORD_BYTES = 1_000_000

Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be published."""

    key: str
    value: bytes
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """Where an acknowledged record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As the pipeline names it."""
        return f"{self.topic}:{self.partition}:{self.offset}"


class KafkaPublisher:
    """Publishes to the topic of events; to be entered with ``async with`` on the loop that uses it."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.kafka_topic
        self._servers = settings.kafka_bootstrap
        self._producer: Any = None
        self._stopping = threading.Event()
        self._finished: list[_Publication] = []
        self._mutex = threading.Lock()

    async def __aenter__(self) -> Self:
        """Start the producer. Kafka need not be there yet."""
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "client.id": "wotr-gateway",
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": LINGER_MS,
                "batch.size": 512 * 1024,
                "message.max.bytes": MAX_RECORD_BYTES,
                "queue.buffering.max.messages": QUEUE_RECORDS,
                "queue.buffering.max.kbytes": QUEUE_KILOBYTES,
                "delivery.timeout.ms": int(DELIVERY_SECONDS * 1000),
                "socket.connection.setup.timeout.ms": 3_000,
                "reconnect.backoff.max.ms": 1_000,
                "allow.auto.create.topics": False,
                "log_level": 2,
            },
            logger=_log,
        )
        self._polling = threading.Thread(target=self._poll, name="kafka-publisher", daemon=True)
        self._polling.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._producer.flush, DELIVERY_SECONDS)
        self._stopping.set()
        await asyncio.to_thread(self._polling.join)

    async def publish(self, records: Sequence[Record]) -> list[Position | TransientError | PermanentError]:
        """Publish and wait; for each record where it lies, or why it does not. Never raises for one of them.

        A record that was not acknowledged in time may be there all the same: whoever sends it again must use
        the same id.
        """
        publication = _Publication(len(records), self._loop.create_future(), self._done)
        for number, record in enumerate(records):
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    on_delivery=partial(publication.note, number),
                    headers=list(record.headers) or None,
                )
            except BufferError:
                publication.refuse(number, TransientError("The gateway has too much under way to Kafka."))
            except KafkaException as error:
                publication.refuse(number, self._error(error.args[0]))
        if not records:
            return []
        await publication.finished
        return [
            self._error(result) if isinstance(result, KafkaError) else result
            for result in publication.results
        ]

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)

    def _done(self, publication: "_Publication") -> None:
        with self._mutex:
            self._finished.append(publication)
            first = len(self._finished) == 1
        if first:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        with self._mutex:
            finished, self._finished = self._finished, []
        for publication in finished:
            if not publication.finished.done():  # its request may have been given up
                publication.finished.set_result(None)

    def _error(self, error: KafkaError) -> TransientError | PermanentError:
        text = f"Kafka at {self._servers} did not take a record for {self._topic} ({error.name()})."
        if error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            return PermanentError(text)
        return TransientError(text)


class _Publication:
    """Records that were published together, until the last of them has its result."""

    __slots__ = ("_left", "_mutex", "_when_done", "finished", "results")

    def __init__(self, records: int, finished: "asyncio.Future[None]", when_done: Any) -> None:
        self.results: list[Any] = [None] * records
        self.finished = finished
        self._left = records
        self._when_done = when_done
        self._mutex = threading.Lock()

    def note(self, number: int, error: KafkaError | None, message: Message) -> None:
        """The driver's callback, in its thread."""
        if error is not None:
            self.refuse(number, error)
        else:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            self._set(number, Position(topic or "", partition or 0, offset or 0))

    def refuse(self, number: int, error: KafkaError | TransientError | PermanentError) -> None:
        """This record will not be there."""
        self._set(number, error)

    def _set(self, number: int, result: object) -> None:
        with self._mutex:
            self.results[number] = result
            self._left -= 1
            done = self._left == 0
        if done:
            self._when_done(self)
