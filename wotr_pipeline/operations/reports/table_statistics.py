"""Report ``table_statistics``: what the stores hold, table by table and prefix by prefix, and how much room it takes.

Belongs here: the report, and writing the day's rows of ``storage_sizes``.
Does not belong here: measuring (``measuring.py``), growth (``forecast.py``).

A day is measured while it runs or on the day after, the last time counts. Of an older day only its sizes are known.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.reports.measuring import ClickHouseTable, Measured, Partition, measure
from wotr_pipeline.operations.reports.period import Period
from wotr_pipeline.operations.reports.period import day as one_day
from wotr_pipeline.operations.reports.report import (
    Column,
    Figure,
    Kind,
    Ranking,
    Report,
    Section,
    Table,
    Value,
)
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.postgres_statistics import PostgresTable
from wotr_pipeline.stores.storage_sizes import (
    CLICKHOUSE,
    DISK,
    MINIO,
    POSTGRES,
    StorageSize,
    StorageSizes,
)
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline.words import minute, size

NAME = "table_statistics"
STORES = {CLICKHOUSE: "ClickHouse", POSTGRES: "PostgreSQL", MINIO: "Object store"}
PAGE = "reports.md#table_statistics"


def table_statistics(
    settings: Settings, warehouse: Warehouse, objects: ObjectStore, day: date, now: datetime
) -> Report:
    """Measure, write the day's sizes, and report; of an older day, report the sizes that were written then.

    Raises:
        TransientError, PermanentError: a store is away or refuses; then nothing is written.
    """
    period = one_day(day)
    with StorageSizes(settings) as sizes:
        if now >= period.until + timedelta(days=1):
            return _remembered(settings, sizes.between(day, day), period, now)
        measured = measure(settings, warehouse, objects)
        sizes.write(day, measured.sizes(day))
    return _report(settings, measured, period, now)


def _report(settings: Settings, measured: Measured, period: Period, now: datetime) -> Report:
    sizes = measured.sizes(period.first_day)
    rows = next((table.rows for table in measured.clickhouse if table.name == "ingested_data"), 0)
    return Report(
        NAME,
        "Tables, partitions and prefixes",
        period.first_day,
        f"{period.text(now)}. Measured {minute(now)}",
        now,
        f"{_sum_text(sizes)} ingested_data has {rows:,} rows in {_parts(measured):,} parts.",
        (
            *_figures(sizes),
            Figure("rows of ingested_data", rows),
            Figure("parts of ClickHouse", sum(table.parts for table in measured.clickhouse)),
            Figure("objects", sum(objects for _, objects, _ in measured.prefixes)),
            Figure("dead rows of PostgreSQL", sum(table.dead_rows for table in measured.postgres)),
        ),
        (
            Section("What takes the room", charts=_largest(sizes)),
            Section(
                "ClickHouse",
                ("A ratio of 5 says that five bytes are kept as one. Tables named system.… are the engine's logs.",),
                tables=(_clickhouse(measured.clickhouse), _partitions(measured.partitions)),
            ),
            Section(
                "PostgreSQL",
                ("Sizes are with indexes. Rows are PostgreSQL's estimates; dead ones are what VACUUM frees.",),
                tables=(_postgres(measured.postgres),),
            ),
            Section("Object store", tables=(_prefixes(measured.prefixes),)),
        ),
        settings.runbook(PAGE),
    )  # fmt: skip


def _remembered(settings: Settings, sizes: list[StorageSize], period: Period, now: datetime) -> Report:
    if sizes:
        headline = (
            f"{_sum_text(sizes)} Rebuilt from the sizes that were written then: parts, partitions and dead rows of "
            "that day are not known any more."
        )
    else:
        headline = (
            "Nothing is known of that day: it was not measured while it ran or on the day after, and the stores "
            "cannot tell what they held then."
        )
    return Report(
        NAME,
        "Tables, partitions and prefixes",
        period.first_day,
        period.text(now),
        now,
        headline,
        _figures(sizes) if sizes else (),
        (
            Section("What takes the room", charts=_largest(sizes)),
            Section("Sizes", tables=(_written(sizes),)),
        )
        if sizes
        else (),
        settings.runbook(PAGE),
    )


def _sum_text(sizes: Sequence[StorageSize]) -> str:
    parts = [f"{name} {size(_bytes(sizes, store))}" for store, name in STORES.items()]
    return f"{', '.join(parts)}."


def _figures(sizes: Sequence[StorageSize]) -> tuple[Figure, ...]:
    return tuple(Figure(f"bytes of {name}", _bytes(sizes, store), Kind.BYTES) for store, name in STORES.items())  # fmt: skip


def _bytes(sizes: Iterable[StorageSize], store: str) -> int:
    return sum(found.bytes for found in sizes if found.store == store)


def _parts(measured: Measured) -> int:
    return next((table.parts for table in measured.clickhouse if table.name == "ingested_data"), 0)


def _largest(sizes: Sequence[StorageSize]) -> tuple[Ranking, ...]:
    parts = sorted((found for found in sizes if found.store != DISK and found.bytes), key=lambda f: -f.bytes)
    bars = [(f"{STORES[found.store]} {found.name}", float(found.bytes)) for found in parts[:12]]
    return (Ranking("The largest tables and prefixes", Kind.BYTES, bars),) if bars else ()


def _clickhouse(tables: Sequence[ClickHouseTable]) -> Table:
    return Table(
        "Tables",
        (
            Column("table", Kind.NAME),
            Column("rows"),
            Column("on disk", Kind.BYTES),
            Column("uncompressed", Kind.BYTES),
            Column("ratio", Kind.DECIMAL),
            Column("parts"),
            Column("partitions"),
        ),
        [
            (
                table.name,
                table.rows,
                table.disk_bytes,
                table.uncompressed_bytes,
                table.uncompressed_bytes / table.compressed_bytes if table.compressed_bytes else None,
                table.parts,
                table.partitions,
            )
            for table in tables
        ],
        empty="There is no table.",
    )


def _partitions(partitions: Sequence[Partition]) -> Table:
    every = partitions[0].partitions if partitions else 0
    return Table(
        "Partitions, the largest first",
        (
            Column("table", Kind.NAME),
            Column("partition", Kind.NAME),
            Column("rows"),
            Column("on disk", Kind.BYTES),
            Column("parts"),
        ),
        [(found.name, found.partition, found.rows, found.disk_bytes, found.parts) for found in partitions],
        note=f"The first {len(partitions)} of {every:,}." if every > len(partitions) else "",
        empty="No table holds a row.",
    )


def _postgres(tables: Sequence[PostgresTable]) -> Table:
    return Table(
        "Tables",
        (
            Column("table", Kind.NAME),
            Column("on disk", Kind.BYTES),
            Column("rows"),
            Column("dead rows"),
            Column("dead share", Kind.SHARE),
            Column("last vacuum", Kind.TEXT),
        ),
        [
            (table.name, table.bytes, table.live_rows, table.dead_rows, table.dead_share, minute(table.vacuumed_at))
            for table in tables
        ],
    )  # fmt: skip


def _prefixes(prefixes: Sequence[tuple[str, int, int]]) -> Table:
    def mean(objects: int, held: int) -> Value:
        return held / objects if objects else None

    return Table(
        "Prefixes of the bucket",
        (
            Column("prefix", Kind.NAME),
            Column("objects"),
            Column("bytes", Kind.BYTES),
            Column("mean size", Kind.BYTES),
        ),
        [(prefix, objects, held, mean(objects, held)) for prefix, objects, held in prefixes],
    )


def _written(sizes: Sequence[StorageSize]) -> Table:
    return Table(
        "As they were written",
        (
            Column("store", Kind.TEXT),
            Column("part", Kind.NAME),
            Column("bytes", Kind.BYTES),
            Column("rows or objects"),
        ),
        [
            (STORES.get(found.store, "Disk"), found.name, found.bytes, found.items)
            for found in sorted(sizes, key=lambda found: (found.store, -found.bytes, found.name))
        ],
    )
