"""Recovery from raw objects: whatever ClickHouse or the ledger lost, the same rows come back."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from click.testing import CliRunner

from wotr_pipeline.cli import main
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import build_definitions
from wotr_pipeline.operations.recovery import Hours
from wotr_pipeline.operations.recovery_job import RECOVERY_JOB
from wotr_pipeline.operations.run_etl import run_etl
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.warehouse import TABLES
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.conftest import environment_of
from wotr_pipeline_tests.operations.recovery_place import (
    FIRST,
    SECOND,
    THIRD,
    Place,
    carry_a_stream_with_repeats,
    place_of,
)
from wotr_pipeline_tests.produced import BAD, event


@pytest.fixture
def place(space: Settings) -> Iterator[Place]:
    with place_of(space) as place:
        yield place


@pytest.fixture
def carried(place: Place) -> Place:
    carry_a_stream_with_repeats(place)
    return place


def test_a_dropped_table_comes_back_to_the_row_and_a_second_recovery_finds_nothing(carried: Place) -> None:
    before = carried.picture()
    carried.drop_tables()

    dry = carried.survey()
    assert set(dry.missing_tables) == set(TABLES)
    assert (dry.applied, dry.complete) == (False, True)
    assert dry.rebuilt == len(carried.batches())
    assert dry.records == sum(batch.records or 0 for batch in carried.batches())
    assert len(carried.warehouse.missing_tables()) == len(TABLES), "a dry run makes none"
    assert {batch.state for batch in carried.batches()} == {BatchState.LOADED}

    done = carried.recover()
    assert done.complete, list(done.lines())
    assert carried.picture() == before
    assert carried.balanced() == []
    again = carried.survey()
    assert (again.rebuilt, again.missing_tables, again.complete) == (0, (), True)


def test_lost_rows_of_some_hours_come_back_and_the_other_hours_are_not_touched(carried: Place) -> None:
    before = carried.picture()
    generations = {batch.batch_id: batch.generation for batch in carried.batches()}
    for condition in (
        f"arrival_hour = toDateTime({int(SECOND.timestamp())}, 'UTC')",
        "kafka_partition = 0 AND kafka_offset IN (3, 4)",
    ):
        carried.warehouse.client.command(
            f"ALTER TABLE ingested_data DELETE WHERE {condition} SETTINGS mutations_sync = 2"
        )
    assert carried.survey(Hours(THIRD, THIRD)).rebuilt == 0
    done = carried.recover(Hours(FIRST, SECOND))
    assert done.complete, list(done.lines())
    assert carried.picture() == before
    touched = {b.batch_id for b in carried.batches() if b.generation > generations[b.batch_id]}
    assert touched == {
        b.batch_id
        for b in carried.batches()
        if b.hour == SECOND or (b.first_offset == 0 and b.partition == 0)
    }


def test_a_lost_ledger_is_made_whole_from_the_raw_objects_beside_rows_that_are_there(carried: Place) -> None:
    before = carried.picture()
    carried.lose_ledger()
    dry = carried.survey()
    assert len(dry.adoption.objects) == len(before["ledger"])
    assert carried.batches() == []
    done = carried.recover()
    assert done.complete, list(done.lines())
    assert carried.picture() == before
    assert carried.balanced() == []
    assert carried.ledger.contiguity_gaps(carried.settings.kafka_topic) == []


def test_ledger_and_table_both_lost_come_back_with_every_id_once(carried: Place) -> None:
    before = carried.picture()
    ids = carried.query("SELECT id FROM ingested_data WHERE validation_status = 'valid' ORDER BY id")
    # The table itself stays, and with it the engine's memory of what was inserted.
    carried.warehouse.client.command(
        "ALTER TABLE ingested_data DELETE WHERE true SETTINGS mutations_sync = 2"
    )
    carried.lose_ledger()
    done = carried.recover()
    assert done.complete, list(done.lines())
    after = carried.picture()
    assert after["all"][0][0] == before["all"][0][0]
    assert carried.query("SELECT id FROM ingested_data WHERE validation_status = 'valid' ORDER BY id") == ids
    assert sum(row[4] for row in after["ledger"]) == sum(row[4] for row in before["ledger"])
    assert carried.balanced() == []


def test_offsets_that_neither_ledger_nor_objects_have_are_read_from_kafka_again_or_named_as_lost(
    carried: Place,
) -> None:
    before = carried.query("SELECT count() FROM ingested_data")
    first, second, third = [batch for batch in carried.batches() if batch.partition == 0][:3]
    assert first.raw_key
    assert second.raw_key
    carried.objects.delete([first.raw_key, second.raw_key])
    carried.drop_tables()
    topics.delete_before(carried.settings, 0, second.last_offset - 2)
    carried.lose_ledger(f"partition = 0 AND first_offset IN ({second.first_offset}, {third.first_offset})")
    done = carried.recover()
    assert not done.complete
    assert any(problem.startswith("LOST: ") for problem in done.problems)
    assert any(f"{first.batch_id} cannot be rebuilt" in problem for problem in done.problems)
    assert carried.ledger.contiguity_gaps(carried.settings.kafka_topic) == []
    again = [
        batch
        for batch in carried.batches()
        if batch.partition == 0 and batch.first_offset >= second.first_offset
    ]
    assert [(b.first_offset, b.last_offset, b.state.value) for b in again[:3]] == [
        (second.first_offset, second.last_offset - 3, "QUARANTINED"),
        (second.last_offset - 2, second.last_offset, "LOADED"),
        (third.first_offset, third.last_offset, "LOADED"),
    ]
    lost = first.offsets + second.offsets - 3
    assert carried.query("SELECT count() FROM ingested_data")[0][0] >= before[0][0] - lost
    carried.produce(0, THIRD, event("after"))
    carried.carry()
    assert carried.query("SELECT count() FROM ingested_data WHERE id = 'after'") == [(1,)]


def test_damaged_and_missing_objects_are_named_and_all_others_are_rebuilt(carried: Place) -> None:
    damaged, gone = [batch for batch in carried.batches() if batch.hour == SECOND][:2]
    assert damaged.raw_key
    assert gone.raw_key
    info = carried.objects.head(damaged.raw_key)
    assert info is not None
    data = carried.objects.get(damaged.raw_key)
    carried.objects.put(damaged.raw_key, data[:-50] + bytes([data[-50] ^ 1]) + data[-49:], info.metadata)
    carried.objects.delete([gone.raw_key])
    before = dict(
        carried.query("SELECT toString(batch_id), sum(cityHash64(*)) FROM ingested_data GROUP BY 1")
    )
    carried.drop_tables()

    assert [problem.split(" ")[0] for problem in carried.survey().problems] == [gone.batch_id]
    data_dir = carried.settings.wotr_data_dir
    environment = environment_of(carried.settings)
    recover = CliRunner(env=environment).invoke(
        main, ["--data-dir", str(data_dir), "recover", "--all", "--apply"]
    )
    assert recover.exit_code == 1, recover.output
    assert f"{gone.batch_id} cannot be rebuilt: {gone.raw_key} is missing" in recover.output
    assert f"{damaged.batch_id} cannot be rebuilt: {damaged.raw_key} is damaged" in recover.output
    after = dict(carried.query("SELECT toString(batch_id), sum(cityHash64(*)) FROM ingested_data GROUP BY 1"))
    assert after == {
        name: checksum for name, checksum in before.items() if name not in (damaged.batch_id, gone.batch_id)
    }
    states = {batch.batch_id: batch.state for batch in carried.batches()}
    assert set(states.values()) == {BatchState.LOADED}, "what cannot be rebuilt is not opened either"

    carried.objects.put(damaged.raw_key, data, info.metadata)
    assert [problem.split(" ")[0] for problem in carried.recover().problems] == [gone.batch_id]
    assert dict(
        carried.query("SELECT toString(batch_id), sum(cityHash64(*)) FROM ingested_data GROUP BY 1")
    ) == {name: checksum for name, checksum in before.items() if name != gone.batch_id}


def test_an_unknown_object_that_overlaps_or_is_damaged_is_named_and_left_alone(carried: Place) -> None:
    known = carried.batches()[0]
    assert known.raw_key
    data, info = carried.objects.get(known.raw_key), carried.objects.head(known.raw_key)
    assert info is not None
    folder, topic = known.raw_key.rsplit("/", 1)[0], carried.settings.kafka_topic
    end = carried.ledger.planned_until(topic)[0]
    overlapping, damaged = f"{folder}/{topic}-0-1-7.parquet", f"{folder}/{topic}-0-{end}-{end + 30}.parquet"
    nameless = f"{folder}/notes.txt"
    carried.objects.put(overlapping, data, info.metadata)
    carried.objects.put(damaged, data + b"x", info.metadata)
    carried.objects.put(nameless, b"")
    before = carried.picture()
    done = carried.recover()
    assert [problem.split(" ")[0] for problem in done.problems] == [overlapping, damaged]
    assert carried.picture() == before
    assert carried.objects.get(damaged) == data + b"x"


def test_ingestion_goes_on_meanwhile_and_takes_no_id_from_the_rows_that_come_back(carried: Place) -> None:
    before = carried.picture()
    carried.drop_tables()
    recovery = carried.recovery()
    reports = recovery.apply()
    assert next(reports).hour == FIRST
    # Between two hours a run of its own loads what is new, among it repeats of ids that are not back yet.
    new = [*(event(f"new{n}") for n in range(30)), event("b3"), event("d4"), *BAD]
    carried.produce(1, THIRD + timedelta(hours=1), *new)
    carried.carry()
    repeats = "SELECT id, arrival_hour FROM ingested_data WHERE id IN ('b3', 'd4') ORDER BY id"
    assert [row[1] > THIRD.replace(tzinfo=None) for row in carried.query(repeats)] == [True, True]
    assert [report.hour for report in reports] == [SECOND, THIRD]
    assert recovery.result.complete, list(recovery.result.lines())

    after = carried.picture()
    assert after["hours"][:3] == before["hours"]
    assert after["hours"][3][1] == 30 + len(BAD)
    assert carried.query(
        "SELECT count(), uniqExact(id) FROM ingested_data WHERE validation_status = 'valid'"
    ) == [
        (before_valid + 30, before_valid + 30)
        for before_valid in [sum(b[2] - b[4] for b in before["ledger"])]
    ]
    assert carried.balanced() == []


def test_a_recovery_races_a_run_that_carries_new_events(carried: Place) -> None:
    before = carried.picture()
    carried.drop_tables()
    carried.warehouse.migrate()
    new = [event(f"new{n}") for n in range(200)]
    carried.produce(1, THIRD + timedelta(hours=1), *new, event("b3"), event("a7"), event("d4"))
    carried.produce(0, THIRD, *(event(f"more{n}") for n in range(100)), event("b9"))
    failures: list[BaseException] = []

    def ingest() -> None:
        try:
            with dg.DagsterInstance.ephemeral() as instance:
                for _ in range(5):
                    if run_etl(carried.settings, carried.ledger, instance).complete:
                        return
            failures.append(AssertionError("not complete after five passes"))
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's thread
            failures.append(error)

    ingestion = threading.Thread(target=ingest)
    ingestion.start()
    carried.recover()
    ingestion.join(timeout=120)
    assert failures == []
    assert carried.recover().complete
    old = ["|".join(map(str, row)) for row in before["ledger"]]
    after = carried.picture()
    assert [row for row in ("|".join(map(str, row)) for row in after["ledger"]) if row in old] == old
    assert after["hours"][:2] == before["hours"][:2]
    assert carried.query(
        "SELECT count(), uniqExact(id) FROM ingested_data WHERE id LIKE 'new%' OR id LIKE 'more%'"
    ) == [(300, 300)]
    assert carried.balanced() == []


def test_batches_that_met_no_table_are_brought_to_the_end(carried: Place) -> None:
    before = carried.picture()
    carried.drop_tables()
    carried.produce(0, THIRD, event("unlucky"))
    with dg.DagsterInstance.ephemeral() as instance:
        run_etl(carried.settings, carried.ledger, instance)
    assert [b.state for b in carried.batches() if b.state is not BatchState.LOADED] == [
        BatchState.QUARANTINED
    ]
    done = carried.recover()
    assert done.complete, list(done.lines())
    assert carried.query("SELECT count() FROM ingested_data WHERE id = 'unlucky'") == [(1,)]
    assert carried.picture()["hours"][:2] == before["hours"][:2]


def test_the_job_is_dry_by_default_and_shows_what_it_found(carried: Place) -> None:
    before = carried.picture()
    carried.warehouse.client.command("TRUNCATE TABLE ingested_data")
    job = build_definitions(carried.settings).resolve_job_def(RECOVERY_JOB)
    assert job.tags["dagster/max_retries"] == "0"
    dry = job.execute_in_process()
    [metadata] = [e.step_output_data.metadata for e in dry.all_events if e.is_successful_output]
    assert metadata["batches"].value == len(carried.batches())
    assert metadata["hours"].records[0].data["hour"] == f"{FIRST:%Y-%m-%dT%H:%M}"
    assert carried.query("SELECT count() FROM ingested_data") == [(0,)]

    config = {
        "first_hour": f"{SECOND:%Y-%m-%dT%H:%M}",
        "last_hour": f"{SECOND:%Y-%m-%dT%H:%M}",
        "dry_run": False,
    }
    assert job.execute_in_process(run_config={"ops": {"recover": {"config": config}}}).success
    assert carried.picture()["hours"] == before["hours"][1:2]
    wrong = {"ops": {"recover": {"config": {"first_hour": "yesterday"}}}}
    assert not job.execute_in_process(run_config=wrong, raise_on_error=False).success


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--all", "--from", "2026-01-01T00:00"],
        ["--from", "2026-01-01T00:00"],
        ["--from", "2026-01-01T00:30", "--to", "2026-01-01T02:00"],
        ["--from", "2026-01-02T00:00", "--to", "2026-01-01T02:00"],
    ],
)
def test_hours_that_are_none_or_ambiguous_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["recover", *arguments]).exit_code == 2
