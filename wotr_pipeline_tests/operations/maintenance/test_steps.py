"""Each step does its work on the real servers, and never more than it may."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.minio import MinioTarget
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import take_backup
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.maintenance.dagster_history import old_runs
from wotr_pipeline.operations.maintenance.log_files import log_rotation
from wotr_pipeline.operations.maintenance.merging import optimize_clickhouse, vacuum_postgres
from wotr_pipeline.operations.maintenance.retention import (
    month_is_past,
    old_backups,
    retention,
)
from wotr_pipeline.operations.maintenance.watching import watch
from wotr_pipeline.operations.maintenance.window import Window, open_window
from wotr_pipeline.stores.batch import PlannedRange
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import raw_key
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.operations.maintenance.scenario import (
    LONG_AGO,
    MONTH,
    Verifying,
    add_rows,
    execute,
    keeping_one_backup,
    note_loaded,
    parts_of,
)
from wotr_pipeline_tests.slack_sink import slack_sink


@pytest.fixture
def window(ledger_space: Settings) -> Iterator[Window]:
    with open_window(ledger_space, f"test-{uuid4()}", dry_run=False) as opened:
        yield opened


@pytest.fixture
def whole(space: Settings) -> Iterator[Window]:
    with open_window(space, f"test-{uuid4()}", dry_run=False) as opened:
        yield opened


def test_the_vacuum_takes_dead_rows_away_and_tells_them(window: Window) -> None:
    settings = window.settings
    execute(
        settings,
        "INSERT INTO ingest_meta (id, payload_size) SELECT 'id-' || n, 1 FROM generate_series(1, 5000) n",
    )
    execute(settings, "DELETE FROM ingest_meta")
    execute(settings, "SELECT pg_stat_force_next_flush()")
    report = vacuum_postgres(window)
    first = report.tables["bloat"][0]
    assert first["table"] == "ingest_meta"
    assert int(first["bytes after"]) < int(first["bytes before"])


def test_only_partitions_with_many_parts_that_are_not_too_large_are_merged(whole: Window) -> None:
    warehouse = Warehouse(whole.settings)
    add_rows(warehouse, LONG_AGO, count=4)
    add_rows(warehouse, LONG_AGO + timedelta(days=40), count=2)
    report = optimize_clickhouse(whole, more_parts_than=3, largest_bytes=1)
    assert report.numbers["partitions merged"] == 0
    report = optimize_clickhouse(whole, more_parts_than=3, largest_bytes=10**9)
    assert report.numbers["partitions merged"] == 1
    assert (parts_of(warehouse, MONTH), parts_of(warehouse, "202204")) == (1, 2)
    assert warehouse.client.command("SELECT count() FROM ingested_data") == 6
    warehouse.close()


def test_a_month_is_dropped_only_past_its_time_and_only_if_a_verified_backup_has_it(whole: Window) -> None:
    warehouse = Warehouse(whole.settings)
    add_rows(warehouse, LONG_AGO)
    add_rows(warehouse, datetime.now(UTC))
    retention(whole, Verifying(False))
    assert parts_of(warehouse, MONTH) == 1
    whole.dry_run = True
    report = retention(whole, Verifying(True))
    assert "1 would be deleted" in report.lines[0]
    assert parts_of(warehouse, MONTH) == 1
    whole.dry_run = False
    retention(whole, Verifying(True))
    assert parts_of(warehouse, MONTH) == 0
    assert warehouse.client.command("SELECT count() FROM ingested_data") == 1
    warehouse.close()


def test_old_backups_go_with_the_window_and_the_newest_verified_one_stays(space: Settings) -> None:
    settings = keeping_one_backup(space)
    log, target = logging.getLogger("tests"), MinioTarget(settings)
    ids = [take_backup(settings, target, "a test", log).manifest.backup_id for _ in range(2)]
    repository = Repository(settings)
    with open_window(settings, f"test-{uuid4()}", dry_run=True) as dry:
        told = next(old_backups(dry))
    assert (told.what, told.gone) == ("backups of minio", 1)
    assert repository.backup_ids(Store.MINIO) == ids
    with open_window(settings, f"test-{uuid4()}", dry_run=False) as window:
        assert next(old_backups(window)).gone == 1
    assert repository.backup_ids(Store.MINIO) == ids[1:]
    repository.objects.remove_bucket()


@pytest.mark.parametrize(
    ("month", "now", "past"),
    [
        ("202412", datetime(2025, 1, 31, tzinfo=UTC), False),
        ("202412", datetime(2025, 2, 1, tzinfo=UTC), True),
        ("202501", datetime(2025, 2, 28, tzinfo=UTC), False),
    ],
)
def test_a_month_is_past_when_its_last_moment_is(month: str, now: datetime, past: bool) -> None:
    assert month_is_past(month, now, days=31) is past


def test_a_raw_object_goes_only_if_its_batch_is_loaded_and_a_verified_backup_has_it(whole: Window) -> None:
    settings, objects = whole.settings, ObjectStore(whole.settings)
    old = [PlannedRange(settings.kafka_topic, 0, first, first, LONG_AGO) for first in range(3)]
    young = PlannedRange(
        settings.kafka_topic, 0, 3, 3, datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    )
    unknown = PlannedRange(settings.kafka_topic, 1, 7, 9, LONG_AGO)
    for range_ in (*old, young, unknown):
        objects.put(raw_key(range_), b"bytes")
    with Ledger(settings) as ledger:
        ledger.plan([*old, young])
    for range_ in (old[0], young):
        note_loaded(settings, range_)
    execute(
        settings, "UPDATE ingest_batches SET state = 'QUARANTINED', last_error = 'x' WHERE first_offset = 1"
    )
    retention(whole, Verifying(False))
    assert len(list(objects.list("raw/"))) == 5
    retention(whole, Verifying(True))
    kept = {found.key for found in objects.list("raw/")}
    assert kept == {raw_key(range_) for range_ in (*old[1:], young, unknown)}
    objects.delete(kept)


def test_ids_and_actions_past_their_time_go_and_younger_ones_stay(whole: Window) -> None:
    settings = whole.settings
    execute(
        settings,
        "INSERT INTO ingest_meta (id, payload_size, created_at) "
        "VALUES ('old', 1, now() - interval '31 days'), ('young', 1, now() - interval '29 days')",
    )
    execute(
        settings,
        "INSERT INTO operator_actions (who, action, at) "
        "VALUES ('anna', 'old', now() - interval '731 days'), ('anna', 'young', now() - interval '1 day')",
    )
    whole.dry_run = True
    report = retention(whole, Verifying(False))
    assert report.numbers["ids that the gateway remembers, gone"] == 1
    whole.dry_run = False
    retention(whole, Verifying(False))
    with Ledger(settings) as ledger:
        assert ledger.accepted_by_gateway("old") is None
        assert ledger.accepted_by_gateway("young") is not None
    log = OperationsLog(settings)
    assert [action.action for action in log.actions()] == ["young"]
    log.close()


def test_old_runs_go_but_one_that_holds_the_newest_materialization_stays(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = dg.StaticPartitionsDefinition(["a", "b"])

    @dg.asset(partitions_def=days)
    def counted() -> None:
        pass

    monkeypatch.setattr("wotr_pipeline.operations.maintenance.dagster_history.KEEP_DAYS", 0)
    with dg.DagsterInstance.ephemeral() as instance:
        runs = [
            dg.materialize([counted], partition_key=key, instance=instance).run_id for key in ("a", "a", "b")
        ]
        window.dry_run = True
        assert old_runs(window, instance).gone == 1
        assert len(instance.get_runs()) == 3
        window.dry_run = False
        removed = old_runs(window, instance)
        assert (removed.gone, removed.kept) == (1, 2)
        assert {run.run_id for run in instance.get_runs()} == set(runs[1:])
        assert instance.get_materialized_partitions(dg.AssetKey("counted")) == {"a", "b"}


def test_only_old_log_files_and_compute_logs_of_gone_runs_are_removed(
    window: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, logs = tmp_path / "dagster", tmp_path / "logs"
    gone, known, young = (str(uuid4()) for _ in range(3))
    files = {
        "old rotated": logs / "gateway.log.3",
        "young rotated": logs / "gateway.log.1",
        "the log itself": logs / "gateway.log",
        "data": logs / "data.7",
        "gone run": home / "storage" / gone / "compute_logs" / "x.err",
        "known run": home / "storage" / known / "compute_logs" / "x.err",
        "young run": home / "storage" / young / "compute_logs" / "x.err",
        "asset": home / "storage" / "counted",
    }
    long_ago = time.time() - 40 * 86_400
    for name, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("0123456789")
        if "young" not in name:
            os.utime(file, (long_ago, long_ago))
    for run in (gone, known):
        os.utime(home / "storage" / run, (long_ago, long_ago))
    (home / "storage" / str(uuid4())).symlink_to(home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    window.settings = window.settings.model_copy(update={"wotr_data_dir": tmp_path})
    window.dry_run = True
    assert log_rotation(window, lambda run_id: run_id == known).numbers == {"log files": 2, "bytes freed": 20}
    assert all(file.exists() for file in files.values())
    window.dry_run = False
    assert log_rotation(window, lambda run_id: run_id == known).numbers == {"log files": 2, "bytes freed": 20}
    assert {name for name, file in files.items() if not file.exists()} == {"old rotated", "gone run"}


def arrive(warehouse: Warehouse, when: datetime, events: int, rejected: int) -> None:
    warehouse.client.command(
        "INSERT INTO ingested_data (id, event_type, source, timestamp, created_at, arrival_hour, validation_status) "
        f"SELECT toString(number), 'metric', 's', '{when:%Y-%m-%d %H:%M:%S}', '{when:%Y-%m-%d %H:%M:%S}', "
        f"'{when:%Y-%m-%d %H}:00:00', if(number < {rejected}, 'failed', 'valid') FROM numbers({events})"
    )


@pytest.mark.parametrize(("rejected", "worse"), [(50, True), (3, False)])
def test_a_pipeline_that_rejects_more_than_before_is_told_at_once_and_is_the_verdict(
    space: Settings, rejected: int, worse: bool
) -> None:
    now = datetime.now(UTC)
    with closing(Warehouse(space)) as warehouse:
        arrive(warehouse, now - timedelta(minutes=30), 500, 5)
        arrive(warehouse, now, 250, rejected)
    with (
        slack_sink() as sink,
        open_window(sink.settings(space), f"test-{uuid4()}", dry_run=False) as window,
    ):
        window.begun = now - timedelta(minutes=10)
        window.mode_ended = now
        report = watch(window, minutes=0.02, every_seconds=0.1)
    looks = report.numbers["looks"]
    assert looks > 1
    assert [line["events"] for line in report.tables["measures"]] == [500, *[250] * int(looks)]
    if worse:
        assert "20.0 % of the events are rejected, before it were 1.0 %" in report.problem
        (message,) = sink.messages
        assert message.channel == space.wotr_slack_incidents_channel
    else:
        assert (report.problem, sink.messages) == ("", [])


def test_an_idle_pipeline_is_as_before(whole: Window) -> None:
    report = watch(whole, minutes=0, every_seconds=1)
    assert report.problem == ""
    assert "as before" in report.lines[0]
    assert len(report.tables["measures"]) == 2
