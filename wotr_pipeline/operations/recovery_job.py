"""The job ``recover_from_raw``: what ``wotr recover`` does, launched and shown in the Dagster UI.

Belongs here: config and metadata. Does not belong here: the recovery (``recovery.py``).
Concept: https://docs.dagster.io/guides/build/ops
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.recover_from_raw import hour_of
from wotr_pipeline.operations.recovery import Hours, Recovery, Stores
from wotr_pipeline.operations.recovery_report import HourReport
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

RECOVERY_JOB = "recover_from_raw"
HOURS_SHOWN = 200
"""Most hours in the table of a run; the counts cover all of them."""


class RecoveryConfig(dg.Config):
    """Which hours are rebuilt, and whether they are."""

    first_hour: str = Field(
        default="",
        description="First arrival hour, UTC, such as 2026-11-23T08:00. Empty: the earliest that there is.",
    )
    last_hour: str = Field(
        default="",
        description="Last arrival hour, included. Empty: the newest that there is.",
    )
    dry_run: bool = Field(
        default=True,
        description="Only show what would be rebuilt, what cannot be and why. False: rebuild it. Rows that are "
        "right are not touched, raw objects are only read, and ingestion may go on.",
    )


def recovery_job(settings: Settings) -> dg.JobDefinition:
    """The job: one op, never tried again by itself, for a second try has to be wanted."""

    @dg.op(
        name="recover",
        description="Rebuild ClickHouse from the raw objects, hour by hour. Dry by default.",
    )
    def recover(
        context: dg.OpExecutionContext,
        config: RecoveryConfig,
        ledger: dg.ResourceParam[Ledger],
        objects: dg.ResourceParam[ObjectStore],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.Output[None]:
        try:
            first = hour_of(config.first_hour) if config.first_hour else settings.wotr_first_hour
            last = hour_of(config.last_hour) if config.last_hour else datetime.max.replace(tzinfo=UTC)
        except ValueError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        stores = Stores(settings, ledger, objects, warehouse)
        recovery = Recovery(stores, Hours(first, last), context.run_id, context.log)
        for report in recovery.survey() if config.dry_run else recovery.apply():
            if not report.quiet:
                context.log.info("%s", report.line())
        result = recovery.result
        text = "\n".join(result.lines())
        context.log.info("%s", text)
        metadata: dict[str, dg.MetadataValue] = {
            "summary": dg.MetadataValue.md("\n".join(f"- {line.strip(' -')}" for line in result.lines())),
            "hours": _table(result.hours),
            "batches": dg.MetadataValue.int(result.rebuilt),
            "records": dg.MetadataValue.int(result.records),
            "bytes of raw objects": dg.MetadataValue.int(result.bytes),
            "problems": dg.MetadataValue.int(len(result.problems)),
            "runbook": dg.MetadataValue.url(settings.runbook("runbook/recover-from-raw.md")),
        }
        if not (config.dry_run or result.complete):
            first_problem = next(iter(result.problems), result.stopped)
            raise dg.Failure(
                f"Not everything could be rebuilt; the rest is. {first_problem}",
                metadata=metadata,
                allow_retries=False,
            )
        return dg.Output(None, metadata=metadata)

    @dg.job(
        name=RECOVERY_JOB,
        description="Rebuild ClickHouse from the raw objects for some hours, or all. Dry by default: the run shows "
        "what it would do. Ingestion may go on.",
        tags={"dagster/max_retries": "0"},
    )
    def job() -> None:
        recover()

    return job


def _table(hours: Sequence[HourReport]) -> dg.TableMetadataValue:
    shown = [hour for hour in hours if not hour.quiet][:HOURS_SHOWN]
    numbers = ("batches", "rebuilt", "adopted", "records", "bytes")
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "hour": f"{hour.hour:%Y-%m-%dT%H:%M}",
                    **{name: getattr(hour, name) for name in numbers},
                    "cannot be rebuilt": "; ".join(hour.problems),
                }
            )
            for hour in shown
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn("hour", "string"),
                *(dg.TableColumn(name, "int") for name in numbers),
                dg.TableColumn("cannot be rebuilt", "string"),
            ]
        ),
    )
