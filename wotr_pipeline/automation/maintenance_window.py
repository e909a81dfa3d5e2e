"""When the maintenance window happens, when people are told of it, and who ends a mode whose window has died.

Belongs here: the times, and the sensor. Does not belong here: the window (``operations/maintenance/``).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.checks.presentation import moment
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.maintenance.job import RESOURCE, WHEN_DONE
from wotr_pipeline.operations.maintenance.window import LASTS, RUN, end_orphaned_mode, run_page
from wotr_pipeline.stores.errors import StoreError
from wotr_pipeline.stores.slack import Delivery, Importance, Slack

WINDOW_TIME = "0 2 * * 0"
"""Sunday 02:00 UTC."""
NOTICES = {48: "0 2 * * 5", 24: "0 2 * * 6", 1: "0 1 * * 0"}
"""By the hours before the window."""
SENSOR_SECONDS = 30


@dataclass(frozen=True)
class MaintenanceAutomation:
    """What makes the window happen without anybody."""

    schedules: tuple[dg.ScheduleDefinition, ...]
    sensors: tuple[dg.SensorDefinition, ...]


def maintenance_automation(settings: Settings, job: dg.JobDefinition) -> MaintenanceAutomation:
    """The window's schedule, its notices, and the sensor that ends what it left."""

    @dg.schedule(
        name="maintenance_window_schedule",
        job=job,
        cron_schedule=WINDOW_TIME,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The Sunday window, for real, until 04:00 UTC.",
    )
    def window(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        until = context.scheduled_execution_time + LASTS
        return dg.RunRequest(
            run_config={"resources": {RESOURCE: {"config": {"dry_run": False, "until": until.isoformat()}}}}
        )

    @dg.sensor(
        name="maintenance_left_on",
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends maintenance mode when the run that turned it on has ended without doing so (kill -9, lost "
        "machine). A mode that a person turned on is left alone.",
    )
    def left_on(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            ended = end_orphaned_mode(settings)
        except StoreError as error:
            return dg.SkipReason(f"It cannot be told whether maintenance was left on: {error}")
        if ended is None:
            return dg.SkipReason("No window has left maintenance mode on.")
        run_id = ended.who.removeprefix(RUN)
        context.log.warning("Maintenance mode of %s is off now: its run has ended.", ended.who)
        slack = Slack(settings)
        try:
            slack.tell(
                "maintenance_failed",
                f"maintenance/{run_id}/maintenance_failed",
                Importance.INCIDENT,
                step="that was under way",
                problem="The run was killed. What it had done stays done; launching the window again repairs the rest.",
                run=run_page(settings, run_id),
            )
        finally:
            slack.close()
        return dg.SkipReason(f"Maintenance mode of {ended.who} is off now: its run has ended without a word.")

    notices = tuple(_notice(settings, hours, time) for hours, time in NOTICES.items())
    return MaintenanceAutomation((window, *notices), (left_on,))


def _notice(settings: Settings, hours: int, time: str) -> dg.ScheduleDefinition:
    lead = f"in {hours} hours" if hours > 1 else "in one hour"

    @dg.op(name=f"announce_{hours}_hours_before", description=f"Tell #platform-team of the window {lead}.")
    def announce(context: dg.OpExecutionContext) -> None:
        begins = _next_window(datetime.now(UTC))
        slack = Slack(settings)
        try:
            delivery = slack.tell(
                "maintenance_planned",
                f"maintenance/{begins:%Y-%m-%d}/{hours}",
                Importance.PLANNED,
                lead=lead,
                begins=moment(begins),
                ends=moment(begins + LASTS),
                effect=WHEN_DONE,
            )
        finally:
            slack.close()
        context.log.info("Notice %s before: %s.", lead, delivery)
        if delivery is Delivery.FAILED:
            raise dg.Failure("Slack did not take the notice; the log says why. Launching this again is safe.")

    @dg.job(
        name=f"maintenance_notice_{hours}_hours",
        description=f"Tell stakeholders of the Sunday window {lead}.",
        tags={"dagster/max_retries": "0"},
    )
    def job() -> None:
        announce()

    return dg.ScheduleDefinition(
        name=f"maintenance_notice_{hours}_hours_schedule",
        job=job,
        cron_schedule=time,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"The notice of the window {lead}.",
    )


def _next_window(now: datetime) -> datetime:
    """The next Sunday 02:00 UTC, or that of the last half hour: a late notice is of the one that begins."""
    today = now.replace(hour=2, minute=0, second=0, microsecond=0)
    window = today + timedelta(days=(6 - now.weekday()) % 7)
    return window if window > now - timedelta(minutes=30) else window + timedelta(days=7)
