"""The days and weeks that reports are on, in UTC.

Belongs here: their bounds and names. Does not belong here: Dagster's partitions (``assets/partitions.py``).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True)
class Period:
    """From the start of ``first_day`` on, for ``days`` days."""

    first_day: date
    days: int

    @property
    def first(self) -> datetime:
        """Its start."""
        return datetime.combine(self.first_day, time(), UTC)

    @property
    def until(self) -> datetime:
        """Its end, which is not part of it."""
        return self.first + timedelta(days=self.days)

    def __contains__(self, when: date) -> bool:
        return 0 <= (when - self.first_day).days < self.days

    @property
    def before(self) -> "Period":
        """The period of the same length that ends where this one begins."""
        return Period(self.first_day - timedelta(days=self.days), self.days)

    def text(self, now: datetime) -> str:
        """``2026-11-16 to 2026-11-22, UTC``; says so if it is not over."""
        last = self.first_day + timedelta(days=self.days - 1)
        name = f"{self.first_day}" if self.days == 1 else f"{self.first_day} to {last}"
        return f"{name}, UTC" if now >= self.until else f"{name}, UTC, not over yet"

    def seconds(self) -> dict[str, int]:
        """``first`` and ``until`` in seconds since 1970, as the statements of ``sql/report_*.sql`` want them."""
        return {"first": int(self.first.timestamp()), "until": int(self.until.timestamp())}


def day(first: date) -> Period:
    """One day."""
    return Period(first, 1)


def week(monday: date) -> Period:
    """Seven days."""
    return Period(monday, 7)
