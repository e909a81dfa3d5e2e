"""Backup and restore of each store against a plain copy of the same bytes on the same disks.

Copies and backups alternate, each in a process of its own, so that a busy moment hits both. What a drill adds to a
restore, reading everything back, is told by itself.

Belongs here: sizes, order and ratios. Does not belong here: the process that copies (``backup_steps.py``), the data
(``backup_data.py``).
"""

import os
from dataclasses import dataclass
from statistics import median

from benchmarks.backup_data import OBJECT_BYTES, fill_bucket, fill_ledger, fill_table
from benchmarks.backup_steps import BACKUP, COPY, Timed, run
from benchmarks.report import Line
from benchmarks.servers import place
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform

WANTED_RATIO = 0.70
TOLERANCE = 0.10
SMALL_SHARE = 4
"""Memory is compared with that for a quarter of the objects."""
ROWS_A_LEDGER_ROW = 20


@dataclass(frozen=True)
class Pair:
    """A plain copy and a backup with its restore, one after the other."""

    copy: Timed
    backup: Timed


@dataclass(frozen=True)
class Compared:
    """One store. ``what`` names its data; ``size`` in bytes."""

    store: Store
    what: str
    size: int
    pairs: list[Pair]


@dataclass(frozen=True)
class Measured:
    stores: list[Compared]
    small_rss: int
    """Peak memory of backups and restores of a quarter of the objects, as many as of all, in bytes."""
    small_size: int


def measure(platform: Platform, gigabytes: float, rows: int, pairs: int) -> Measured:
    """Fill each store, then copy, back up and restore it ``pairs`` times.

    Raises:
        RuntimeError: what was restored is not what was backed up.
    """
    os.environ["WOTR_BENCH_SCRATCH"] = str(platform.directory.path)
    with place(platform, "bench-backups") as placed:
        settings = placed.model_copy(
            update={
                "wotr_backup_bucket": f"{placed.postgres_db}-backups",
                "dagster_postgres_db": placed.postgres_db,
            }
        )
        count = max(SMALL_SHARE, round(gigabytes * 10**9 / OBJECT_BYTES))
        small = count // SMALL_SHARE
        fill_bucket(settings, 0, small)
        small_rss = max(run(settings, Store.MINIO, BACKUP).peak_rss for _ in range(pairs))
        fill_bucket(settings, small, count - small)
        size = count * OBJECT_BYTES
        what = f"{count} objects of {OBJECT_BYTES / 2**20:.0f} MiB"
        stores = [_compare(settings, Store.MINIO, what, size, pairs)]
        size = fill_table(settings, rows)
        stores.append(_compare(settings, Store.CLICKHOUSE, f"{rows:,} rows of events", size, pairs))
        ledger_rows = rows // ROWS_A_LEDGER_ROW
        size = fill_ledger(settings, ledger_rows)
        stores.append(_compare(settings, Store.POSTGRES, f"{ledger_rows:,} rows of a ledger", size, pairs))
    return Measured(stores, small_rss, small * OBJECT_BYTES)


def _compare(settings: Settings, store: Store, what: str, size: int, pairs: int) -> Compared:
    found = []
    for _ in range(pairs):
        pair = Pair(run(settings, store, COPY), run(settings, store, BACKUP))
        print(
            f"  {store}, {size / 1e6:,.0f} MB: copy {pair.copy.out:.2f} / {pair.copy.back:.2f} s, backup "
            f"{pair.backup.out:.2f} s, restore {pair.backup.back:.2f} s, read back {pair.backup.reading:.2f} s, "
            f"{pair.backup.peak_rss / 2**20:.0f} MiB",
            flush=True,
        )
        found.append(pair)
    return Compared(store, what, size, found)


def lines(found: Measured) -> list[Line]:
    """Medians of the pairs."""
    told = [line for compared in found.stores for line in _lines(compared)]
    objects = found.stores[0]
    peak = max(pair.backup.peak_rss for pair in objects.pairs)
    told.append(
        Line(
            f"peak memory of backup and restore, {found.small_size / 1e9:.1f} → {objects.size / 1e9:.1f} GB of objects",
            f"{found.small_rss / 2**20:,.0f} → {peak / 2**20:,.0f} MiB ({peak / found.small_rss:.2f})",
            f"grows by at most {TOLERANCE:.0%}",
            peak <= found.small_rss * (1 + TOLERANCE),
        )
    )
    return told


def _lines(compared: Compared) -> list[Line]:
    pairs, size = compared.pairs, compared.size / 1e6
    copied = (median(pair.copy.out for pair in pairs), median(pair.copy.back for pair in pairs))
    taken = (median(pair.backup.out for pair in pairs), median(pair.backup.back for pair in pairs))
    ratios = (
        median(pair.copy.out / pair.backup.out for pair in pairs),
        median(pair.copy.back / pair.backup.back for pair in pairs),
    )
    reading = median(pair.backup.reading for pair in pairs)
    return [
        Line(
            f"{compared.store}: backup of {compared.what}, {size:,.0f} MB, against a plain copy (median of {len(pairs)})",
            f"{taken[0]:.1f} s against {copied[0]:.1f} s ({ratios[0]:.2f})",
            f"at least {WANTED_RATIO:.2f}",
            ratios[0] >= WANTED_RATIO,
        ),
        Line(
            f"{compared.store}: its restore against a plain copy back; reading it back, as drills do",
            f"{taken[1]:.1f} s against {copied[1]:.1f} s ({ratios[1]:.2f}); {reading:.1f} s more",
            f"at least {WANTED_RATIO:.2f}",
            ratios[1] >= WANTED_RATIO,
        ),
    ]
