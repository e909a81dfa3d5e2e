"""A result as a picture: the first column across, the columns of numbers upwards.

Belongs here: which results can be drawn, and where every mark stands. Does not belong here: the SVG's text
(``templates/explorer_chart.html``) and its colours (``static/explorer.css``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..stores.warehouse_reader import Column, values_of
from .explorer_results import Result

WIDTH, HEIGHT = 760, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 40
MOST_SERIES = 4
MOST_BARS = 40
MOST_POINTS = 1000
X_LABELS = 6
LABEL_CHARACTERS = 18
LARGEST = 1e290
"""Beyond it, the scale itself would be no number any more."""


@dataclass(frozen=True)
class Bar:
    """One column of the picture."""

    x: float
    y: float
    width: float
    height: float
    tip: str


@dataclass(frozen=True)
class Series:
    """One column of numbers: bars, or the points of a line."""

    name: str
    bars: tuple[Bar, ...]
    points: str


@dataclass(frozen=True)
class Label:
    """A word at an axis."""

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Chart:
    """Everything that is drawn, in the units of the SVG's view box."""

    across: str
    series: tuple[Series, ...]
    x_labels: tuple[Label, ...]
    y_labels: tuple[Label, ...]
    zero: float
    drawn: int
    rows: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def chart_of(result: Result) -> Chart | None:
    """The picture of a result; None if it has nothing to draw."""
    columns = result.columns
    chosen = [at for at, column in enumerate(columns) if at > 0 and column.is_number][:MOST_SERIES]
    if not chosen or result.count < 2:
        return None
    rows = [values_of(row) for row in result.rows.rows]
    positions = _positions(columns[0], [row[0] for row in rows])
    if positions is None:
        rows = rows[:MOST_BARS]
        return _bars(columns, rows, chosen, result.count)
    order = sorted(range(len(rows)), key=positions.__getitem__)
    step = max(1, math.ceil(len(order) / MOST_POINTS))
    order = order[::step]
    return _lines(columns, [rows[at] for at in order], [positions[at] for at in order], chosen, result.count)


def _bars(columns: Sequence[Column], rows: list[list[str]], chosen: list[int], count: int) -> Chart:
    numbers = {at: [_number(row[at]) for row in rows] for at in chosen}
    ticks, low, high = _scale([value for values in numbers.values() for value in values])
    slot = (WIDTH - LEFT - RIGHT) / len(rows)
    width = min(slot * 0.8 / len(chosen), 60)
    zero = _up(0, low, high)
    series = []
    for place, at in enumerate(chosen):
        bars = []
        for number, (row, value) in enumerate(zip(rows, numbers[at], strict=True)):
            if value is None:
                continue
            x = LEFT + slot * (number + 0.5) + width * (place - len(chosen) / 2)
            y = _up(value, low, high)
            tip = f"{_short(row[0], 80)}: {row[at]} {columns[at].name}"
            bars.append(Bar(_r(x), _r(min(y, zero)), _r(width), _r(max(abs(zero - y), 0.5)), tip))
        series.append(Series(columns[at].name, tuple(bars), ""))
    every = max(1, math.ceil(len(rows) / X_LABELS))
    labels = tuple(
        Label(_r(LEFT + slot * (number + 0.5)), _short(rows[number][0], LABEL_CHARACTERS))
        for number in range(0, len(rows), every)
    )
    y_labels = tuple(Label(_r(_up(tick, low, high)), _amount(tick)) for tick in ticks)
    return Chart(columns[0].name, tuple(series), labels, y_labels, _r(zero), len(rows), count)


def _lines(
    columns: Sequence[Column], rows: list[list[str]], positions: list[float], chosen: list[int], count: int
) -> Chart:
    numbers = {at: [_number(row[at]) for row in rows] for at in chosen}
    ticks, low, high = _scale([value for values in numbers.values() for value in values])
    first, span = positions[0], (positions[-1] - positions[0]) or 1.0
    xs = [LEFT + (position - first) / span * (WIDTH - LEFT - RIGHT) for position in positions]
    series = tuple(
        Series(
            columns[at].name,
            (),
            " ".join(
                f"{_r(x)},{_r(_up(value, low, high))}"
                for x, value in zip(xs, numbers[at], strict=True)
                if value is not None
            ),
        )
        for at in chosen
    )
    marks = sorted({round(part * (len(rows) - 1) / (X_LABELS - 1)) for part in range(X_LABELS)})
    labels = tuple(
        Label(
            _r(xs[at]),
            _moment(rows[at][0], rows),
            "start" if at == 0 else "end" if at == len(rows) - 1 else "middle",
        )
        for at in marks
    )
    y_labels = tuple(Label(_r(_up(tick, low, high)), _amount(tick)) for tick in ticks)
    return Chart(columns[0].name, series, labels, y_labels, _r(_up(0, low, high)), len(rows), count)


def _positions(column: Column, texts: list[str]) -> list[float] | None:
    """Where each row stands across, if the first column is an axis; None if it only names things."""
    if column.is_time:
        read = _epoch
    elif column.is_number:
        read = _number
    else:
        return None
    positions = [read(text) for text in texts]
    return None if any(position is None for position in positions) else [float(p or 0) for p in positions]


def _epoch(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < LARGEST else None


def _scale(values: Sequence[float | None]) -> tuple[list[float], float, float]:
    """Round ticks that hold zero and every value."""
    there = [value for value in values if value is not None]
    low, high = min([0.0, *there]), max([0.0, *there])
    if low == high:
        high = low + 1
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough)) if rough > 0 and math.isfinite(rough) else 1.0
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough), 10 * power)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [tick * step for tick in range(first, last + 1)], first * step, last * step


def _up(value: float, low: float, high: float) -> float:
    return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _amount(value: float) -> str:
    for size, unit in ((1e15, "e15"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.3g}"


def _moment(text: str, rows: list[list[str]]) -> str:
    """The part of a moment that differs along the axis."""
    if len(text) >= 19 and text[:10] == rows[0][0][:10] == rows[-1][0][:10]:
        return text[11:16]
    return _short(text[:16], LABEL_CHARACTERS)


def _short(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _r(value: float) -> float:
    return round(value, 1)
