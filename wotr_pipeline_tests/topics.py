"""Topics of a test's own, and ways to fill them that the project itself has no need of.

Belongs here: creating and dropping topics, plain records, transactions, deletion and compaction of records.
Does not belong here: the producer of the project, whose promises have tests of their own.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from confluent_kafka import IsolationLevel, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from confluent_kafka.cimpl import NewTopic

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.kafka_producer import NOW, Header
from wotr_pipeline.stores.kafka_records import RecordReader, RecordSlice

MEGABYTE = 1024**2


def administrator(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})


@contextmanager
def new_topic(platform: Settings, partitions: int = 2, **configuration: str) -> Iterator[Settings]:
    """Settings with a topic and a group of their own; dropped afterwards."""
    name = f"t{secrets.token_hex(5)}"
    settings = platform.model_copy(update={"kafka_topic": name, "kafka_group": f"{name}-group"})
    create_topic(settings, partitions, **configuration)
    try:
        yield settings
    finally:
        drop_topic(settings)


def create_topic(settings: Settings, partitions: int = 2, **configuration: str) -> None:
    config = {key.replace("_", "."): value for key, value in configuration.items()}
    topic = NewTopic(settings.kafka_topic, partitions, 1, config=config)
    kafka = administrator(settings)
    kafka.create_topics([topic])[settings.kafka_topic].result(30)

    def known() -> bool:
        # The controller has it; the broker learns of it a moment later.
        described = kafka.list_topics(settings.kafka_topic, 10).topics[settings.kafka_topic]
        return len(described.partitions) == partitions and all(
            partition.leader >= 0 for partition in described.partitions.values()
        )

    wait_until(known)


def drop_topic(settings: Settings) -> None:
    kafka = administrator(settings)
    kafka.delete_topics([settings.kafka_topic])[settings.kafka_topic].result(30)


class Sending:
    """Queues records for a topic; see ``sending``."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self.refused: list[KafkaError] = []

    def __call__(
        self,
        value: bytes | None,
        key: bytes | str | None = None,
        headers: Sequence[Header] | None = None,
        timestamp_ms: int = NOW,
        partition: int | None = None,
    ) -> None:
        """Arguments as of ``EventProducer.send``."""
        self._producer.produce(
            self._topic,
            value,
            key,
            -1 if partition is None else partition,
            on_delivery=self._delivered,
            timestamp=timestamp_ms,
            headers=list(headers or ()),
        )

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.refused.append(error)


@contextmanager
def sending(settings: Settings, topic: str | None = None) -> Iterator[Sending]:
    """Send plain records, which are in Kafka after the block.

    All tests of a process share one client: a new one waits half a second before its first record.
    """
    producer = _producer(settings.kafka_bootstrap)
    send = Sending(producer, topic or settings.kafka_topic)
    yield send
    assert producer.flush(30) == 0
    if send.refused:
        _producer.cache_clear()
    assert send.refused == []


@cache
def _producer(bootstrap: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            # One record of the size that topics take, and no batch of several that would be larger.
            "message.max.bytes": 1_048_588,
            "batch.size": 512 * 1024,
            "topic.metadata.refresh.fast.interval.ms": 10,
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
    )


def produce(
    settings: Settings, values: Sequence[bytes | None], partition: int = 0, first_ms: int = 0
) -> None:
    """Send values to a partition; with ``first_ms`` their timestamps follow each other by a millisecond."""
    with sending(settings) as send:
        for number, value in enumerate(values):
            timestamp = first_ms + number if first_ms else NOW
            send(value, f"key-{number}", timestamp_ms=timestamp, partition=partition)


@contextmanager
def transaction(settings: Settings, *, commit: bool = True) -> Iterator[Callable[[Sequence[bytes]], None]]:
    """A transaction on partition 0: open inside the block, committed or aborted for every reader after it."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "transactional.id": secrets.token_hex(8),
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()

    def send(values: Sequence[bytes]) -> None:
        for value in values:
            producer.produce(settings.kafka_topic, value, partition=0)
        producer.flush(30)

    yield send
    (producer.commit_transaction if commit else producer.abort_transaction)(30)

    def known() -> bool:
        # The coordinator answers first and writes the partition's marker then.
        kafka, asked = administrator(settings), TopicPartition(settings.kafka_topic, 0)
        ends = []
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
            (found,) = kafka.list_offsets({asked: OffsetSpec.latest()}, isolation_level=level).values()
            ends.append(found.result(30).offset)
        return ends[0] == ends[1]

    wait_until(known)


def delete_before(settings: Settings, partition: int, offset: int) -> None:
    """What retention does: records before ``offset`` are gone at once."""
    target = TopicPartition(settings.kafka_topic, partition, offset)
    kafka = administrator(settings)
    for deleted in kafka.delete_records([target]).values():
        deleted.result(30)


def read(settings: Settings, first: int, last: int, max_bytes: int = 100 * MEGABYTE) -> RecordSlice:
    """A range of partition 0, by a reader of its own."""
    with RecordReader(settings) as reader:
        return reader.read(0, first, last, max_bytes)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
