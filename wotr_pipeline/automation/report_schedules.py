"""When reports are made: the day's at 05:00 UTC, the week's on Monday at 05:30, after the Sunday window.

Belongs here: the two jobs and their schedules. Does not belong here: the reports (``assets/reports.py``).
Concept: https://docs.dagster.io/guides/automate/schedules
"""

from datetime import timedelta

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_days, arrival_weeks, day_key
from wotr_pipeline.assets.reports import DAILY, WEEKLY
from wotr_pipeline.config import Settings

DAILY_JOB, WEEKLY_JOB = "daily_reports", "weekly_reports"


def report_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The schedules, each with its job: the day before, every morning; the week before, every Monday morning."""
    days, weeks = arrival_days(settings), arrival_weeks(settings)
    too_early = dg.SkipReason(f"That is earlier than WOTR_FIRST_HOUR, {settings.wotr_first_hour}.")
    daily = dg.define_asset_job(
        DAILY_JOB,
        selection=dg.AssetSelection.assets(*DAILY),
        partitions_def=days,
        description="Slow queries, table statistics and the storage forecast of a day. Safe to launch at any time.",
    )
    weekly = dg.define_asset_job(
        WEEKLY_JOB,
        selection=dg.AssetSelection.assets(*WEEKLY),
        partitions_def=weeks,
        description="Cost per source and quality of a week. Safe to launch at any time.",
    )

    @dg.schedule(
        job=daily,
        cron_schedule="0 5 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The reports of the day before.",
    )
    def daily_reports_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        key = day_key(context.scheduled_execution_time.date() - timedelta(days=1))
        return dg.RunRequest(partition_key=key) if days.has_partition_key(key) else too_early

    @dg.schedule(
        job=weekly,
        cron_schedule="30 5 * * 1",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The reports of the week before, after the maintenance window of Sunday.",
    )
    def weekly_reports_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time.date()
        key = day_key(tick - timedelta(days=tick.weekday() + 7))
        return dg.RunRequest(partition_key=key) if weeks.has_partition_key(key) else too_early

    return [daily_reports_schedule, weekly_reports_schedule]
