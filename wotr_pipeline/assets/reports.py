"""Assets of what the platform reports of itself: three a day, two a week.

In: the stores' own accounts and the curated tables. Out: figures, tables and charts on the asset's page, and the same as
Markdown and HTML in the bucket, below ``reports/<asset>/<day>``.
Promise: a partition can be materialized again at any time; what cannot be known any more is said, not guessed. No
report holds an event's content.

Belongs here: what Dagster sees of the reports. Does not belong here: the reports (``operations/reports/``), when they
are made (``automation/report_schedules.py``).
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime

import dagster as dg

from wotr_pipeline.assets.curated import hours_of_a_day
from wotr_pipeline.assets.partitions import arrival_days, arrival_weeks, day_of
from wotr_pipeline.assets.report_presentation import metadata
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.reports import (
    forecast,
    quality_report,
    slow_queries,
    source_costs,
    table_statistics,
    writing,
)
from wotr_pipeline.operations.reports.quality_report import CheckStanding
from wotr_pipeline.operations.reports.report import Report
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

GROUP = "reports"
OWNERS = ["team:platform"]
DAILY = (slow_queries.NAME, table_statistics.NAME, forecast.NAME)
WEEKLY = (source_costs.NAME, quality_report.NAME)
DISK_CHECK = "the_disk_lasts_a_month"

DESCRIPTIONS = {
    slow_queries.NAME: "What ClickHouse spent the day's time on: the slowest finished queries, and the shapes that took "
    "the most time, without their literals. Kept as long as system.query_log keeps them.",
    table_statistics.NAME: "What the stores hold, and how much room it takes: ClickHouse by table and partition, "
    "PostgreSQL by table with dead rows and last vacuum, the bucket by prefix. Writes the day's storage_sizes.",
    forecast.NAME: "How fast the stores grow, how large they will be in 30, 90 and 365 days, and when the disk is full. "
    "From storage_sizes of the last 28 days.",
    source_costs.NAME: "Which source the platform works for: its part of the week's 100 units, by bytes stored and rows "
    "processed. From source_stats.",
    quality_report.NAME: "How good the week's events were: rates by day, type and source, reasons, the week before, and "
    "what each check says. From the curated tables.",
}

Make = Callable[[date, datetime], Report]


def report_assets(settings: Settings, checks: Iterable[dg.AssetCheckKey]) -> list[dg.AssetsDefinition]:
    """The five assets; the quality report shows what ``checks`` said last."""
    return [
        _slow_queries(settings),
        _table_statistics(settings),
        _storage_forecast(settings),
        _source_costs(settings),
        _quality_report(
            settings, sorted({*checks, dg.AssetCheckKey(dg.AssetKey(forecast.NAME), DISK_CHECK)})
        ),
    ]


def _slow_queries(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=slow_queries.NAME,
        partitions_def=arrival_days(settings),
        group_name=GROUP,
        kinds={"clickhouse", "s3"},
        owners=OWNERS,
        description=DESCRIPTIONS[slow_queries.NAME],
    )
    def slow_queries_asset(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        objects: dg.ResourceParam[ObjectStore],
    ) -> dg.MaterializeResult[None]:
        engine = warehouse.for_run(context.run_id)
        return _made(context, objects, lambda day, now: slow_queries.slow_queries(settings, engine, day, now))

    return slow_queries_asset


def _table_statistics(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=table_statistics.NAME,
        deps=[dg.AssetDep("ingested_data", partition_mapping=hours_of_a_day())],
        partitions_def=arrival_days(settings),
        group_name=GROUP,
        kinds={"clickhouse", "postgres", "s3"},
        owners=OWNERS,
        description=DESCRIPTIONS[table_statistics.NAME],
    )
    def table_statistics_asset(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        objects: dg.ResourceParam[ObjectStore],
    ) -> dg.MaterializeResult[None]:
        engine = warehouse.for_run(context.run_id)

        def make(day: date, now: datetime) -> Report:
            return table_statistics.table_statistics(settings, engine, objects, day, now)

        return _made(context, objects, make)

    return table_statistics_asset


def _storage_forecast(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=forecast.NAME,
        deps=[table_statistics.NAME],
        partitions_def=arrival_days(settings),
        check_specs=[
            dg.AssetCheckSpec(
                DISK_CHECK,
                asset=forecast.NAME,
                description=f"At the growth of the last {forecast.DAYS} days the disk of the stores is not full within "
                f"{forecast.WARN_DAYS:.0f} days. Warns. Passes where it is not known.",
            )
        ],
        group_name=GROUP,
        kinds={"postgres", "s3"},
        owners=OWNERS,
        description=DESCRIPTIONS[forecast.NAME],
    )
    def storage_forecast_asset(
        context: dg.AssetExecutionContext, objects: dg.ResourceParam[ObjectStore]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        found: list[forecast.StorageForecast] = []

        def make(day: date, now: datetime) -> Report:
            found.append(forecast.storage_forecast(settings, day, now))
            return found[-1].report

        yield _made(context, objects, make)
        yield disk_result(settings, found[-1].disk)

    return storage_forecast_asset


def disk_result(settings: Settings, disk: forecast.DiskForecast) -> dg.AssetCheckResult:
    """What ``DISK_CHECK`` says of the disk's forecast."""
    text = disk.why
    if disk.soon:
        text += (
            " Look at the tables and prefixes that grow fastest in storage_forecast, then free room (retention) or add "
            "a disk. Nothing is lost yet: Kafka keeps what cannot be landed, as long as its own disk lasts."
        )
    shown: dict[str, int | float | dg.MetadataValue] = {
        "what to do": dg.MetadataValue.url(settings.runbook(f"reports.md#{DISK_CHECK}"))
    }
    if disk.free is not None:
        shown["free bytes"] = disk.free
    if disk.days_left is not None:
        shown["days left"] = disk.days_left
    return dg.AssetCheckResult(
        passed=not disk.soon,
        asset_key=forecast.NAME,
        check_name=DISK_CHECK,
        severity=dg.AssetCheckSeverity.WARN,
        description=text,
        metadata=shown,
    )


def _source_costs(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=source_costs.NAME,
        deps=[_of_the_week("source_stats")],
        partitions_def=arrival_weeks(settings),
        group_name=GROUP,
        kinds={"clickhouse", "s3"},
        owners=OWNERS,
        description=DESCRIPTIONS[source_costs.NAME],
    )
    def source_costs_asset(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        objects: dg.ResourceParam[ObjectStore],
    ) -> dg.MaterializeResult[None]:
        engine = warehouse.for_run(context.run_id)
        return _made(context, objects, lambda day, now: source_costs.source_costs(settings, engine, day, now))

    return source_costs_asset


def _quality_report(settings: Settings, checks: list[dg.AssetCheckKey]) -> dg.AssetsDefinition:
    @dg.asset(
        name=quality_report.NAME,
        deps=[_of_the_week(table) for table in ("events_hourly", "source_stats", "dead_letters_hourly")],
        partitions_def=arrival_weeks(settings),
        group_name=GROUP,
        kinds={"clickhouse", "s3"},
        owners=OWNERS,
        description=DESCRIPTIONS[quality_report.NAME],
    )
    def quality_report_asset(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        objects: dg.ResourceParam[ObjectStore],
    ) -> dg.MaterializeResult[None]:
        engine = warehouse.for_run(context.run_id)
        said = [_standing(context.instance, key) for key in checks]

        def make(day: date, now: datetime) -> Report:
            return quality_report.quality_report(settings, engine, said, day, now)

        return _made(context, objects, make)

    return quality_report_asset


def _of_the_week(asset: str) -> dg.AssetDep:
    # A week that is running, or in which WOTR_FIRST_HOUR lies, has hours that do not exist: no reason to fail.
    mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    return dg.AssetDep(asset, partition_mapping=mapping)


def _made(context: dg.AssetExecutionContext, objects: ObjectStore, make: Make) -> dg.MaterializeResult[None]:
    """Make the partition's report and write its files."""
    try:
        report = make(day_of(context.partition_key), datetime.now(UTC))
        written = writing.write(objects, report)
    except TransientError as error:
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=5) from error
    except PermanentError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    context.log.info("%s Written to %s.", report.headline, objects.uri(written.html))
    return dg.MaterializeResult(metadata=metadata(report, written, objects))


def _standing(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> CheckStanding:
    asset = key.asset_key.to_user_string()
    record = instance.get_latest_asset_check_evaluation_record(key)
    if record is None:
        return CheckStanding(key.name, asset, None, "", None, "")
    at, evaluation = datetime.fromtimestamp(record.create_timestamp, UTC), record.evaluation
    # A check that is planned, or whose run died, has an event too, of another type.
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return CheckStanding(key.name, asset, None, "", at, "")
    severity, partition = evaluation.severity.value, evaluation.partition or ""
    return CheckStanding(key.name, asset, evaluation.passed, severity, at, partition)
