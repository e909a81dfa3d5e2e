"""What Kafka holds, asked without reading it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets, Watermarks
from wotr_pipeline_tests.topics import delete_before, new_topic, produce, transaction, wait_until

MORNING = datetime(2026, 3, 1, 8, tzinfo=UTC)
MORNING_MS = int(MORNING.timestamp() * 1000)
SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(platform: Settings) -> Iterator[Settings]:
    with new_topic(platform) as settings:
        yield settings


def test_watermarks_say_what_is_held_of_every_partition(settings: Settings) -> None:
    produce(settings, [b"x"] * 10, partition=1)
    delete_before(settings, 1, 4)
    with KafkaOffsets(settings) as offsets:
        assert offsets.watermarks(settings.kafka_topic) == {0: Watermarks(0, 0), 1: Watermarks(4, 10)}


def test_an_open_transaction_ends_what_can_be_planned(settings: Settings) -> None:
    produce(settings, [b"stable"] * 3)
    with KafkaOffsets(settings) as offsets:
        with transaction(settings) as send:
            send([b"open"] * 2)
            produce(settings, [b"behind it"])
            assert offsets.watermarks(settings.kafka_topic)[0].high == 3
        # The commit's markers reach the partition a moment after the producer has its answer.
        wait_until(lambda: offsets.watermarks(settings.kafka_topic)[0].high == 7)


def test_the_first_offset_of_a_time_is_found(settings: Settings) -> None:
    topic = settings.kafka_topic
    produce(settings, [b"x"] * 3, first_ms=MORNING_MS)
    with KafkaOffsets(settings) as offsets:
        assert offsets.first_offset_at(topic, 0, MORNING - SECOND) == 0
        assert offsets.first_offset_at(topic, 0, MORNING + timedelta(milliseconds=2)) == 2
        assert offsets.first_offset_at(topic, 0, MORNING + SECOND) is None
        assert offsets.first_offset_at(topic, 1, MORNING) is None


def test_the_arrival_of_an_offset_is_that_of_the_next_record(settings: Settings) -> None:
    topic = settings.kafka_topic
    produce(settings, [b"x"] * 3, first_ms=MORNING_MS)
    with transaction(settings, commit=False) as send:
        send([b"aborted"])  # 3, marker 4
    with KafkaOffsets(settings) as offsets:
        assert offsets.arrival_of(topic, 0, 1) == MORNING + timedelta(milliseconds=1)
        assert offsets.arrival_of(topic, 0, 3) is None
        assert offsets.arrival_of(topic, 1, 0) is None
        produce(settings, [b"x"], first_ms=MORNING_MS + 500)
        assert offsets.arrival_of(topic, 0, 3) == MORNING + timedelta(milliseconds=500)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_arrivals_are_read_whatever_the_producer_compressed_with(settings: Settings, codec: str) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "compression.type": codec})
    for number in range(100):
        producer.produce(settings.kafka_topic, b"x" * 100, partition=0, timestamp=MORNING_MS + number)
    producer.flush(30)
    with KafkaOffsets(settings) as offsets:
        assert offsets.arrival_of(settings.kafka_topic, 0, 42) == MORNING + timedelta(milliseconds=42)


def test_the_arrival_of_an_offset_that_was_just_dropped_is_transient(settings: Settings) -> None:
    produce(settings, [b"x"] * 3)
    delete_before(settings, 0, 2)
    with KafkaOffsets(settings) as offsets:
        with pytest.raises(TransientError, match="offset 0 of"):
            offsets.arrival_of(settings.kafka_topic, 0, 0)
        assert offsets.arrival_of(settings.kafka_topic, 0, 2) is not None


def test_a_commit_is_seen_by_the_groups_lag_tools(settings: Settings) -> None:
    produce(settings, [b"x"] * 5)
    with KafkaOffsets(settings) as offsets:
        assert offsets.committed(settings.kafka_topic) == {}
        offsets.commit(settings.kafka_topic, {0: 4})
        offsets.commit(settings.kafka_topic, {0: 5, 1: 0})
        offsets.commit(settings.kafka_topic, {})
        assert offsets.committed(settings.kafka_topic) == {0: 5, 1: 0}


def test_a_commit_while_the_group_has_a_member_is_transient(settings: Settings) -> None:
    member = KafkaConsumer(
        settings.kafka_topic,
        bootstrap_servers=settings.kafka_bootstrap,
        group_id=settings.kafka_group,
        metadata_max_age_ms=1000,  # a topic that it did not know at first is looked for again at once
    )

    def is_member() -> bool:
        member.poll(timeout_ms=100)
        return bool(member.assignment())

    try:
        wait_until(is_member)
        with KafkaOffsets(settings) as offsets, pytest.raises(TransientError, match=settings.kafka_group):
            offsets.commit(settings.kafka_topic, {0: 0})
    finally:
        member.close()


def test_a_missing_topic_is_permanent_and_named(settings: Settings) -> None:
    with KafkaOffsets(settings) as offsets, pytest.raises(PermanentError, match="no topic no-such-topic"):
        offsets.watermarks("no-such-topic")


def test_kafka_being_away_is_transient_and_told_within_seconds(settings: Settings) -> None:
    away = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    with pytest.raises(TransientError, match=r"Kafka at 127\.0\.0\.1:1"), KafkaOffsets(away):
        pass
