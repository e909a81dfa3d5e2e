"""Backups as Dagster runs and shows them."""

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from wotr_pipeline.assets.backups import RESTORES, asset_name, backup_partitions
from wotr_pipeline.automation.backup_schedules import TIMES
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.repository import Repository, backup_store
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import build_definitions
from wotr_pipeline.operations.restore.jobs import DRILL_JOB
from wotr_pipeline.stores.engine_backups import EngineBackups
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.backups.conftest import flip_a_byte


@pytest.fixture
def settings(ledger_space: Settings) -> Iterator[Settings]:
    name = ledger_space.postgres_db
    settings = ledger_space.model_copy(
        update={
            "minio_bucket": f"{name}-bucket",
            "wotr_backup_bucket": f"{name}-backups",
            "clickhouse_db": name,
            "dagster_postgres_db": f"{name}_dagster",
        }
    )
    ObjectStore(settings).ensure_bucket()
    ObjectStore(settings).put("raw/date=2026-11-25/hour=00/a", b"an object")
    with closing(Warehouse(settings)) as warehouse:
        warehouse.migrate()
    yield settings
    with closing(EngineBackups(settings)) as engine:
        engine.drop(name)
    for store in (ObjectStore(settings), backup_store(settings)):
        with suppress(Exception):
            store.remove_bucket()


def partition_of(settings: Settings, store: Store, moment: datetime) -> str:
    return backup_partitions(settings, store).get_partition_key_for_timestamp(moment.timestamp())


def launched(
    settings: Settings, job: str, *, partition: str | None = None, config: dict[str, object] | None = None
) -> dg.ExecuteInProcessResult:
    found = build_definitions(settings).resolve_job_def(job)
    return found.execute_in_process(partition_key=partition, run_config=config, raise_on_error=False)


def test_each_store_is_backed_up_restored_and_shown_and_the_weekly_drill_finds_damage(
    settings: Settings,
) -> None:
    now = datetime.now(UTC)
    for store in Store:
        run = launched(settings, f"backup_{store}", partition=partition_of(settings, store, now))
        assert run.success, store
        (check,) = run.get_asset_check_evaluations()
        assert (check.check_name, check.passed) == (RESTORES, True)
        (made,) = run.asset_materializations_for_node(asset_name(store))
        assert made.metadata["verified"].value is True
        assert isinstance(made.metadata["RTO, seconds"].value, float)
        assert float(made.metadata["RPO when verified, seconds"].value or 0) < 600
    with closing(OperationsLog(settings)) as log:
        assert set(log.newest_verified_backups()) == set(Store)
    assert launched(settings, DRILL_JOB).success
    repository = Repository(settings)
    manifest = repository.newest(Store.POSTGRES)
    flip_a_byte(repository.objects, manifest.file("ledger.dump").parts[0].key)
    drilled = launched(settings, DRILL_JOB)
    failed = {event.step_key for event in drilled.all_events if event.is_step_failure}
    assert failed == {"drill_postgres"}
    with closing(OperationsLog(settings)) as log:
        assert set(log.newest_verified_backups()) == {"minio", "clickhouse"}
        assert "checksum differs" in log.failed_drills()["postgres"]


def test_only_the_partition_of_now_can_be_materialized(settings: Settings) -> None:
    past = datetime.now(UTC) - timedelta(days=8)
    run = launched(settings, "backup_minio", partition=partition_of(settings, Store.MINIO, past))
    assert not run.success
    told = next(event for event in run.all_events if event.is_step_failure).event_specific_data
    assert "cannot be backed up any more" in str(told)
    assert Repository(settings).objects.bucket_names().count(settings.wotr_backup_bucket) == 0


@pytest.mark.parametrize("store", list(Store))
def test_the_schedule_asks_for_the_partition_that_is_running(store: Store) -> None:
    settings = Settings()
    definitions = build_definitions(settings)
    schedule = definitions.resolve_schedule_def(f"backup_{store}_schedule")
    evening = datetime(2026, 11, 28, 22, 30, tzinfo=UTC)  # a Saturday
    assert schedule.cron_schedule == TIMES[store]
    with dg.build_schedule_context(
        scheduled_execution_time=evening, repository_def=definitions.get_repository_def()
    ) as context:
        found = schedule.evaluate_tick(context).run_requests or []
    assert [request.partition_key for request in found] == ["2026-11-28"]


def test_a_restore_job_shows_its_plan_and_does_nothing_until_it_is_told_where_to(settings: Settings) -> None:
    assert launched(
        settings, "backup_minio", partition=partition_of(settings, Store.MINIO, datetime.now(UTC))
    ).success
    objects = ObjectStore(settings)
    objects.delete(["raw/date=2026-11-25/hour=00/a"])

    def restored(**config: str) -> dg.ExecuteInProcessResult:
        return launched(
            settings, "restore_minio", config={"ops": {"restore_minio_backup": {"config": config}}}
        )

    dry = restored()
    assert dry.success
    assert objects.head("raw/date=2026-11-25/hour=00/a") is None
    words = f"replace {settings.minio_bucket}"
    (output,) = (event for event in dry.all_events if event.event_type_value == "STEP_OUTPUT")
    assert words in str(output.step_output_data.metadata["to do it"].value)
    assert not restored(in_place_confirmation="yes").success
    assert restored(place=f"{settings.minio_bucket}-x").success
    assert objects.in_bucket(f"{settings.minio_bucket}-x").head("raw/date=2026-11-25/hour=00/a")
    objects.in_bucket(f"{settings.minio_bucket}-x").remove_bucket()
    assert restored(in_place_confirmation=words).success
    assert objects.head("raw/date=2026-11-25/hour=00/a")
    assert not restored(at="yesterday").success
