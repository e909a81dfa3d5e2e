"""A step that is killed half way is finished by the next window, which deletes nothing else and forgets nothing."""

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.minio import MinioTarget
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import take_backup
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.maintenance import dagster_history, log_files, merging, retention
from wotr_pipeline.operations.maintenance.window import Report, Window, open_window
from wotr_pipeline.stores import warehouse_upkeep
from wotr_pipeline.stores.batch import PlannedRange
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import raw_key
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.postgres_upkeep import PostgresUpkeep
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.killed import killed
from wotr_pipeline_tests.operations.maintenance.scenario import (
    LONG_AGO,
    MONTH,
    Verifying,
    add_rows,
    execute,
    keeping_one_backup,
    mode_is_on,
    note_loaded,
    parts_of,
)

NEXT_MONTH = "202204"


def window_with(settings: Settings, step: Callable[..., object], *arguments: object) -> None:
    """A window of one step: retention goes by pages of one object, and no run of Dagster is kept."""
    retention.PAGE_KEYS, dagster_history.KEEP_DAYS = 1, 0
    with open_window(settings, f"killed-{uuid4()}", dry_run=False) as window:
        window.turn_on()
        step(window, *arguments)


def delete(window: Window) -> None:
    retention.retention(window, Verifying(True), retention.old_backups(window))


def rotate(window: Window) -> Report:
    return log_files.log_rotation(window, lambda run_id: False)


def delete_runs(window: Window, home: str) -> None:
    dagster_history.old_runs(window, dg.DagsterInstance.local_temp(home))


def test_merging_that_is_killed_between_two_partitions_is_finished_and_no_row_is_lost(
    space: Settings,
) -> None:
    warehouse = Warehouse(space)
    add_rows(warehouse, LONG_AGO, count=3)
    add_rows(warehouse, LONG_AGO + timedelta(days=40), count=3)
    killed(
        window_with, space, merging.optimize_clickhouse, 2, 10**9, at=warehouse_upkeep.merge, moment="after"
    )
    assert sorted((parts_of(warehouse, MONTH), parts_of(warehouse, NEXT_MONTH))) == [1, 3]
    with open_window(space, f"next-{uuid4()}", dry_run=False) as window:
        assert merging.optimize_clickhouse(window, 2, 10**9).numbers["partitions merged"] == 1
    assert (parts_of(warehouse, MONTH), parts_of(warehouse, NEXT_MONTH)) == (1, 1)
    assert warehouse.client.command("SELECT count() FROM ingested_data") == 6
    warehouse.close()
    assert not mode_is_on(space)


def loaded_long_ago(settings: Settings, count: int) -> list[str]:
    ranges = [PlannedRange(settings.kafka_topic, 0, first, first, LONG_AGO) for first in range(count)]
    with Ledger(settings) as ledger:
        ledger.plan(ranges)
    for range_ in ranges:
        ObjectStore(settings).put(raw_key(range_), b"bytes")
        note_loaded(settings, range_)
    return [raw_key(range_) for range_ in ranges]


def test_retention_that_is_killed_again_and_again_is_finished_and_takes_nothing_else(space: Settings) -> None:
    settings = keeping_one_backup(space)
    warehouse, objects, operations = Warehouse(settings), ObjectStore(settings), OperationsLog(settings)
    repository, log = Repository(settings), logging.getLogger("tests")
    for when in (LONG_AGO, LONG_AGO + timedelta(days=40), datetime.now(UTC)):
        add_rows(warehouse, when)
    old = loaded_long_ago(settings, 2)
    execute(
        settings,
        "INSERT INTO ingest_meta (id, payload_size, created_at) "
        "VALUES ('old', 1, now() - interval '31 days'), ('young', 1, now())",
    )
    execute(
        settings,
        "INSERT INTO operator_actions (who, action, at) VALUES ('anna', 'old', now() - interval '731 days')",
    )
    ids = [take_backup(settings, MinioTarget(settings), "a test", log).manifest.backup_id for _ in range(3)]

    killed(window_with, settings, delete, at=warehouse_upkeep.drop, call=2)
    assert sorted((parts_of(warehouse, MONTH), parts_of(warehouse, NEXT_MONTH))) == [0, 1]
    killed(window_with, settings, delete, at=ObjectStore.delete, moment="after")
    assert parts_of(warehouse, MONTH) + parts_of(warehouse, NEXT_MONTH) == 0
    assert len([found for found in objects.list("raw/") if found.key in old]) == 1
    killed(window_with, settings, delete, at=PostgresUpkeep.delete_before, call=2)
    assert not [found for found in objects.list("raw/") if found.key in old]
    assert "old" in {action.action for action in operations.actions()}
    killed(window_with, settings, delete, at=Repository.forget)
    assert "old" not in {action.action for action in operations.actions()}
    assert repository.backup_ids(Store.MINIO) == ids
    killed(window_with, settings, delete, at=Repository.clear)
    assert repository.backup_ids(Store.MINIO) == [ids[0], ids[2]]

    assert mode_is_on(settings)
    with open_window(settings, f"next-{uuid4()}", dry_run=False) as window:
        delete(window)
    assert not mode_is_on(settings)
    assert repository.backup_ids(Store.MINIO) == ids[2:]
    assert execute(settings, "SELECT backup_id FROM backups WHERE store = %s", Store.MINIO) == [(ids[2],)]
    newest = take_backup(settings, MinioTarget(settings), "a test", log)
    assert newest.verification.problem == ""
    keys = [found.key for found in repository.objects.list("minio/")]
    assert not [key for key in keys if ids[0] in key or ids[1] in key], (
        "nothing is left of the forgotten ones"
    )
    assert warehouse.client.command("SELECT count() FROM ingested_data") == 1
    with Ledger(settings) as ledger:
        assert ledger.accepted_by_gateway("old") is None
        assert ledger.accepted_by_gateway("young") is not None
    warehouse.close()
    operations.close()
    repository.objects.remove_bucket()


def test_log_rotation_that_is_killed_is_finished_and_takes_nothing_else(
    ledger_space: Settings, tmp_path: Path
) -> None:
    settings = ledger_space.model_copy(update={"wotr_data_dir": tmp_path})
    logs = [tmp_path / "logs" / name for name in ("gateway.log", "gateway.log.1", "gateway.log.2")]
    logs[0].parent.mkdir()
    long_ago = time.time() - 40 * 86_400
    for file in logs:
        file.write_text("0123456789")
        os.utime(file, (long_ago, long_ago))
    killed(window_with, settings, rotate, at=log_files._remove, moment="after")
    assert [file.exists() for file in logs].count(True) == 2
    with open_window(settings, f"next-{uuid4()}", dry_run=False) as window:
        assert rotate(window).numbers["log files"] == 1
    assert [file.exists() for file in logs] == [True, False, False]
    assert not mode_is_on(settings)


def test_a_run_of_dagster_that_was_killed_half_deleted_is_deleted_with_its_events(
    ledger_space: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def old() -> None:
        nothing()

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_id = old.execute_in_process(instance=instance).run_id
        killed(window_with, ledger_space, delete_runs, str(tmp_path), at=SqliteEventLogStorage.delete_events)
        assert instance.get_records_for_run(run_id).records
        monkeypatch.setattr(dagster_history, "KEEP_DAYS", 0)
        with open_window(ledger_space, f"next-{uuid4()}", dry_run=False) as window:
            dagster_history.old_runs(window, instance)
        assert not instance.has_run(run_id)
        assert not instance.get_records_for_run(run_id).records
