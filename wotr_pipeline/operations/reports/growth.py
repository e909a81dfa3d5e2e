"""From sizes by day to growth, and to what is to be expected.

Method: the Theil-Sen estimator over the days that were measured (Sen 1968, "Estimates of the regression coefficient
based on Kendall's tau"): growth is the median of the slopes between every two days. A day on which retention
dropped a month, or a day of tests, does not bend it. The forecast goes on from the last size that was measured.

Belongs here: that arithmetic. Pure. Does not belong here: where sizes come from, sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

LEAST_DAYS = 3
"""Measured days below which nothing is claimed."""


@dataclass(frozen=True)
class Line:
    """A straight line through sizes: bytes on ``day``, and bytes a day of growth, which may be negative."""

    day: date
    bytes: float
    growth: float
    measured_days: int

    def at(self, when: date) -> float:
        """Bytes on another day; never below nothing."""
        return max(self.bytes + self.growth * (when - self.day).days, 0.0)

    def after(self, days: int) -> float:
        """Bytes that many days after ``day``."""
        return self.at(self.day + timedelta(days=days))

    def days_until(self, room: float) -> float | None:
        """Days in which ``room`` more bytes are taken; None if it does not grow. 0 if there is no room."""
        if room <= 0:
            return 0.0
        return room / self.growth if self.growth > 0 else None


def line(measured: Sequence[tuple[date, float]]) -> Line | None:
    """The line through (day, bytes) of days in order; None if fewer than ``LEAST_DAYS`` were measured."""
    if len(measured) < LEAST_DAYS:
        return None
    days = np.array([day.toordinal() for day, _ in measured], dtype=float)
    sizes = np.array([size for _, size in measured], dtype=float)
    earlier, later = np.triu_indices(len(days), k=1)
    slopes = (sizes[later] - sizes[earlier]) / (days[later] - days[earlier])
    last_day, last_size = measured[-1]
    return Line(last_day, float(last_size), float(np.median(slopes)), len(measured))
