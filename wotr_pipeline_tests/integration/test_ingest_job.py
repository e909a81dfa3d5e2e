"""The job ``ingest_hour`` through Dagster's own door: what it materializes, checks, shows and refuses."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from wotr_pipeline.assets.partitions import hour_key
from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.checks import expectations
from wotr_pipeline.checks.expectations import GateResult
from wotr_pipeline.checks.quality import GATE_CHECKS
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import INGEST_JOB, build_definitions
from wotr_pipeline.events.envelope import from_line
from wotr_pipeline.stores.batch import Batch, BatchState
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.produced import BAD, event
from wotr_pipeline_tests.runs import hour_run

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


@pytest.fixture
def ledger(space: Settings) -> Iterator[Ledger]:
    with Ledger(space) as ledger:
        yield ledger


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def produce(settings: Settings, ledger: Ledger, *values: bytes | None) -> None:
    """Send the values within the hour, to one partition, and plan them."""
    with topics.sending(settings) as send:
        for value in values:
            send(value, partition=0, timestamp_ms=int(HOUR.timestamp() * 1000) + 1)
    with KafkaOffsets(settings) as offsets:
        plan_batches(offsets, ledger, settings, datetime.now(UTC))


def execute(settings: Settings, instance: dg.DagsterInstance, **config: bool) -> dg.ExecuteInProcessResult:
    job = build_definitions(settings).resolve_job_def(INGEST_JOB)
    return job.execute_in_process(
        partition_key=hour_key(HOUR),
        run_config={"ops": {"ingest": {"config": config}}},
        instance=instance,
        raise_on_error=False,
    )


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in Warehouse(settings).client.query(query).result_rows]


VERDICTS = "SELECT validation_status::String, count() FROM ingested_data GROUP BY ALL ORDER BY ALL"


def test_a_run_materializes_the_path_and_the_hours_aggregates_and_passes_its_checks(
    space: Settings, ledger: Ledger, instance: dg.DagsterInstance
) -> None:
    produce(space, ledger, *(event(f"e{n}", HOUR) for n in range(40)), *BAD, None, event("e0", HOUR))
    result = execute(space, instance, reprocess=False)
    assert result.success
    materialized = {
        event_.asset_key.to_user_string(): event_ for event_ in result.get_asset_materialization_events()
    }
    assert set(materialized) == {
        "raw_objects",
        "validated_batches",
        "dead_letters",
        "ingested_data",
        "events_hourly",
        "source_stats",
        "dead_letters_hourly",
    }
    metadata = materialized["ingested_data"].materialization.metadata
    assert metadata["dagster/row_count"].value == 45
    assert metadata["duplicates left out in this run"].value == 1
    assert metadata["Kafka offsets of this run"].value == "partition 0: 0-45"
    evaluations = result.get_asset_check_evaluations()
    assert {evaluation.check_name for evaluation in evaluations} == {check.name for check in GATE_CHECKS}
    assert {evaluation.check_name for evaluation in evaluations if not evaluation.passed} == set()
    assert rows(space, VERDICTS) == [("failed", 5), ("valid", 40)]
    assert rows(space, "SELECT sum(events), sum(failed) FROM events_hourly") == [(45, 5)]
    with KafkaOffsets(space) as offsets:
        assert offsets.committed(space.kafka_topic)[0] == 46


def test_a_run_of_an_hour_without_work_succeeds_and_materializes_nothing_of_the_path(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    result = execute(space, instance, reprocess=False)
    assert result.success
    assert not result.get_asset_materialization_events()


def test_a_dry_run_shows_which_verdicts_would_change_and_a_reprocess_changes_them_at_once(
    space: Settings, ledger: Ledger, instance: dg.DagsterInstance
) -> None:
    produce(space, ledger, *(event(f"e{n}") for n in range(20)), *BAD)
    assert execute(space, instance, reprocess=False).success
    # As if the rules of that day had accepted one of the bad events and rejected a good one.
    client = Warehouse(space).client
    client.command(
        "ALTER TABLE ingested_data UPDATE validation_status = 'valid', error_code = '' "
        "WHERE error_code = 'unknown_event_type' SETTINGS mutations_sync = 2"
    )
    client.command(
        "ALTER TABLE ingested_data UPDATE validation_status = 'failed', error_code = 'too_long' "
        "WHERE id = 'e7' SETTINGS mutations_sync = 2"
    )
    before = rows(space, "SELECT * FROM ingested_data ORDER BY kafka_offset")
    objects = [found.key for found in ObjectStore(space).list("")]

    dry = execute(space, instance, dry_run=True)
    assert dry.success
    [observation] = [
        event_.asset_observation_data.asset_observation
        for event_ in dry.all_events
        if event_.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    ]
    assert observation.metadata["rows that would change their verdict"].value == 2
    changes = observation.metadata["changes"].records
    assert {record.data["verdict by today's rules"] for record in changes} == {
        "failed unknown_event_type",
        "valid",
    }
    assert rows(space, "SELECT * FROM ingested_data ORDER BY kafka_offset") == before
    assert [found.key for found in ObjectStore(space).list("")] == objects
    assert {batch.generation for batch in ledger.batches(HOUR)} == {1}

    assert execute(space, instance).success
    assert rows(space, VERDICTS) == [("failed", len(BAD)), ("valid", 20)]
    assert rows(space, "SELECT error_code FROM ingested_data WHERE id = 'e7'") == [("",)]
    assert {batch.generation for batch in ledger.batches(HOUR)} == {2}
    raw = [key for key in objects if key.startswith("raw/")]
    assert [found.key for found in ObjectStore(space).list("raw/")] == raw
    assert len(list(ObjectStore(space).list("dead-letters/"))) == 1, "the older generation is gone"


def test_a_batch_that_fails_the_gate_is_quarantined_and_the_others_are_loaded(
    space: Settings, ledger: Ledger
) -> None:
    small = space.model_copy(update={"wotr_batch_events": 5})
    produce(small, ledger, *(event(f"e{n}") for n in range(15)))

    def gate(warehouse: Warehouse, staging: str, batch: Batch) -> GateResult:
        if batch.first_offset == 5:
            # One row too few, as if the engine had dropped one.
            warehouse.client.command(
                f"ALTER TABLE {staging} DELETE WHERE kafka_offset = 7 SETTINGS mutations_sync = 2"
            )
        return expectations.gate(warehouse, staging, batch)

    run = hour_run(small, ledger, gate, "gated")
    outcomes = list(run.catch_up(HOUR))
    assert [outcome.batch.first_offset for outcome in outcomes if outcome.error] == [5]
    states = {batch.first_offset: batch.state for batch in ledger.batches(HOUR)}
    assert states == {0: BatchState.LOADED, 5: BatchState.QUARANTINED, 10: BatchState.LOADED}
    assert rows(small, "SELECT count(), countIf(kafka_offset BETWEEN 5 AND 9) FROM ingested_data") == [
        (10, 0)
    ]
    assert any(outcome.gate and outcome.gate.blocking_failures for outcome in outcomes)


def test_the_same_id_in_a_later_batch_and_a_later_hour_is_counted_and_not_loaded(
    space: Settings, ledger: Ledger, instance: dg.DagsterInstance
) -> None:
    produce(space, ledger, event("same"), event("other"))
    assert execute(space, instance, reprocess=False).success
    produce(space, ledger, event("same", source="another"))
    assert execute(space, instance, reprocess=False).success
    later = HOUR + timedelta(hours=1)
    with topics.sending(space) as send:
        send(event("same"), partition=1, timestamp_ms=int(later.timestamp() * 1000))
    with KafkaOffsets(space) as offsets:
        plan_batches(offsets, ledger, space, datetime.now(UTC))
    run = hour_run(space, ledger, expectations.gate, "later")
    assert [outcome.error for outcome in run.catch_up(later)] == [None]
    assert rows(space, "SELECT id, source FROM ingested_data ORDER BY id") == [
        ("other", "tests"),
        ("same", "tests"),
    ]
    assert ledger.hour_account(HOUR).duplicate + ledger.hour_account(later).duplicate == 2


def test_a_batch_of_too_many_bytes_is_split_and_wholly_loaded(space: Settings, ledger: Ledger) -> None:
    small = space.model_copy(update={"wotr_batch_bytes": 1024 * 1024})
    big = "x" * 60_000
    produce(small, ledger, *(event(f"e{n}", data={"text": big}) for n in range(40)))
    assert len(ledger.batches(HOUR)) == 1
    run = hour_run(small, ledger, expectations.gate, "big")
    assert [outcome.error for outcome in run.catch_up(HOUR)] == [None, None, None]
    assert rows(small, "SELECT count(), uniqExact(id) FROM ingested_data") == [(40, 40)]
    assert ledger.contiguity_gaps(small.kafka_topic) == []


def test_offsets_that_kafka_dropped_after_planning_are_named_and_the_rest_of_the_batch_is_loaded(
    space: Settings, ledger: Ledger
) -> None:
    produce(space, ledger, *(event(f"e{n}") for n in range(10)))
    topics.delete_before(space, 0, 4)
    run = hour_run(space, ledger, expectations.gate, "gone")
    outcomes = list(run.catch_up(HOUR))
    assert [
        str(outcome.error) for outcome in outcomes if outcome.error and "0-3" not in str(outcome.error)
    ] == []
    states = {(batch.first_offset, batch.last_offset): batch.state for batch in ledger.batches(HOUR)}
    assert states == {(0, 3): BatchState.QUARANTINED, (4, 9): BatchState.LOADED}
    assert rows(space, "SELECT count(), min(kafka_offset) FROM ingested_data") == [(6, 4)]


def test_a_run_that_follows_its_hour_takes_what_is_planned_while_it_is_at_work(
    space: Settings, ledger: Ledger
) -> None:
    produce(space, ledger, event("first"))
    run = hour_run(space, ledger, expectations.gate, "following")
    outcomes = run.catch_up(HOUR, follow_seconds=60)
    assert next(outcomes).batch.last_offset == 0
    produce(space, ledger, event("second"))
    assert next(outcomes).batch.first_offset == 1
    outcomes.close()  # type: ignore[attr-defined]
    assert rows(space, "SELECT id FROM ingested_data ORDER BY id") == [("first",), ("second",)]


def test_a_tombstone_and_an_empty_message_stay_different_in_their_dead_letters(
    space: Settings, ledger: Ledger, instance: dg.DagsterInstance
) -> None:
    produce(space, ledger, None, b"")
    assert execute(space, instance, reprocess=False).success
    objects = ObjectStore(space)
    letters = [
        from_line(line)
        for found in objects.list("dead-letters/")
        for line in objects.get(found.key).splitlines()
    ]
    assert [letter.value for letter in letters] == [None, b""]
