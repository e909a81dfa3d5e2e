"""How many events arrived, of which kind and from where, as ClickHouse has them: for people and for monitors.

Each is one statement over the rows of an hour or a day, which the table's order skips to: cheap, but not free. Who
shows them to many keeps the answer for some seconds (``gateway/overview.py``).

Belongs here: those statements' answers as records. Does not belong here: thresholds, pages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .batch import Batch
from .warehouse import Parameter, Warehouse

SECONDS = 5
"""How long one of them may take: a page that waits longer is of no use."""


@dataclass(frozen=True)
class Count:
    """Events of one step of time and one kind; ``event_type`` '' is unreadable."""

    start: datetime
    event_type: str
    events: int
    failed: int
    warned: int
    bytes: int


@dataclass(frozen=True)
class Period:
    """What arrived from ``since`` to ``until`` in steps of ``step``; steps without events are not in ``counts``."""

    since: datetime
    until: datetime
    step: timedelta
    counts: tuple[Count, ...]

    @property
    def events(self) -> int:
        """Rows, valid and failed."""
        return sum(count.events for count in self.counts)

    @property
    def failed(self) -> int:
        """Rows that the rules rejected."""
        return sum(count.failed for count in self.counts)

    @property
    def warned(self) -> int:
        """Valid rows that are odd."""
        return sum(count.warned for count in self.counts)

    @property
    def failed_share(self) -> float:
        """0 to 1."""
        return self.failed / self.events if self.events else 0.0

    def by_type(self) -> list[tuple[str, int, int, int]]:
        """(kind, events, failed, bytes), most events first."""
        sums: dict[str, list[int]] = {}
        for count in self.counts:
            held = sums.setdefault(count.event_type, [0, 0, 0])
            for place, value in enumerate((count.events, count.failed, count.bytes)):
                held[place] += value
        return sorted(
            ((kind, *values) for kind, values in sums.items()),  # type: ignore[misc]
            key=lambda line: (-line[1], line[0]),
        )

    def steps(self) -> list[tuple[datetime, int, int]]:
        """(start, events, failed) of every step, also of those without events."""
        sums = {count.start: (0, 0) for count in self.counts}
        for count in self.counts:
            events, failed = sums[count.start]
            sums[count.start] = (events + count.events, failed + count.failed)
        start, found = self.since, []
        while start < self.until:
            found.append((start, *sums.get(start, (0, 0))))
            start += self.step
        return found

    def failed_since(self, moment: datetime) -> int:
        """Rejected rows of the steps that begin then or later."""
        return sum(count.failed for count in self.counts if count.start >= moment)


@dataclass(frozen=True)
class Source:
    """One service: its events of the day, and those of the last hour."""

    source: str
    events: int
    failed: int
    recent_events: int
    recent_failed: int


@dataclass(frozen=True)
class TimeToTable:
    """How long events took from Kafka to the table. Seconds; None when nothing was loaded."""

    events: int
    p50: float | None
    p95: float | None
    slowest: float | None


def last_hour(warehouse: Warehouse, now: datetime) -> Period:
    """The last 60 full minutes and the one that runs. Raises as ``Warehouse.select`` does."""
    until = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return _period(warehouse, until - timedelta(minutes=61), until, timedelta(minutes=1))


def last_day(warehouse: Warehouse, now: datetime) -> Period:
    """The last 24 full hours and the one that runs. Raises as ``Warehouse.select`` does."""
    until = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return _period(warehouse, until - timedelta(hours=25), until, timedelta(hours=1))


def busiest_sources(warehouse: Warehouse, now: datetime, most: int = 10) -> list[Source]:
    """The sources with the most events in 24 hours. Raises as ``Warehouse.select`` does."""
    moments = {
        "since": _milliseconds(now - timedelta(hours=24)),
        "recent": _milliseconds(now - timedelta(hours=1)),
    }
    rows = warehouse.select(
        "page_sources", {**moments, "most": most}, max_execution_time=SECONDS, max_threads=2
    ).to_pylist()
    return [Source(**row) for row in rows]


def time_to_table(warehouse: Warehouse, batches: Sequence[Batch], since: datetime) -> TimeToTable:
    """Of the rows of these batches that arrived since then. Raises as ``Warehouse.select`` does."""
    loaded = {batch.batch_id: _milliseconds(batch.loaded_at) for batch in batches if batch.loaded_at}
    if not loaded:
        return TimeToTable(0, None, None, None)
    parameters: dict[str, Parameter] = {
        "batches": list(loaded),
        "loaded": list(loaded.values()),
        "since": _milliseconds(since),
    }
    (row,) = warehouse.select(
        "page_time_to_table", parameters, max_execution_time=SECONDS, max_threads=2
    ).to_pylist()
    if not row["events"]:
        return TimeToTable(0, None, None, None)
    return TimeToTable(**row)


def _period(warehouse: Warehouse, since: datetime, until: datetime, step: timedelta) -> Period:
    parameters = {"since": _milliseconds(since), "step": int(step.total_seconds())}
    rows: Iterable[dict[str, object]] = warehouse.select(
        "page_events", parameters, max_execution_time=SECONDS, max_threads=2
    ).to_pylist()
    counts = tuple(
        Count(
            start=datetime.fromtimestamp(int(str(row["start"])), UTC),
            event_type=str(row["event_type"]),
            events=int(str(row["events"])),
            failed=int(str(row["failed"])),
            warned=int(str(row["warned"])),
            bytes=int(str(row["bytes"])),
        )
        for row in rows
    )
    return Period(since, until, step, counts)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
