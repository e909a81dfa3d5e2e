"""The partitions that assets share: hours and days of arrival, UTC.

Belongs here: partition definitions and the mapping between a partition's key and its time.
Does not belong here: how an event's arrival hour is decided (``automation/planning.py``).
"""

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from wotr_pipeline.config import Settings

HOUR_FORMAT = "%Y-%m-%d-%H:%M"


def arrival_hours(settings: Settings) -> dg.HourlyPartitionsDefinition:
    """Every hour since ``WOTR_FIRST_HOUR``, the one that is running included."""
    return dg.HourlyPartitionsDefinition(start_date=settings.wotr_first_hour, end_offset=1)


def arrival_days(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Every day since ``WOTR_FIRST_HOUR``, the one that is running included."""
    return dg.DailyPartitionsDefinition(start_date=settings.wotr_first_hour, end_offset=1)


def arrival_weeks(settings: Settings) -> dg.WeeklyPartitionsDefinition:
    """Every week, Monday to Sunday, since that of ``WOTR_FIRST_HOUR``, the one that is running included."""
    first = settings.wotr_first_hour.replace(hour=0)
    return dg.WeeklyPartitionsDefinition(
        start_date=first - timedelta(days=first.weekday()), day_offset=1, end_offset=1
    )


def backup_weeks(settings: Settings) -> dg.WeeklyPartitionsDefinition:
    """Weeks that begin on Saturday, the day before the maintenance window; the one that is running included."""
    return dg.WeeklyPartitionsDefinition(start_date=settings.wotr_first_hour, day_offset=6, end_offset=1)


def hour_key(hour: datetime) -> str:
    """The key of the hourly partition that starts at ``hour`` (aware)."""
    return hour.astimezone(UTC).strftime(HOUR_FORMAT)


def hour_of(key: str) -> datetime:
    """The start (aware, UTC) of the hourly partition with this key."""
    return datetime.strptime(key, HOUR_FORMAT).replace(tzinfo=UTC)


def day_key(day: date) -> str:
    """The key of the daily partition of ``day``, or of the weekly one that begins with it."""
    return f"{day:%Y-%m-%d}"


def day_of(key: str) -> date:
    """The day, or the Monday, of the partition with this key."""
    return date.fromisoformat(key)
