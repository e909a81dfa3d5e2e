"""Report ``quality_report``: how good a week's events were, and whether that gets better or worse.

Belongs here: rates by day, type and source, reasons, the week before, what the checks say. From the curated tables:
nothing reads rows of events.
Does not belong here: judging events (``events/``), the checks (``checks/``), what is open (``open_dead_letters``).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.reports.period import Period, week
from wotr_pipeline.operations.reports.report import (
    Column,
    Figure,
    Kind,
    Ranking,
    Report,
    Section,
    Table,
    Timeline,
)
from wotr_pipeline.operations.reports.source_costs import UNREADABLE
from wotr_pipeline.stores.warehouse import Parameter, Warehouse
from wotr_pipeline.words import minute, plural, share

NAME = "quality_report"
SHOWN = 20
OFFENDERS = 10
Wanted = Callable[[date, str], bool]
SAME = 0.0005
"""Shares that differ by less are called the same."""


@dataclass(frozen=True)
class CheckStanding:
    """What a check said last. ``passed`` is None if it has not been looked at yet, or, with ``at``, is being looked at."""

    check: str
    asset: str
    passed: bool | None
    severity: str
    at: datetime | None
    partition: str


@dataclass(frozen=True)
class Count:
    """Events, and the rejected and late ones among them."""

    events: int = 0
    failed: int = 0
    late: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.events + other.events, self.failed + other.failed, self.late + other.late)

    @property
    def failed_share(self) -> float | None:
        """0 to 1; None without events."""
        return self.failed / self.events if self.events else None

    @property
    def late_share(self) -> float | None:
        """0 to 1; None without events."""
        return self.late / self.events if self.events else None


@dataclass(frozen=True)
class Days:
    """Counts by (day, kind of event)."""

    counts: Mapping[tuple[date, str], Count]

    def of(self, period: Period) -> Count:
        """All of a period."""
        return self._sum(lambda day, _: day in period)

    def of_type(self, period: Period, event_type: str) -> Count:
        """Those of a kind."""
        return self._sum(lambda day, kind: day in period and kind == event_type)

    def of_day(self, wanted: date) -> Count:
        """Those of a day."""
        return self._sum(lambda day, _: day == wanted)

    @property
    def types(self) -> list[str]:
        """Every kind that is there."""
        return sorted({kind for _, kind in self.counts})

    def _sum(self, wanted: Wanted) -> Count:
        return sum((count for (day, kind), count in self.counts.items() if wanted(day, kind)), Count())


def quality_report(
    settings: Settings, warehouse: Warehouse, checks: Sequence[CheckStanding], monday: date, now: datetime
) -> Report:
    """The report on the week that begins with ``monday``; ``checks``: what they said last.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    period = week(monday)
    bounds: Mapping[str, Parameter] = {
        **period.seconds(),
        "before": int(period.before.first.timestamp()),
    }
    days = _days(warehouse, bounds)
    sources = warehouse.select("report_quality_sources", {**bounds, "most": SHOWN}).to_pylist()
    reasons = warehouse.select("report_quality_reasons", {**bounds, "most": SHOWN}).to_pylist()
    now_count, before = days.of(period), days.of(period.before)
    failing = sum(1 for check in checks if check.passed is False)
    return Report(
        NAME,
        "Quality of the week",
        monday,
        period.text(now),
        now,
        _headline(now_count, before, failing),
        (
            Figure("quality score", _score(now_count), Kind.DECIMAL),
            Figure("quality score of the week before", _score(before), Kind.DECIMAL),
            Figure("events", now_count.events),
            Figure("rejected events", now_count.failed),
            Figure("late events", now_count.late),
            Figure("checks that fail", failing),
        ),
        (
            Section(
                "The week, and the week before",
                ("The score is the share of valid events in per cent, as wotr_data_quality_score has it for a day.",),
                charts=_by_day(days, period),
                tables=(_types(days, period),),
            ),
            Section("Worst offenders", charts=_offenders(sources), tables=(_sources(sources),)),
            Section("Why events were rejected", charts=_why(reasons), tables=(_reasons(reasons),)),
            Section("What the checks say", tables=(_checks(checks),)),
        ),
        settings.runbook("reports.md#quality_report"),
    )  # fmt: skip


def _days(warehouse: Warehouse, bounds: Mapping[str, Parameter]) -> Days:
    counts: dict[tuple[date, str], Count] = defaultdict(Count)
    for line in warehouse.select("report_quality_days", bounds).to_pylist():
        day = date(1970, 1, 1) + timedelta(seconds=line["day"])
        counts[day, line["event_type"] or UNREADABLE] += Count(line["events"], line["failed"], line["late"])
    return Days(counts)


def _score(count: Count) -> float | None:
    return None if count.failed_share is None else 100 * (1 - count.failed_share)


def _headline(count: Count, before: Count, failing: int) -> str:
    checks = f" {plural(failing, 'check')} {'fails' if failing == 1 else 'fail'}." if failing else ""
    if count.failed_share is None:
        return f"The curated tables hold no event of that week: none arrived, or its rows were dropped since.{checks}"
    text = f"{share(count.failed, count.events)} of {plural(count.events, 'event')} were rejected"
    if before.failed_share is None:
        return f"{text}; there is no week before to compare with.{checks}"
    change = count.failed_share - before.failed_share
    word = "as in" if abs(change) < SAME else "more than in" if change > 0 else "less than in"
    return f"{text}, {word} the week before ({share(before.failed, before.events)}).{checks}"


def _by_day(days: Days, period: Period) -> tuple[Timeline, ...]:
    every = [period.before.first_day + timedelta(days=n) for n in range(2 * period.days)]
    counts = [(day, days.of_day(day)) for day in every]
    if not any(count.events for _, count in counts):
        return ()
    steps = [(f"{day:%m-%d}", float(count.events), float(count.failed)) for day, count in counts]
    shares = [(f"{day:%m-%d}", count.failed_share or 0.0, count.failed_share or 0.0) for day, count in counts]
    return (
        Timeline("Events by day, the week before first", Kind.COUNT, steps, ("accepted", "rejected")),
        Timeline("Share of rejected events by day", Kind.SHARE, shares),
    )


def _types(days: Days, period: Period) -> Table:
    lines = [(kind, days.of_type(period, kind), days.of_type(period.before, kind)) for kind in days.types]
    return Table(
        "Types of event",
        (
            Column("type", Kind.NAME),
            Column("events"),
            Column("events the week before"),
            Column("rejected"),
            Column("share rejected", Kind.SHARE),
            Column("the week before", Kind.SHARE),
            Column("share late", Kind.SHARE),
        ),
        [
            (kind, count.events, before.events, count.failed, count.failed_share, before.failed_share, count.late_share)
            for kind, count, before in lines
        ],
        empty="No event arrived in the two weeks.",
    )  # fmt: skip


def _offenders(sources: Sequence[Mapping[str, int]]) -> tuple[Ranking, ...]:
    bars = [
        (str(line["source"]) or UNREADABLE, float(line["failed"])) for line in sources[:OFFENDERS] if line["failed"]
    ]  # fmt: skip
    return (Ranking("Rejected events by source", Kind.COUNT, bars),) if bars else ()


def _sources(sources: Sequence[Mapping[str, int]]) -> Table:
    def part(failed: int, events: int) -> float | None:
        return failed / events if events else None

    every = sources[0]["sources"] if sources else 0
    return Table(
        "Sources, those with the most rejected events first",
        (
            Column("source", Kind.NAME),
            Column("events"),
            Column("rejected"),
            Column("share rejected", Kind.SHARE),
            Column("the week before", Kind.SHARE),
        ),
        [
            (
                line["source"] or UNREADABLE,
                line["events"],
                line["failed"],
                part(line["failed"], line["events"]),
                part(line["earlier_failed"], line["earlier_events"]),
            )
            for line in sources
        ],
        note=f"The first {len(sources)} of {every:,}." if every > len(sources) else "",
        empty="No event arrived in that week.",
    )


def _why(reasons: Sequence[Mapping[str, int]]) -> tuple[Ranking, ...]:
    letters: dict[str, float] = defaultdict(float)
    for line in reasons:
        letters[str(line["reason"])] += line["letters"]
    bars = sorted(((name, count) for name, count in letters.items() if count), key=lambda bar: -bar[1])
    return (Ranking("Rejected events by reason", Kind.COUNT, bars),) if bars else ()


def _reasons(reasons: Sequence[Mapping[str, int]]) -> Table:
    return Table(
        "Reasons",
        (
            Column("reason", Kind.NAME),
            Column("field", Kind.NAME),
            Column("dead letters"),
            Column("the week before"),
            Column("sources"),
        ),
        [
            (
                line["reason"],
                line["field"] or "(whole message)",
                line["letters"],
                line["earlier_letters"],
                line["sources"],
            )
            for line in reasons
        ],
        note=f"The first {SHOWN}." if len(reasons) == SHOWN else "",
        empty="No event was rejected in the two weeks.",
    )


def _checks(checks: Sequence[CheckStanding]) -> Table:
    def said(check: CheckStanding) -> str:
        if check.passed is None:
            return "under way, or cut off" if check.at else "not looked at yet"
        return "passed" if check.passed else f"failed ({check.severity.lower()})"

    first = sorted(
        checks, key=lambda check: (check.passed is not False, check.passed is None, check.asset, check.check)
    )
    return Table(
        "Each check's last result, those that fail first",
        (
            Column("check", Kind.NAME),
            Column("asset", Kind.NAME),
            Column("result", Kind.TEXT),
            Column("partition", Kind.TEXT),
            Column("when (UTC)", Kind.TEXT),
        ),
        [
            (check.check, check.asset, said(check), check.partition or None, minute(check.at)) for check in first
        ],
        empty="There is no check.",
    )  # fmt: skip
