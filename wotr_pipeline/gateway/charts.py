"""Bars over time as SVG that needs no script: geometry here, marks in ``templates/admin/chart.html``.

Belongs here: from numbers to bars. Does not belong here: colours (``static/style.css``), what is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

HEIGHT = 100.0
STEP = 10
GAP = 2
LEAST = 1.5
"""A bar that stands for anything can be seen."""


@dataclass(frozen=True)
class Bar:
    """One step of time: the accepted below, the rejected on top."""

    start: datetime
    events: int
    failed: int
    x: int
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float


@dataclass(frozen=True)
class Chart:
    """``most``: events of the highest bar."""

    bars: tuple[Bar, ...]
    width: int
    most: int
    events: int
    failed: int

    @property
    def bar_width(self) -> int:
        """Of each."""
        return STEP - GAP


def chart(steps: Sequence[tuple[datetime, int, int]]) -> Chart:
    """Bars of (start, events, rejected among them)."""
    most = max((events for _, events, _ in steps), default=0)
    bars = []
    for number, (start, events, failed) in enumerate(steps):
        bad = _height(failed, most)
        good = _height(events - failed, most)
        good = min(good, HEIGHT - bad)
        bars.append(Bar(start, events, failed, number * STEP, HEIGHT - good, good, HEIGHT - good - bad, bad))
    return Chart(
        tuple(bars),
        max(len(bars), 1) * STEP,
        most,
        sum(events for _, events, _ in steps),
        sum(failed for _, _, failed in steps),
    )


def _height(value: int, most: int) -> float:
    return round(max(HEIGHT * value / most, LEAST), 2) if value else 0.0
