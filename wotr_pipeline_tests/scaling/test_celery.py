"""Runs whose steps are worked off by Celery workers, over a real Redis."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster_celery import celery_executor

from wotr_pipeline.assets.partitions import hour_key
from wotr_pipeline.automation.executor import CELERY, executor_of
from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.config import Settings, SettingsError, load_settings
from wotr_pipeline.definitions import INGEST_JOB, build_definitions
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.postgres_upkeep import PostgresUpkeep
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.produced import BAD, event
from wotr_pipeline_tests.scaling.celery_place import (
    PATIENCE,
    WORKERS_CONFIG,
    CeleryPlace,
    Run,
    celery_place,
    eventually,
    kill_all,
)

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
ROWS = """
    SELECT kafka_offset, id, event_type, source, timestamp, payload, validation_status::String, error_code, warnings
    FROM ingested_data WHERE arrival_hour = {hour:DateTime} ORDER BY kafka_offset
"""


@pytest.fixture
def place(space: Settings, tmp_path: Path) -> Iterator[CeleryPlace]:
    with celery_place(space, tmp_path) as place:
        yield place


@pytest.fixture
def instance(place: CeleryPlace) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in place.environment.items():
            patch.setenv(name, value)
        opened = dg.DagsterInstance.get()
    with opened:
        yield opened


def produce(settings: Settings, hour: datetime) -> None:
    """Forty good events, bad ones and a repeated id, within the hour, planned."""
    values = [event(f"{hour:%H}-{n}", hour) for n in range(40)]
    with EventProducer(settings) as producer:
        for value in (*values, *BAD, values[0]):
            producer.send(value, partition=0, timestamp_ms=int(hour.timestamp() * 1000) + 1)
    with KafkaOffsets(settings) as offsets, Ledger(settings) as ledger:
        plan_batches(offsets, ledger, settings, datetime.now(UTC))


def rows(settings: Settings, hour: datetime) -> list[tuple[object, ...]]:
    found = Warehouse(settings).client.query(ROWS, {"hour": hour})
    return [tuple(row) for row in found.result_rows]


@pytest.fixture
def runs() -> Iterator[contextlib.ExitStack]:
    """What ends the runs that a test has started."""
    with contextlib.ExitStack() as started:
        yield started


@contextlib.contextmanager
def run_in_the_middle_of_its_step(
    place: CeleryPlace, runs: contextlib.ExitStack, hour: datetime
) -> Iterator[Run]:
    """A run whose step has landed its batch, and cannot load it before the block ends."""
    with (
        contextlib.closing(PostgresUpkeep(place.settings)) as upkeep,
        Ledger(place.settings) as ledger,
        ledger.writer("test") as writer,
        writer.load_lock(PATIENCE),
    ):
        run = runs.enter_context(place.run(hour_key(hour)))
        # The first run of the hour lands it; a later one finds it landed, and is in its step once it writes.
        eventually(lambda: set(upkeep.writers()) - {"wotr run test"})
        eventually(lambda: all(batch.state is not BatchState.PLANNED for batch in ledger.batches(hour)))
        yield run


def run_of(instance: dg.DagsterInstance, hour: datetime) -> dg.DagsterRun:
    [record] = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": hour_key(hour)}), limit=1)
    return record.dagster_run


def test_a_killed_process_fails_its_run_and_of_the_next_one_a_worker_that_is_gone_loses_and_doubles_nothing(
    space: Settings,
    place: CeleryPlace,
    instance: dg.DagsterInstance,
    runs: contextlib.ExitStack,
    tmp_path: Path,
) -> None:
    hour = NOW - timedelta(hours=1)
    produce(space, hour)
    with place.worker() as worker:
        with run_in_the_middle_of_its_step(place, runs, hour) as run:
            for process in worker.children():
                process.kill()
            code, said = run.ended()
            assert "WorkerLostError" in said
            assert code != 0
        failed = run_of(instance, hour)
        assert failed.status is dg.DagsterRunStatus.FAILURE
        assert rows(space, hour) == []

        with run_in_the_middle_of_its_step(place, runs, hour) as again:
            kill_all(worker)
    # As deploy/celery/celery.yaml, only that nobody waits an hour for the one that is gone; nor takes over steps of the
    # one that lives.
    config = yaml.safe_load(WORKERS_CONFIG.read_text())
    waiting = {"visibility_timeout": 8, "unacked_restore_interval": 2}
    config["execution"]["config"]["config_source"]["broker_transport_options"] = waiting
    impatient = tmp_path / "celery.yaml"
    impatient.write_text(yaml.safe_dump(config))
    with place.worker(impatient):
        code, said = again.ended()
    assert code == 0, said
    finished = run_of(instance, hour)
    assert finished.run_id != failed.run_id
    assert finished.status is dg.DagsterRunStatus.SUCCESS
    steps_of_workers = Counter(
        entry.step_key
        for entry in instance.all_logs(finished.run_id)
        if entry.dagster_event and "in celery worker" in str(entry.dagster_event.message)
    )
    assert steps_of_workers["ingest"] >= 2, "by the one that is gone, and by the other one"
    assert len(steps_of_workers) > 1, "the aggregates are built by workers too"

    loaded = rows(space, hour)
    assert Counter(row[6] for row in loaded) == {"valid": 40, "failed": len(BAD)}
    # The same job in this process judges the hour anew: not a row differs.
    job = build_definitions(space).resolve_job_def(INGEST_JOB)
    with dg.DagsterInstance.ephemeral() as ephemeral:
        assert job.execute_in_process(partition_key=hour_key(hour), instance=ephemeral).success
    assert rows(space, hour) == loaded


def test_the_workers_are_told_the_same_as_the_runs() -> None:
    assert yaml.safe_load(WORKERS_CONFIG.read_text()) == {"execution": {"config": CELERY}}


def test_dagster_accepts_the_executors_config_and_the_address_is_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings(wotr_executor="celery", wotr_celery_broker="redis://:secret@redis:6379/0")
    monkeypatch.setenv("WOTR_CELERY_BROKER", "redis://:secret@redis:6379/0")
    executor = executor_of(settings)
    assert executor.name == "celery"
    done = process_config(celery_executor.config_schema.config_type, CELERY)
    assert done.success, done.errors
    assert "secret" not in str(CELERY)


def test_without_a_word_about_it_a_run_works_its_steps_off_itself() -> None:
    assert executor_of(Settings()) is dg.in_process_executor


def test_celery_without_its_package_or_without_an_address_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings(wotr_executor="celery", wotr_celery_broker="redis://redis:6379/0")
    monkeypatch.setattr("wotr_pipeline.automation.executor.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="--build-arg EXTRAS=celery"):
        executor_of(settings)
    for broker in ("", "amqp://guest@rabbit//", "redis:6379"):
        with pytest.raises(SettingsError, match=r"WOTR_CELERY_BROKER: .*must be redis://"):
            load_settings(wotr_executor="celery", wotr_celery_broker=broker)
