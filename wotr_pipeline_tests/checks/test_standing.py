"""What is broken now is counted exactly and named."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from wotr_pipeline.checks.freshness import freshness
from wotr_pipeline.checks.standing import late_batches, quarantined_batches
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline_tests.checks.conftest import LoadedHour
from wotr_pipeline_tests.produced import event

LIMIT = timedelta(minutes=15)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=16)


def sql(hour: LoadedHour, text: str) -> None:
    engine = connect(hour.settings, "test")
    with engine.begin() as connection:
        connection.execute(sa.text(text))
    engine.dispose()


def test_batches_that_are_not_finished_in_time_are_counted(loaded_hour: LoadedHour) -> None:
    topic = loaded_hour.settings.kafka_topic
    assert late_batches(loaded_hour.ledger, topic, LIMIT, soon()).count == 0
    batches = [loaded_hour.plan(0, 40 + n, 1) for n in range(4)]
    assert late_batches(loaded_hour.ledger, topic, LIMIT, datetime.now(UTC)).count == 0
    late = late_batches(loaded_hour.ledger, topic, LIMIT, soon())
    assert late.count == 4
    assert late.since == batches[0].planned_at
    assert late.batch_ids == [batch.batch_id for batch in batches]


def test_a_reopened_batch_counts_from_its_claim(loaded_hour: LoadedHour) -> None:
    topic = loaded_hour.settings.kafka_topic
    sql(loaded_hour, "UPDATE ingest_batches SET planned_at = planned_at - interval '1 day'")
    (batch, _) = loaded_hour.ledger.batches(loaded_hour.hour)
    with loaded_hour.ledger.writer("test") as writer:
        (reopened,) = writer.reopen([batch.batch_id], "test")
        assert writer.claim(reopened)
        assert late_batches(loaded_hour.ledger, topic, LIMIT, datetime.now(UTC)).count == 0
        assert late_batches(loaded_hour.ledger, topic, LIMIT, soon()).count == 1
    assert late_batches(loaded_hour.ledger, topic, LIMIT, datetime.now(UTC)).count == 1


def test_quarantined_batches_are_counted_and_named(loaded_hour: LoadedHour) -> None:
    topic = loaded_hour.settings.kafka_topic
    now = loaded_hour.hour + timedelta(days=1)
    assert quarantined_batches(loaded_hour.ledger, topic, now).count == 0
    loaded_hour.ledger.record_loss(topic, 0, 40, 49, loaded_hour.hour, "retention")
    found = quarantined_batches(loaded_hour.ledger, topic, now)
    assert (found.count, found.batch_ids) == (1, [f"{topic}:0:40-49"])
    much_later = quarantined_batches(loaded_hour.ledger, topic, now + timedelta(days=365))
    assert (much_later.count, much_later.batch_ids) == (1, [])


def test_a_batch_deleted_from_the_ledger_is_a_gap(loaded_hour: LoadedHour) -> None:
    topic = loaded_hour.settings.kafka_topic
    loaded_hour.plan(0, 40, 5)
    loaded_hour.plan(0, 45, 5)
    assert loaded_hour.ledger.contiguity_gaps(topic) == []
    sql(loaded_hour, "DELETE FROM ingest_batches WHERE first_offset = 40")
    (gap,) = loaded_hour.ledger.contiguity_gaps(topic)
    assert (gap.partition, gap.first_offset, gap.last_offset) == (0, 40, 44)


def test_freshness_is_the_age_of_the_oldest_event_that_waits(loaded_hour: LoadedHour) -> None:
    from confluent_kafka import Producer

    settings = loaded_hour.settings
    # Nothing is in Kafka: what the ledger has loaded lies behind the topic's end, and nothing waits.
    found = freshness(loaded_hour.warehouse, loaded_hour.ledger, settings)
    assert (found.oldest_waiting, found.unplanned_offsets, found.kafka_answered) == (None, 0, True)
    assert found.newest_row == loaded_hour.hour + timedelta(minutes=1)
    arrived = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for n in range(50):
        stamp = int((arrived + timedelta(seconds=n)).timestamp() * 1000)
        producer.produce(settings.kafka_topic, event(f"k{n}"), partition=0, timestamp=stamp)
    producer.flush(30)
    found = freshness(loaded_hour.warehouse, loaded_hour.ledger, settings)
    assert (found.unplanned_offsets, found.oldest_waiting) == (10, arrived + timedelta(seconds=40))
    assert found.age(arrived + timedelta(seconds=100)) == timedelta(seconds=60)
    batch = loaded_hour.plan(0, 40, 10)
    found = freshness(loaded_hour.warehouse, loaded_hour.ledger, settings)
    assert (found.unplanned_offsets, found.oldest_waiting) == (0, batch.planned_at)


def test_a_kafka_that_is_away_is_said_and_the_ledger_still_counts(loaded_hour: LoadedHour) -> None:
    batch = loaded_hour.plan(0, 40, 10)
    away = loaded_hour.settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    found = freshness(loaded_hour.warehouse, loaded_hour.ledger, away)
    assert (found.kafka_answered, found.oldest_waiting) == (False, batch.planned_at)
