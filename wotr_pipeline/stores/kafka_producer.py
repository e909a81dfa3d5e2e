"""Sending records to Kafka so that an acknowledged one is kept.

Belongs here: the producer that ``wotr ingest``, ``wotr sample``, replays and tests share.
Does not belong here: what is sent (``operations/``), reading (``kafka_records.py``).
"""

import logging
import time
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from ..config import Settings
from .errors import PermanentError, TransientError

_log = logging.getLogger(__name__)

QUEUE_RECORDS = 100_000
QUEUE_KILOBYTES = 64 * 1024
DELIVERY_SECONDS = 60.0
CONNECT_SECONDS = 5.0
"""How long entering waits for the broker and the topic."""

_PERMANENT = {
    KafkaError.MSG_SIZE_TOO_LARGE: "the record is larger than the topic takes",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "there is no such topic or partition",
    KafkaError._UNKNOWN_TOPIC: "there is no such topic",
    KafkaError._UNKNOWN_PARTITION: "there is no such partition",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "writing to the topic is not allowed",
    KafkaError.INVALID_TIMESTAMP: "the topic does not take a record of that time",
    KafkaError.INVALID_RECORD: "the topic does not take such a record",
    KafkaError._INVALID_ARG: "the record cannot be sent as it is",
    KafkaError._AUTHENTICATION: "the credentials are wrong",
}
Header = tuple[str, bytes | None]
NOW = 0
"""As a timestamp: let the client's clock decide."""


class EventProducer:
    """Sends records to one topic, in bounded memory; to be entered with ``with``.

    Idempotent: a record is neither lost nor doubled by a retry of the client's own. Leaving the ``with``
    block without an error flushes. After a failed delivery every further ``send`` or ``flush`` raises
    that failure.
    """

    def __init__(self, settings: Settings, topic: str | None = None, *, receipts: bool = False) -> None:
        self._topic = topic or settings.kafka_topic
        self._with_receipts = receipts
        self.receipts: list[tuple[Any, int, int]] = []
        """With ``receipts``: (tag, partition, offset) of each acknowledged record, for the caller to take."""
        self._servers = settings.kafka_bootstrap
        self.sent = 0
        self._failed = 0
        self._failure: KafkaError | None = None
        self._producer: Any = None

    @property
    def acknowledged(self) -> int:
        """How many of the records that were sent Kafka has confirmed so far, in no particular order."""
        return self.sent - self._failed - (len(self._producer) if self._producer is not None else 0)

    def __enter__(self) -> Self:
        """Connect. Raises PermanentError if there is no such topic, TransientError if Kafka is away."""
        connection: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self._servers,
            "client.id": "wotr-producer",
            "socket.connection.setup.timeout.ms": 5_000,
            "log_level": 2,
        }
        try:
            admin = AdminClient(connection, logger=_log)
            described = admin.list_topics(self._topic, CONNECT_SECONDS).topics[self._topic]
            if described.error is not None:
                raise self._error(described.error)
            resource = ConfigResource(ConfigResource.Type.TOPIC, self._topic)
            configured = admin.describe_configs([resource], request_timeout=CONNECT_SECONDS)[
                resource
            ].result()
        except KafkaException as error:
            raise self._error(error.args[0]) from error
        self._producer = Producer(
            connection
            | {
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.size": 512 * 1024,
                # A record that is too large is refused by send(), not by the broker seconds later.
                "message.max.bytes": int(configured["max.message.bytes"].value),
                "queue.buffering.max.messages": QUEUE_RECORDS,
                "queue.buffering.max.kbytes": QUEUE_KILOBYTES,
                "delivery.timeout.ms": int(DELIVERY_SECONDS * 1000),
                "delivery.report.only.error": not self._with_receipts,
                "allow.auto.create.topics": False,
            },
            logger=_log,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        else:
            self._producer.purge()
            self._producer.flush(1.0)

    def send(
        self,
        value: bytes | None,
        key: bytes | str | None = None,
        headers: Sequence[Header] | None = None,
        timestamp_ms: int = NOW,
        partition: int | None = None,
        tag: object = None,
    ) -> None:
        """Queue a record; waits while the queue is full. ``tag``: what its receipt shall say.

        Raises:
            PermanentError: Kafka refuses this record or an earlier one for good; what to do is in the text.
            TransientError: Kafka took none for ``DELIVERY_SECONDS``.
        """
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            self._raise_failure()
            try:
                self._producer.produce(
                    self._topic,
                    value,
                    key,
                    -1 if partition is None else partition,
                    partial(self._acknowledged, tag) if self._with_receipts else self._delivered,
                    timestamp=timestamp_ms,
                    headers=list(headers) if headers else None,
                )
            except BufferError:
                if time.monotonic() > deadline:
                    raise self._error(KafkaError(KafkaError._MSG_TIMED_OUT)) from None
                self._producer.poll(0.1)
                continue
            except KafkaException as error:
                raise self._error(error.args[0]) from error
            break
        self.sent += 1
        if self.sent % 1000 == 0:
            self._producer.poll(0)

    def flush(self, seconds: float = DELIVERY_SECONDS) -> None:
        """Wait until Kafka has acknowledged everything sent.

        Raises: as ``send``; TransientError also when ``seconds`` were not enough.
        """
        left = self._producer.flush(seconds)
        self._raise_failure()
        if left:
            raise TransientError(
                f"Kafka at {self._servers} has not acknowledged {left} records for {self._topic} after "
                f"{seconds:.0f} s; {self.acknowledged} of {self.sent} are safe."
            )

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed += 1
            self._failure = self._failure or error

    def _acknowledged(self, tag: object, error: KafkaError | None, message: Message) -> None:
        self._delivered(error, message)
        if error is None:
            self.receipts.append((tag, int(message.partition() or 0), int(message.offset() or 0)))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._error(self._failure)

    def _error(self, error: KafkaError) -> PermanentError | TransientError:
        told = f"Kafka at {self._servers} takes no records for {self._topic}"
        safe = f"{self.acknowledged} of the {self.sent} records sent are acknowledged and safe."
        if error.code() in _PERMANENT or error.fatal():
            return PermanentError(f"{told}: {_PERMANENT.get(error.code(), error.name())}. {safe}")
        return TransientError(f"{told} ({error.name()}). {safe}")
