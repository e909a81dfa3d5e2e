"""Report ``slow_queries``: what ClickHouse spent a day's time on.

Belongs here: the slowest finished queries and the shapes that cost most, from ``system.query_log``. Statements are
shown as shapes, since a literal may be an event's content.
Does not belong here: changing queries, killing them (the explorer's pages).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.reports.period import day as one_day
from wotr_pipeline.operations.reports.report import Column, Figure, Kind, Report, Section, Table, Timeline
from wotr_pipeline.stores.warehouse import Parameter, Warehouse
from wotr_pipeline.words import plural, seconds

NAME = "slow_queries"
MOST = 10
HOUR = 3600


def slow_queries(settings: Settings, warehouse: Warehouse, day: date, now: datetime) -> Report:
    """The report on the queries of this database that finished on ``day``.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    period = one_day(day)
    bounds: Mapping[str, Parameter] = period.seconds()
    (log,) = warehouse.select("query_log_tables").to_pylist()
    there = bool(log["tables"])
    hours = warehouse.select("report_queries_by_hour", bounds).to_pylist() if there else []
    slowest, shapes = (
        (
            warehouse.select("report_slow_queries", {**bounds, "most": MOST}).to_pylist(),
            warehouse.select("report_slow_shapes", {**bounds, "most": MOST}).to_pylist(),
        )
        if hours
        else ([], [])
    )
    finished = sum(int(hour["finished"]) for hour in hours)
    failed = sum(int(hour["failed"]) for hour in hours)
    total = sum(int(hour["total_ms"]) for hour in hours)
    if slowest:
        worst = slowest[0]
        headline = (
            f"{plural(finished, 'query', 'queries')} took {seconds(total / 1000)} in all; the slowest took "
            f"{seconds(worst['duration_ms'] / 1000)}{f' ({name})' if (name := worst['statement']) else ''}. "
            f"{failed:,} failed."
        )
    elif hours:
        headline = f"No query finished; {failed:,} failed."
    else:
        headline = _nothing(there)
    return Report(
        NAME,
        "Slow queries",
        day,
        period.text(now),
        now,
        headline,
        (
            Figure("queries", finished),
            Figure("failed queries", failed),
            Figure("time in all", total, Kind.MILLISECONDS),
            Figure("slowest", slowest[0]["duration_ms"] if slowest else 0, Kind.MILLISECONDS),
        ),
        (
            Section(
                "Through the day",
                charts=(_by_hour(hours, int(period.first.timestamp())),) if hours else (),
                sentences=() if hours else ("There is nothing to draw.",),
            ),
            Section("The slowest queries", tables=(_slowest(slowest),)),
            Section(
                "Where the time went",
                ("Queries that differ in nothing but their literals have one shape.",),
                tables=(_shapes(shapes, total),),
            ),
        ),
        settings.runbook("reports.md#slow_queries"),
    )


def _nothing(there: bool) -> str:
    if not there:
        return "The engine has written no query log yet: system.query_log is not there."
    return "The query log holds nothing of that day. It keeps what its settings say, 30 days by default."


def _by_hour(hours: list[dict[str, int]], first: int) -> Timeline:
    spent = {hour["hour"]: float(hour["total_ms"]) for hour in hours}
    return Timeline(
        "Time of all queries by hour (UTC)",
        Kind.MILLISECONDS,
        [(f"{number:02d}h", spent.get(first + number * HOUR, 0.0), 0.0) for number in range(24)],
    )


def _slowest(found: list[dict[str, str | int]]) -> Table:
    return Table(
        f"The {MOST} slowest finished queries",
        (
            Column("duration", Kind.MILLISECONDS),
            Column("statement", Kind.NAME),
            Column("began", Kind.TEXT),
            Column("rows read"),
            Column("bytes read", Kind.BYTES),
            Column("memory", Kind.BYTES),
            Column("user", Kind.NAME),
            Column("run", Kind.NAME),
            Column("query id", Kind.NAME),
            Column("shape", Kind.CODE),
        ),
        [
            (
                line["duration_ms"],
                line["statement"] or None,
                f"{datetime.fromtimestamp(int(line['began_at']), UTC):%H:%M:%S}",
                line["read_rows"],
                line["read_bytes"],
                line["memory_bytes"],
                line["user"],
                line["run_id"] or None,
                line["query_id"] or None,
                line["shape"],
            )
            for line in found
        ],
        empty="No query finished.",
    )


def _shapes(found: list[dict[str, str | int]], total: int) -> Table:
    return Table(
        f"The {MOST} shapes that took the most time",
        (
            Column("time in all", Kind.MILLISECONDS),
            Column("share of time", Kind.SHARE),
            Column("statement", Kind.NAME),
            Column("queries"),
            Column("slowest", Kind.MILLISECONDS),
            Column("rows read"),
            Column("bytes read", Kind.BYTES),
            Column("most memory", Kind.BYTES),
            Column("shape", Kind.CODE),
        ),
        [
            (
                line["total_ms"],
                int(line["total_ms"]) / total if total else 0.0,
                line["statement"] or None,
                line["queries"],
                line["most_ms"],
                line["read_rows"],
                line["read_bytes"],
                line["most_memory_bytes"],
                line["shape"],
            )
            for line in found
        ],
        empty="No query finished.",
    )
