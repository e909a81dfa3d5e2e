"""The sensor: plans first, asks for each hour once, asks again when a run died, stays quiet in an outage."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from wotr_pipeline.automation.sensors import (
    HOUR_TAG,
    LEDGER_TAG,
    OffsetsContradictLedgerError,
    kafka_offsets_sensor,
    request_for,
)
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import PlannedRange
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.produced import event

NOW = datetime.now(UTC)
THIS_HOUR = NOW.replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def tick(settings: Settings, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    with (
        Ledger(settings) as ledger,
        dg.build_sensor_context(instance, resources={"ledger": ledger}) as context,
    ):
        result = kafka_offsets_sensor(settings, "ingest_hour")(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def requests(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    return list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []


def produce(settings: Settings, *hours_ago: int) -> None:
    with topics.sending(settings) as send:
        for number, ago in enumerate(hours_ago):
            stamp = int((THIS_HOUR - timedelta(hours=ago)).timestamp() * 1000) + 1
            send(event(f"e{number}"), partition=0, timestamp_ms=stamp)


def test_a_tick_plans_in_the_ledger_and_asks_for_one_run_an_hour(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    produce(space, 2, 2, 1, 0)
    asked = requests(tick(space, instance))
    assert [request.partition_key for request in asked] == [
        f"{THIS_HOUR - timedelta(hours=ago):%Y-%m-%d-%H:00}" for ago in (2, 1, 0)
    ]
    with Ledger(space) as ledger:
        assert ledger.planned_until(space.kafka_topic) == {0: 4}
    assert all(not request.run_config["ops"]["ingest"]["config"]["reprocess"] for request in asked)


def test_a_second_tick_asks_with_the_same_key_so_that_nothing_runs_twice(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    produce(space, 0)
    first = [request.run_key for request in requests(tick(space, instance))]
    assert first == [request.run_key for request in requests(tick(space, instance))]
    produce(space, 0)
    assert first != [request.run_key for request in requests(tick(space, instance))]


def test_a_run_that_died_before_its_first_claim_is_asked_for_again(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    produce(space, 0)
    [asked] = requests(tick(space, instance))

    @dg.job
    def nothing() -> None:
        pass

    tags = {name: asked.tags[name] for name in (HOUR_TAG, LEDGER_TAG)}
    run = instance.create_run_for_job(nothing, tags=tags)
    with Ledger(space) as ledger:
        [hour] = ledger.hours_to_run(space.kafka_topic, NOW)
    assert request_for(instance, hour, NOW + timedelta(minutes=1)) is None, "the run is still to come"
    instance.report_run_failed(run)
    assert request_for(instance, hour, datetime.now(UTC)) is None, "a moment later the cause is still there"
    again = request_for(instance, hour, datetime.now(UTC) + timedelta(minutes=1))
    assert again is not None
    assert again.run_key != asked.run_key


def test_an_outage_of_kafka_is_a_reason_to_skip_and_planned_work_goes_on(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    away = space.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    skipped = tick(away, instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "Kafka" in (skipped.skip_message or "")
    with Ledger(space) as ledger:
        ledger.plan([PlannedRange(space.kafka_topic, 0, 0, 9, THIS_HOUR)])
    assert len(requests(tick(away, instance))) == 1


def test_an_outage_of_the_ledger_is_a_reason_to_skip(space: Settings, instance: dg.DagsterInstance) -> None:
    assert isinstance(tick(space.model_copy(update={"postgres_port": 1}), instance), dg.SkipReason)


def test_a_topic_that_was_made_anew_is_loud_and_named(space: Settings, instance: dg.DagsterInstance) -> None:
    with Ledger(space) as ledger:
        ledger.record_loss(space.kafka_topic, 0, 0, 99, THIS_HOUR, "as if they had been there")
    with pytest.raises(OffsetsContradictLedgerError, match=r"planned to 100"):
        tick(space, instance)


def test_during_maintenance_nothing_is_planned_and_the_tick_says_who_why_and_how_it_ends(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    produce(space, 0)
    log = OperationsLog(space)
    log.turn_maintenance(True, "ann", "new disks", NOW + timedelta(hours=2))
    skipped = tick(space, instance)
    assert isinstance(skipped, dg.SkipReason)
    said = skipped.skip_message or ""
    for word in ("ann", "new disks", "UTC", "/admin/maintenance/", "wotr maintenance off"):
        assert word in said
    with Ledger(space) as ledger:
        assert ledger.unfinished(space.kafka_topic) == []
    log.turn_maintenance(False, "ann", "done")
    log.close()
    assert len(requests(tick(space, instance))) == 1
