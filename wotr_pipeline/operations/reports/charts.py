"""Charts as shapes: geometry for SVG that needs no script, and bars of text where there is no SVG.

Belongs here: from values to places. Does not belong here: colours and marks (``templates/``), what is charted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from wotr_pipeline.operations.reports.report import Chart, Ranking, Timeline, Trend

WIDTH, HEIGHT = 600.0, 100.0
"""Of a drawing; it is stretched to the width of the page."""
LEAST = 1.5
"""A bar that stands for anything can be seen."""
GAP = 0.2
"""Of a step's width."""
TEXT_WIDTH = 40


@dataclass(frozen=True)
class Bar:
    """A bar of a ranking: ``width`` of 100."""

    label: str
    value: float
    width: float


@dataclass(frozen=True)
class Step:
    """A step of a timeline: the good part below, the bad on top."""

    label: str
    value: float
    bad: float
    x: float
    good_y: float
    good_height: float
    bad_y: float
    bad_height: float


def ranked(chart: Ranking) -> list[Bar]:
    """The bars of a ranking, the highest 100 wide."""
    most = max((value for _, value in chart.bars), default=0)
    return [Bar(label, value, _part(value, most, 100.0)) for label, value in chart.bars]


def steps(chart: Timeline) -> list[Step]:
    """The bars of a timeline, left to right."""
    most = max((value for _, value, _ in chart.steps), default=0)
    width = step_width(chart)
    made = []
    for number, (label, value, bad) in enumerate(chart.steps):
        bad_height = _part(bad, most, HEIGHT)
        good = min(_part(value - bad, most, HEIGHT), HEIGHT - bad_height)
        top = HEIGHT - good
        made.append(Step(label, value, bad, number * width, top, good, top - bad_height, bad_height))
    return made


def step_width(chart: Timeline) -> float:
    """Of a step with its gap."""
    return WIDTH / max(len(chart.steps), 1)


def points(chart: Trend, line: Sequence[tuple[date, float]]) -> str:
    """``x,y x,y …`` of one of the chart's lines, as the attribute of a polyline wants it."""
    every = [*chart.measured, *chart.expected]
    first, last = min(day for day, _ in every), max(day for day, _ in every)
    days = max((last - first).days, 1)
    most = max(max(value for _, value in every), 1)
    return " ".join(
        f"{WIDTH * (day - first).days / days:.1f},{HEIGHT * (1 - max(value, 0) / most):.1f}"
        for day, value in line
    )


def text_bars(chart: Chart) -> list[str]:
    """The chart as lines of text: label, bar, value."""
    if isinstance(chart, Trend):
        lines = [(f"{day:%Y-%m-%d}", value, "█") for day, value in chart.measured]
        last = chart.measured[-1][0]
        lines += [(f"{day:%Y-%m-%d}", value, "░") for day, value in chart.expected if day > last]
    elif isinstance(chart, Timeline):
        lines = [(label, value, "█") for label, value, _ in chart.steps]
    else:
        lines = [(label, value, "█") for label, value in chart.bars]
    most = max((value for _, value, _ in lines), default=0)
    widest = max((len(label) for label, _, _ in lines), default=0)
    made = []
    for label, value, mark in lines:
        bar = mark * max(1, round(TEXT_WIDTH * value / most)) if most and value > 0 else ""
        made.append(f"{label:<{widest}} {chart.kind.text(value):>10} {bar}".rstrip())
    return made


def _part(value: float, most: float, size: float) -> float:
    return max(size * value / most, LEAST) if most and value > 0 else 0.0
