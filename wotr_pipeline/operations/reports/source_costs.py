"""Report ``source_costs``: which source the platform works for, in shares of a hundred units a week.

The formula: of a week's 100 units, 50 are for storing and go by message bytes, 50 are for processing and go by rows,
a rejected one counted twice, since the precise rules judge it again and it is kept as a dead letter as well. So

    units(source) = 50 * bytes / all bytes + 50 * (rows + rejected rows) / (all rows + all rejected rows)

Units are relative: what a unit costs in money is whatever the platform costs a week, divided by 100.

Belongs here: that formula and its report, from ``source_stats``. Does not belong here: how good a source's events are
(``quality_report.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.reports.period import week
from wotr_pipeline.operations.reports.report import Column, Figure, Kind, Ranking, Report, Section, Table
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline.words import plural, share, size

NAME = "source_costs"
SHOWN = 50
CHARTED = 12
UNREADABLE = "(unreadable)"
STORING, PROCESSING = 50.0, 50.0
FORMULA = (
    "A week has 100 units: 50 for storing, shared by message bytes, and 50 for processing, shared by rows, a rejected "
    "one counted twice. What a unit costs is what the platform costs a week, divided by 100."
)


@dataclass(frozen=True)
class Load:
    """What some events brought: rows, rejected ones among them, message bytes."""

    events: int
    failed: int
    bytes: int

    def units(self, every: "Load") -> float:
        """Its part of 100 units, of which ``every`` has all."""
        work, all_work = self.events + self.failed, every.events + every.failed
        storing = self.bytes / every.bytes if every.bytes else 0.0
        processing = work / all_work if all_work else 0.0
        return STORING * storing + PROCESSING * processing

    def without(self, others: Sequence["Load"]) -> "Load":
        """What is left."""
        return Load(
            self.events - sum(other.events for other in others),
            self.failed - sum(other.failed for other in others),
            self.bytes - sum(other.bytes for other in others),
        )


NOTHING = Load(0, 0, 0)


@dataclass(frozen=True)
class SourceCost:
    """A source, its load in the week, and in the week before."""

    source: str
    load: Load
    earlier: Load


def source_costs(settings: Settings, warehouse: Warehouse, monday: date, now: datetime) -> Report:
    """The report on the week that begins with ``monday``.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    period = week(monday)
    bounds = {**period.seconds(), "before": int(period.before.first.timestamp()), "most": SHOWN}
    lines = warehouse.select("report_source_costs", bounds).to_pylist()
    every = earlier = NOTHING
    sources = 0
    if lines:
        one = lines[0]
        sources = one["sources"]
        every = Load(one["all_events"], one["all_failed"], one["all_bytes"])
        earlier = Load(one["all_earlier_events"], one["all_earlier_failed"], one["all_earlier_bytes"])
    costs = [
        SourceCost(
            line["source"] or UNREADABLE,
            Load(line["events"], line["failed"], line["bytes"]),
            Load(line["earlier_events"], line["earlier_failed"], line["earlier_bytes"]),
        )
        for line in lines
    ]
    if sources > len(costs):
        rest = every.without([cost.load for cost in costs])
        earlier_rest = earlier.without([cost.earlier for cost in costs])
        costs.append(SourceCost(f"({sources - len(costs):,} others)", rest, earlier_rest))
    return Report(
        NAME,
        "Cost per source",
        monday,
        period.text(now),
        now,
        _headline(costs, every),
        (
            Figure("sources", sum(1 for cost in costs if cost.load.events) if sources <= SHOWN else sources),
            Figure("events", every.events),
            Figure("rejected events", every.failed),
            Figure("message bytes", every.bytes, Kind.BYTES),
            Figure("units of the dearest source", costs[0].load.units(every) if costs else 0.0, Kind.DECIMAL),
        ),
        (
            Section(
                "Units by source",
                (FORMULA,),
                charts=_chart(costs, every),
                tables=(_table(costs, every, earlier),),
            ),
        ),
        settings.runbook("reports.md#source_costs"),
    )


def _headline(costs: Sequence[SourceCost], every: Load) -> str:
    if not every.events:
        return "source_stats holds no event of that week: none arrived, or its rows were dropped since."
    first = costs[0]
    return (
        f"{plural(every.events, 'event')} of {size(every.bytes)}. The dearest source, {first.source}, takes "
        f"{first.load.units(every):.1f} of 100 units: {share(first.load.bytes, every.bytes)} of the bytes, "
        f"{share(first.load.events, every.events)} of the rows."
    )


def _chart(costs: Sequence[SourceCost], every: Load) -> tuple[Ranking, ...]:
    bars = [(cost.source, cost.load.units(every)) for cost in costs[:CHARTED] if cost.load.events]
    return (Ranking("Units of 100", Kind.DECIMAL, bars),) if bars else ()


def _table(costs: Sequence[SourceCost], every: Load, earlier: Load) -> Table:
    return Table(
        "Sources, the dearest first",
        (
            Column("source", Kind.NAME),
            Column("units", Kind.DECIMAL),
            Column("units the week before", Kind.DECIMAL),
            Column("events"),
            Column("share of rows", Kind.SHARE),
            Column("bytes", Kind.BYTES),
            Column("share of bytes", Kind.SHARE),
            Column("mean size", Kind.BYTES),
            Column("rejected"),
            Column("share of dead letters", Kind.SHARE),
        ),
        [
            (
                cost.source,
                cost.load.units(every),
                cost.earlier.units(earlier) if earlier.events else None,
                cost.load.events,
                cost.load.events / every.events if every.events else 0.0,
                cost.load.bytes,
                cost.load.bytes / every.bytes if every.bytes else 0.0,
                cost.load.bytes / cost.load.events if cost.load.events else None,
                cost.load.failed,
                cost.load.failed / every.failed if every.failed else 0.0,
            )
            for cost in costs
        ],
        note="Sources that sent something in the week before only are in the table too.",
        empty="No event arrived in that week or the one before.",
    )
