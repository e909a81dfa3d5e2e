"""Assets ``events_hourly``, ``source_stats``, ``dead_letters_hourly`` and ``events_daily``: what people chart.

In: ``ingested_data`` (the day's table: ``events_hourly``). Out: small tables, a partition of which
is rebuilt and swapped in one step, so a reader never sees half of it and repeating changes nothing.

Belongs here: the four assets. Does not belong here: their SQL (``sql/refresh_*.sql``).
"""

from datetime import UTC, datetime

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_days, arrival_hours, hour_of
from wotr_pipeline.assets.presentation import table_columns
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.warehouse import Parameter, Warehouse

OWNERS = ["team:platform"]
HOURLY = ("events_hourly", "source_stats", "dead_letters_hourly")
SCRATCH = "curated_refresh"
"""The table in which a partition is rebuilt, one at a time."""

DESCRIPTIONS = {
    "events_hourly": "Events, failed events, bytes, users and late events by arrival hour, type and source. "
    "Rebuilt for the hour by every ingest run; a backfill of the hour rebuilds it too.",
    "source_stats": "What each source sent in an arrival hour: events, failure share, sizes, versions and "
    "error codes. Look here first when one producer breaks.",
    "dead_letters_hourly": "Rejected events by arrival hour, reason, field, source and version: how many, their share "
    "of the source's events, first and last seen, and where three of them lie. What is still open of them: "
    "open_dead_letters.",
    "events_daily": "Events by day of arrival and type, from events_hourly. Rebuilt within a minute or two "
    "after one of the day's hours changed, late data included.",
}


def refresh(
    warehouse: Warehouse, ledger: Ledger, run_id: str, table: str, partition: str, parameters: dict[str, int]
) -> int:
    """Rebuild one partition of a curated table from ``sql/refresh_<table>.sql``; returns its rows.

    Rebuilt beside the table and swapped by REPLACE PARTITION under the load lock, so that two runs
    cannot put an older picture over a newer one.
    """
    with ledger.writer(run_id) as writer, writer.load_lock(timeout=300.0):
        warehouse.execute("drop_table", {"table": SCRATCH})
        warehouse.execute(f"start_refresh_{table}")
        warehouse.execute(f"refresh_{table}", parameters)
        place: dict[str, Parameter] = {"table": table, "partition": partition}
        made = warehouse.select("count_partition_rows", {"table": SCRATCH, "partition": partition})
        # The engine refuses to put nothing in the place of a partition.
        warehouse.execute("finish_refresh" if made["rows"][0].as_py() else "empty_partition", place)
        warehouse.execute("drop_table", {"table": SCRATCH})
    return int(made["rows"][0].as_py())


def curated_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The four assets, partitioned as ``settings`` say."""
    return [*(_hourly(table, settings) for table in HOURLY), _daily(settings)]


def hours_of_a_day() -> dg.TimeWindowPartitionMapping:
    """The mapping of a day to its hours. The day that is running has hours to come: no reason to fail for them."""
    return dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)


def _hourly(table: str, settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=table,
        deps=["ingested_data"],
        partitions_def=arrival_hours(settings),
        group_name="curated",
        kinds={"clickhouse"},
        owners=OWNERS,
        description=DESCRIPTIONS[table],
        metadata={"dagster/table_name": f"{settings.clickhouse_db}.{table}"},
    )
    def hourly(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult[None]:
        hour = hour_of(context.partition_key)
        return _refreshed(
            context, warehouse, ledger, table, hour.strftime("%Y%m%d"), {"hour": int(hour.timestamp())}
        )

    return hourly


def _daily(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name="events_daily",
        deps=[dg.AssetDep("events_hourly", partition_mapping=hours_of_a_day())],
        partitions_def=arrival_days(settings),
        group_name="curated",
        kinds={"clickhouse"},
        owners=OWNERS,
        description=DESCRIPTIONS["events_daily"],
        metadata={"dagster/table_name": f"{settings.clickhouse_db}.events_daily"},
        # Not eager(): that waits for all 24 hours of the day to exist.
        automation_condition=dg.AutomationCondition.any_deps_updated()
        & ~dg.AutomationCondition.in_progress()
        & ~dg.AutomationCondition.any_deps_in_progress(),
    )
    def events_daily(
        context: dg.AssetExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult[None]:
        day = datetime.strptime(context.partition_key, "%Y-%m-%d").replace(tzinfo=UTC)
        return _refreshed(
            context, warehouse, ledger, "events_daily", day.strftime("%Y%m"), {"day": int(day.timestamp())}
        )

    return events_daily


def _refreshed(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    ledger: Ledger,
    table: str,
    partition: str,
    parameters: dict[str, int],
) -> dg.MaterializeResult[None]:
    warehouse = warehouse.for_run(context.run_id)
    try:
        rows = refresh(warehouse, ledger, context.run_id, table, partition, parameters)
        columns = table_columns(warehouse, table)
    except TransientError as error:
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=5) from error
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows,
            "dagster/column_schema": columns,
            "ClickHouse partition": partition,
        }
    )
