"""All checks that stand on their own, and when they are looked at.

Belongs here: the lists and the two schedules.
Does not belong here: any check (the modules beside this one), or those of the ingest op (``quality.py``).
"""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_hours, hour_key
from wotr_pipeline.checks.drift import drift_check
from wotr_pipeline.checks.freshness import freshness_check
from wotr_pipeline.checks.quality import report_check
from wotr_pipeline.checks.reconciliation import reconciliation_check
from wotr_pipeline.checks.repeated_ids import repeated_ids_check
from wotr_pipeline.checks.schema import schema_check, version_check
from wotr_pipeline.checks.standing import standing_ledger_checks
from wotr_pipeline.checks.volume import volume_check
from wotr_pipeline.config import Settings

STANDING_JOB = "standing_checks"
HOUR_JOB = "hour_checks"


def standing_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Every check that can be executed on its own, from the UI or by the schedules below."""
    return [*_of_an_hour(settings), *_of_the_whole(settings)]


def _of_an_hour(settings: Settings) -> list[dg.AssetChecksDefinition]:
    return [
        report_check(settings),
        reconciliation_check(settings),
        repeated_ids_check(settings),
        volume_check(settings),
        drift_check(settings),
        version_check(settings),
    ]


def _of_the_whole(settings: Settings) -> list[dg.AssetChecksDefinition]:
    return [*standing_ledger_checks(settings), freshness_check(settings), schema_check(settings)]


def standing_checks_schedule(
    settings: Settings, checks: Sequence[dg.AssetChecksDefinition]
) -> list[dg.ScheduleDefinition]:
    """Two schedules: what is broken now, every ten minutes; the hour before, at twenty past."""
    hourly = [check for check in checks if any(spec.partitions_def for spec in check.check_specs)]
    whole = [check for check in checks if check not in hourly]
    now = dg.define_asset_job(
        STANDING_JOB,
        selection=dg.AssetSelection.checks(*whole),
        description="What is broken now: gaps, late and quarantined batches, freshness, columns.",
        tags={"dagster/max_retries": "0"},
    )
    hour = dg.define_asset_job(
        HOUR_JOB,
        selection=dg.AssetSelection.checks(*hourly),
        # Dagster takes a job's partitions from its assets; this one has none, only checks.
        config=dg.PartitionedConfig(
            partitions_def=arrival_hours(settings), run_config_for_partition_key_fn=lambda _: {}
        ),
        description="Whether an hour adds up: ledger, objects and rows, ids, quality, volume, versions.",
        tags={"dagster/max_retries": "0"},
    )

    @dg.schedule(
        job=hour,
        cron_schedule="20 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The checks of the hour before: by then its last events are loaded.",
    )
    def hour_checks_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time.replace(minute=0, second=0, microsecond=0)
        before = tick - timedelta(hours=1)
        if before < settings.wotr_first_hour:
            return dg.SkipReason(
                f"The hour before is earlier than WOTR_FIRST_HOUR, {settings.wotr_first_hour}."
            )
        return dg.RunRequest(partition_key=hour_key(before))

    return [
        dg.ScheduleDefinition(
            name="standing_checks_schedule",
            job=now,
            cron_schedule="*/10 * * * *",
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="The standing checks, every ten minutes.",
        ),
        hour_checks_schedule,
    ]
