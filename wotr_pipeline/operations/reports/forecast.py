"""Report ``storage_forecast``: how fast the stores grow, how large they will be, and when the disk is full.

Belongs here: the report on the sizes of the last days. Does not belong here: measuring (``table_statistics.py``),
the arithmetic (``growth.py``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.reports.growth import LEAST_DAYS, Line, line
from wotr_pipeline.operations.reports.period import day as one_day
from wotr_pipeline.operations.reports.report import Column, Figure, Kind, Report, Section, Table, Trend
from wotr_pipeline.operations.reports.table_statistics import STORES
from wotr_pipeline.stores.disk import Disk, disk_of_the_stores
from wotr_pipeline.stores.storage_sizes import DISK, StorageSize, StorageSizes
from wotr_pipeline.words import plural

NAME = "storage_forecast"
DAYS = 28
HORIZONS = (30, 90, 365)
WARN_DAYS = 30.0
PARTS_SHOWN = 30

Series = Sequence[tuple[date, float]]


@dataclass(frozen=True)
class DiskForecast:
    """When the disk is full. ``days_left`` is None if it is not known (``why`` says why) or if it does not fill up."""

    free: int | None
    days_left: float | None
    why: str
    never: bool = False
    """Whether it is known not to fill up."""

    @property
    def soon(self) -> bool:
        """Whether someone has to act."""
        return self.days_left is not None and self.days_left < WARN_DAYS


@dataclass(frozen=True)
class StorageForecast:
    """The report, and what its check looks at."""

    report: Report
    disk: DiskForecast


def storage_forecast(settings: Settings, day: date, now: datetime) -> StorageForecast:
    """The forecast from the sizes of the ``DAYS`` days that end with ``day``.

    Raises:
        TransientError, PermanentError: PostgreSQL is away or refuses.
    """
    with StorageSizes(settings) as sizes:
        found = sizes.between(day - timedelta(days=DAYS - 1), day)
    disk = forecast_of_the_disk(
        series(size for size in found if size.store == DISK), disk_of_the_stores(settings)
    )
    held = [size for size in found if size.store != DISK]
    return StorageForecast(_report(settings, held, disk, day, now), disk)


def series(sizes: Iterable[StorageSize]) -> Series:
    """The sum of their bytes by day, in order."""
    sums: dict[date, float] = defaultdict(float)
    for size in sizes:
        sums[size.day] += size.bytes
    return sorted(sums.items())


def forecast_of_the_disk(used: Series, disk: Disk | None) -> DiskForecast:
    """When the disk is full, from the bytes used by day, and how full it is now."""
    if disk is None:
        return DiskForecast(
            None, None, "The stores are on other machines: how full their disks are is not known here."
        )
    # For a day that is past: what was free then.
    free = disk.free + disk.used - int(used[-1][1]) if used else disk.free
    through = line(used)
    if through is None:
        days = plural(len(used), "day")
        return DiskForecast(free, None, f"The disk was measured on {days}; {LEAST_DAYS} are needed.")
    left = through.days_until(free)
    if left is None:
        return DiskForecast(free, None, "The disk does not fill up.", never=True)
    return DiskForecast(free, left, f"At this growth the disk is full in {plural(round(left), 'day')}.")


def _report(
    settings: Settings, held: Sequence[StorageSize], disk: DiskForecast, day: date, now: datetime
) -> Report:
    lines = {store: line(series(size for size in held if size.store == store)) for store in STORES}
    every = series(held)
    whole = line(every)
    known = {store: found for store, found in lines.items() if found is not None}
    if whole is None:
        headline = (
            f"There is no forecast yet: {plural(len(every), 'day')} of the last {DAYS} were measured, {LEAST_DAYS} are "
            f"needed. {disk.why}"
        )
    else:
        headline = f"The stores grow by {Kind.BYTES.text(whole.growth)} a day. {disk.why}"
    return Report(
        NAME,
        "Storage: growth and forecast",
        day,
        one_day(day).text(now),
        now,
        headline,
        (
            Figure("bytes now", int(every[-1][1]) if every else 0, Kind.BYTES),
            Figure("growth a day", whole.growth if whole else None, Kind.BYTES),
            *(
                Figure(f"in {days} days", whole.after(days) if whole else None, Kind.BYTES)
                for days in HORIZONS
            ),
            Figure("free on the disk", disk.free, Kind.BYTES),
            Figure("days until the disk is full", "does not fill up" if disk.never else disk.days_left),
        ),
        (
            Section("All stores", (_method(whole),), charts=_trend(every, whole)),
            Section("By store", tables=(_by_store(known),)),
            Section("What grows", tables=(_by_part(held),)),
            Section("The disk", (disk.why,)),
        ),
        settings.runbook("reports.md#storage_forecast"),
    )


def _method(whole: Line | None) -> str:
    days = plural(whole.measured_days, "day") if whole else "too few days"
    return (
        f"Method: Theil-Sen, the median of the growth between every two measured days of the last {DAYS}; {days} were "
        "measured. A forecast goes on from the last size in a straight line: it knows nothing of a change to come."
    )


def _trend(every: Series, whole: Line | None) -> tuple[Trend, ...]:
    if len(every) < 2:
        return ()
    expected = [(whole.day, whole.bytes)] if whole else []
    if whole:
        expected += [(when, whole.at(when)) for n in (10, 20, 30) if (when := whole.day + timedelta(days=n))]
    return (Trend("Bytes of all stores, and the next 30 days", Kind.BYTES, every, expected),)


def _by_store(lines: Mapping[str, Line]) -> Table:
    return Table(
        "Growth and forecast",
        (
            Column("store", Kind.TEXT),
            Column("now", Kind.BYTES),
            Column("growth a day", Kind.BYTES),
            *(Column(f"in {days} days", Kind.BYTES) for days in HORIZONS),
        ),
        [
            (STORES[store], found.bytes, found.growth, *(found.after(days) for days in HORIZONS))
            for store, found in lines.items()
        ],
        empty=f"Fewer than {LEAST_DAYS} days were measured.",
    )


def _by_part(held: Sequence[StorageSize]) -> Table:
    parts: dict[tuple[str, str], list[tuple[date, float]]] = defaultdict(list)
    for size in sorted(held, key=lambda size: size.day):
        parts[size.store, size.name].append((size.day, float(size.bytes)))
    newest = max((size.day for size in held), default=None)
    # What was dropped since is not there to grow.
    there = {part: sizes for part, sizes in parts.items() if sizes[-1][0] == newest}
    found = [(part, through) for part, sizes in there.items() if (through := line(sizes)) is not None]
    found.sort(key=lambda one: (-one[1].growth, -one[1].bytes, one[0]))
    return Table(
        "Tables and prefixes, the fastest first",
        (
            Column("store", Kind.TEXT),
            Column("part", Kind.NAME),
            Column("now", Kind.BYTES),
            Column("growth a day", Kind.BYTES),
            Column("in 30 days", Kind.BYTES),
        ),
        [
            (STORES[store], name, through.bytes, through.growth, through.after(30))
            for (store, name), through in found[:PARTS_SHOWN]
        ],
        note=f"The first {PARTS_SHOWN} of {len(found)}." if len(found) > PARTS_SHOWN else "",
        empty=f"Fewer than {LEAST_DAYS} days were measured.",
    )
