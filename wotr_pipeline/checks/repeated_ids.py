"""Is an event of an hour in the table twice?

Belongs here: looking for ids that several valid rows of an hour carry.
Does not belong here: keeping them out in the first place (``stores/loading.py``), or comparing counts
(``reconciliation.py``).
"""

from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_hours, hour_of
from wotr_pipeline.checks.presentation import first_three, moment, runbook
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.warehouse import Warehouse


@dataclass(frozen=True)
class RepeatedIds:
    """Ids that several valid rows of an hour carry: how many, how many rows too many, and examples."""

    hour: datetime
    ids: int
    extra_rows: int
    sample_ids: tuple[str, ...]
    batch_ids: tuple[str, ...]


def repeated_ids(warehouse: Warehouse, hour: datetime) -> RepeatedIds:
    """Look for ids that more than one valid row of the hour carries.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    (row,) = warehouse.select("check_repeated_ids", {"arrival_hour": int(hour.timestamp())}).to_pylist()
    return RepeatedIds(
        hour, row["ids"], int(row["extra_rows"]), tuple(row["sample_ids"]), tuple(row["batches"])
    )


def repeated_ids_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``no_event_twice`` of ``ingested_data``, per hour."""

    @dg.asset_check(
        asset="ingested_data",
        name="no_event_twice",
        partitions_def=arrival_hours(settings),
        description="No two valid rows of the hour have the same id, so a plain count() counts each event once.",
    )
    def no_event_twice(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        hour = hour_of(context.partition_key)
        found = repeated_ids(warehouse.for_run(context.run.run_id), hour)
        text = f"{moment(hour)}: no id is there twice among the valid rows."
        if found.ids:
            text = (
                f"{moment(hour)}: {found.ids:,} ids are there more than once, {found.extra_rows:,} rows too many, "
                f"in {first_three(found.batch_ids)}. Reprocess the hour: that replaces its rows at once."
            )
        return dg.AssetCheckResult(
            passed=found.ids == 0,
            description=text,
            metadata={
                "ids more than once": found.ids,
                "rows too many": found.extra_rows,
                "some ids": ", ".join(found.sample_ids),
                "some batches": first_three(found.batch_ids),
                "what to do": dg.MetadataValue.url(runbook(settings, "no_event_twice")),
            },
        )

    return no_event_twice
