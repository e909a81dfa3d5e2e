"""The reports as Dagster makes and shows them: jobs, schedules, metadata, the check, files in the bucket."""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from wotr_pipeline.assets.partitions import arrival_weeks, hour_key
from wotr_pipeline.assets.reports import DAILY, DISK_CHECK, WEEKLY, disk_result, report_assets
from wotr_pipeline.automation.report_schedules import DAILY_JOB, WEEKLY_JOB, report_schedules
from wotr_pipeline.checks.definitions import HOUR_JOB
from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.definitions import build_definitions
from wotr_pipeline.operations.reports.forecast import DiskForecast
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.storage_sizes import DISK, StorageSize, StorageSizes
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.checks.conftest import LoadedHour
from wotr_pipeline_tests.conftest import object_client
from wotr_pipeline_tests.operations.reports.conftest import MONDAY, SCRIPT, SECRET, TUESDAY


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def execute(
    settings: Settings, instance: dg.DagsterInstance, job: str, key: str
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings)
    return definitions.resolve_job_def(job).execute_in_process(partition_key=key, instance=instance)


def shown(run: dg.ExecuteInProcessResult) -> dict[str, dict[str, dg.MetadataValue]]:
    return {
        found.asset_key.to_user_string(): dict(found.materialization.metadata)
        for found in run.get_asset_materialization_events()
    }


def keys(objects: ObjectStore) -> list[str]:
    return [info.key for info in objects.list("reports/")]


def test_a_days_reports_are_on_their_pages_and_in_the_bucket_and_can_be_made_again(
    reported: LoadedHour, instance: dg.DagsterInstance
) -> None:
    settings, today = reported.settings, datetime.now(UTC).date()
    with StorageSizes(settings) as sizes:
        for ago in range(1, 6):
            day = today - timedelta(days=ago)
            # A terabyte a day: no disk of a test machine lasts a month.
            sizes.write(day, [StorageSize(day, DISK, "data directory", -ago * 10**12, 0)])
    for _ in range(2):
        run = execute(settings, instance, DAILY_JOB, f"{today}")
    found = shown(run)
    assert set(found) == {"slow_queries", "table_statistics", "storage_forecast"}
    files = [f"reports/{name}/{today}.{ending}" for name in sorted(found) for ending in ("html", "md")]
    assert [key for key in keys(reported.objects) if key.split("/")[1] in found] == files
    assert found["table_statistics"]["rows of ingested_data"].value == 64
    assert isinstance(found["slow_queries"]["time in all"], dg.IntMetadataValue), "Dagster plots numbers"
    assert found["slow_queries"]["dagster/uri"].value == reported.objects.uri(files[0])
    partitions = found["table_statistics"]["ClickHouse: Partitions, the largest first"]
    assert isinstance(partitions, dg.TableMetadataValue)
    assert {"table": "ingested_data", "partition": "202611"}.items() <= partitions.records[0].data.items()
    client = object_client(settings)
    for key, kind in zip(
        files, ["text/html; charset=utf-8", "text/markdown; charset=utf-8"] * 3, strict=True
    ):
        answer = client.get_object(Bucket=settings.minio_bucket, Key=key)
        assert answer["ContentType"] == kind
        assert found[key.split("/")[1]]["in short"].value[:40] in answer["Body"].read().decode()
    (evaluation,) = run.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed) == (DISK_CHECK, False)
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert "the disk is full in" in (evaluation.description or "")
    assert str(evaluation.metadata["what to do"].value).endswith(f"reports.md#{DISK_CHECK}")


def test_a_weeks_reports_show_what_the_checks_said_and_no_content(
    reported: LoadedHour, instance: dg.DagsterInstance
) -> None:
    execute(reported.settings, instance, HOUR_JOB, hour_key(TUESDAY))
    found = shown(execute(reported.settings, instance, WEEKLY_JOB, f"{MONDAY}"))
    assert set(found) == {"source_costs", "quality_report"}
    checks = found["quality_report"]["What the checks say: Each check's last result, those that fail first"]
    assert isinstance(checks, dg.TableMetadataValue)
    said = {str(record.data["check"]): record.data for record in checks.records}
    assert said["no_event_twice"]["result"] == "passed"
    assert said["no_event_twice"]["partition"] == hour_key(TUESDAY)
    assert said["no_late_batches"]["result"] == "not looked at yet"
    assert {"every_record_is_judged_once", "no_stuck_retry", DISK_CHECK} <= set(said)
    costs = found["source_costs"]["Units by source: Sources, the dearest first"]
    assert isinstance(costs, dg.TableMetadataValue)
    assert costs.records[0].data["source"] == SCRIPT
    assert SECRET not in repr(found)


def test_a_store_that_is_away_is_asked_again_later(reported: LoadedHour) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        away = reported.settings.model_copy(update={"clickhouse_port": taken.getsockname()[1]})
        report = next(asset for asset in report_assets(away, []) if asset.key.path == ["slow_queries"])
        with dg.build_asset_context(partition_key="2026-11-24") as context:
            with pytest.raises(dg.RetryRequested):
                report(context, warehouse=Warehouse(away), objects=reported.objects)


def test_a_store_that_refuses_is_not_asked_again(reported: LoadedHour) -> None:
    wrong = reported.settings.model_copy(update={"clickhouse_db": "no_such_database"})
    report = next(asset for asset in report_assets(wrong, []) if asset.key.path == ["source_costs"])
    with dg.build_asset_context(partition_key=f"{MONDAY}") as context:
        with pytest.raises(dg.Failure) as failure:
            report(context, warehouse=Warehouse(wrong), objects=reported.objects)
    assert failure.value.allow_retries is False


def test_the_disk_check_passes_where_nothing_is_known_and_says_so() -> None:
    elsewhere = disk_result(Settings(), DiskForecast(None, None, "It is not known here."))
    assert (elsewhere.passed, elsewhere.description) == (True, "It is not known here.")
    assert disk_result(Settings(), DiskForecast(10, 30.0, "")).passed
    assert not disk_result(Settings(), DiskForecast(10, 29.9, "")).passed


def test_every_morning_asks_for_the_day_before_and_every_monday_for_the_week_before() -> None:
    daily, weekly = report_schedules(Settings())
    assert (daily.cron_schedule, weekly.cron_schedule) == ("0 5 * * *", "30 5 * * 1")
    for schedule, tick, key in (
        (daily, datetime(2026, 11, 24, 5, tzinfo=UTC), "2026-11-23"),
        (daily, datetime(2026, 1, 2, 5, tzinfo=UTC), "2026-01-01"),
        (weekly, datetime(2026, 11, 23, 5, 30, tzinfo=UTC), "2026-11-16"),
        (weekly, datetime(2026, 1, 5, 5, 30, tzinfo=UTC), "2025-12-29"),
    ):
        with dg.build_schedule_context(scheduled_execution_time=tick) as context:
            request = schedule(context)
        assert isinstance(request, dg.RunRequest)
        assert request.partition_key == key
    for schedule, tick in (
        (daily, datetime(2026, 1, 1, 5, tzinfo=UTC)),
        (weekly, datetime(2025, 12, 29, 5, 30, tzinfo=UTC)),
    ):
        with dg.build_schedule_context(scheduled_execution_time=tick) as context:
            assert isinstance(schedule(context), dg.SkipReason)


def test_every_report_and_its_check_has_a_paragraph_to_link_to() -> None:
    headings = re.findall(r"^#+ (\w+)$", (PROJECT_ROOT / "docs" / "reports.md").read_text(), re.MULTILINE)
    assert {*DAILY, *WEEKLY, DISK_CHECK} <= set(headings)


def test_the_first_week_is_the_one_in_which_the_first_hour_lies() -> None:
    settings = Settings(wotr_first_hour=datetime(2026, 3, 5, 13, tzinfo=UTC))
    assert arrival_weeks(settings).get_first_partition_key() == f"{date(2026, 3, 2)}"
