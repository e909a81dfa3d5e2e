"""What a report consists of, whatever it is written as: figures, sentences, tables, charts.

Belongs here: those parts, and how a value is written for people. Does not belong here: Markdown, HTML, Dagster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum

from wotr_pipeline import words

Value = str | int | float | None


class Kind(Enum):
    """What a value is. ``NAME`` is someone's word for something, shown to the letter; the others say their unit."""

    NAME = "name"
    CODE = "code"
    TEXT = "text"
    COUNT = "count"
    BYTES = "bytes"
    SHARE = "share"  # 0 to 1
    MILLISECONDS = "milliseconds"
    DECIMAL = "decimal"

    @property
    def numeric(self) -> bool:
        """Whether it is written flush right."""
        return self not in (Kind.NAME, Kind.CODE, Kind.TEXT)

    def text(self, value: Value) -> str:
        """As people read it; None is a dash."""
        if value is None:
            return "-"
        if isinstance(value, str):
            return value
        if self is Kind.BYTES:
            return f"-{words.size(-value)}" if value < 0 else words.size(value)
        if self is Kind.SHARE:
            return words.share(value, 1)
        if self is Kind.MILLISECONDS:
            return words.seconds(value / 1000)
        if self is Kind.DECIMAL:
            return f"{value:,.1f}"
        return f"{round(value):,}"


@dataclass(frozen=True)
class Figure:
    """One number that stands for much; Dagster plots it over the partitions. None: it is not known."""

    name: str
    value: int | float | str | None
    kind: Kind = Kind.COUNT

    @property
    def text(self) -> str:
        """Its value as people read it."""
        return "not known" if self.value is None else self.kind.text(self.value)


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    kind: Kind = Kind.COUNT


@dataclass(frozen=True)
class Table:
    """Lines of values, one a column. ``note`` says what is left out; ``empty`` stands for a table without lines."""

    title: str
    columns: tuple[Column, ...]
    lines: Sequence[tuple[Value, ...]]
    note: str = ""
    empty: str = "There is nothing."

    @property
    def has_code(self) -> bool:
        """Whether a line holds text that wants a line of its own."""
        return any(column.kind is Kind.CODE for column in self.columns)


@dataclass(frozen=True)
class Ranking:
    """A chart: one bar a name, in the order given. Values are 0 or more."""

    title: str
    kind: Kind
    bars: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Timeline:
    """A chart: one upright bar a step of time; ``bad`` is the part of ``value`` that is drawn as such."""

    title: str
    kind: Kind
    steps: Sequence[tuple[str, float, float]]
    """(label, value, bad)"""
    legend: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Trend:
    """A chart: a line of what was measured, and a dashed one of what is expected. Values by day, in order."""

    title: str
    kind: Kind
    measured: Sequence[tuple[date, float]]
    expected: Sequence[tuple[date, float]] = ()


Chart = Ranking | Timeline | Trend


@dataclass(frozen=True)
class Section:
    """A part with a heading: sentences first, then charts, then tables."""

    title: str
    sentences: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Report:
    """A report on the period that begins with ``first_day``.

    ``name``: the asset's, and the directory below ``reports/``. ``headline``: the answer in a sentence or two.
    """

    name: str
    title: str
    first_day: date
    period: str
    made_at: datetime
    headline: str
    figures: tuple[Figure, ...]
    sections: tuple[Section, ...]
    page: str
    """Address of the page that explains it."""
