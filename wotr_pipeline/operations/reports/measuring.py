"""How much room everything takes, measured now.

Belongs here: measuring. Nothing reads rows of events: the engine's list of parts, PostgreSQL's statistics and the
bucket's listing say it. Does not belong here: what is reported of it (``table_statistics.py``).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.disk import disk_of_the_stores
from wotr_pipeline.stores.object_keys import CURATED, DEAD_LETTERS, RAW, REPORTS, VALIDATED
from wotr_pipeline.stores.objects import ObjectInfo, ObjectStore
from wotr_pipeline.stores.postgres_statistics import PostgresTable, postgres_tables
from wotr_pipeline.stores.storage_sizes import CLICKHOUSE, DISK, MINIO, POSTGRES, StorageSize
from wotr_pipeline.stores.warehouse import Warehouse

PREFIXES = (RAW, VALIDATED, DEAD_LETTERS, CURATED, REPORTS)
OTHER = "(other)"
PARTITIONS_SHOWN = 40


@dataclass(frozen=True)
class ClickHouseTable:
    """A table of the database, or one of the engine's own logs (``system.…``). Bytes of active parts."""

    name: str
    rows: int
    disk_bytes: int
    uncompressed_bytes: int
    compressed_bytes: int
    parts: int
    partitions: int


@dataclass(frozen=True)
class Partition:
    """A partition of a table; ``partitions``: how many all tables have."""

    name: str
    partition: str
    rows: int
    disk_bytes: int
    parts: int
    partitions: int


@dataclass(frozen=True)
class Measured:
    """Everything that was measured at once. ``prefixes``: (prefix, objects, bytes)."""

    clickhouse: tuple[ClickHouseTable, ...]
    partitions: tuple[Partition, ...]
    postgres: tuple[PostgresTable, ...]
    prefixes: tuple[tuple[str, int, int], ...]
    disk_used: int | None

    def sizes(self, day: date) -> list[StorageSize]:
        """As the table ``storage_sizes`` keeps them."""
        found = [
            *(StorageSize(day, CLICKHOUSE, table.name, table.disk_bytes, table.rows) for table in self.clickhouse),
            *(StorageSize(day, POSTGRES, table.name, table.bytes, table.live_rows) for table in self.postgres),
            *(StorageSize(day, MINIO, name, held, objects) for name, objects, held in self.prefixes),
        ]  # fmt: skip
        if self.disk_used is not None:
            found.append(StorageSize(day, DISK, "data directory", self.disk_used, 0))
        return found


def measure(settings: Settings, warehouse: Warehouse, objects: ObjectStore) -> Measured:
    """What the stores hold now.

    Raises:
        TransientError, PermanentError: a store is away or refuses.
    """
    tables = warehouse.select("report_tables").to_pylist()
    partitions = warehouse.select("report_partitions", {"most": PARTITIONS_SHOWN}).to_pylist()
    disk = disk_of_the_stores(settings)
    return Measured(
        tuple(ClickHouseTable(**line) for line in tables),
        tuple(Partition(**line) for line in partitions),
        tuple(postgres_tables(settings)),
        by_prefix(objects.list("")),
        disk.used if disk else None,
    )


def by_prefix(objects: Iterable[ObjectInfo]) -> tuple[tuple[str, int, int], ...]:
    """(prefix, objects, bytes) of each of ``PREFIXES``, and of all others together if there are any.

    Goes through the objects once and keeps none of them.
    """
    counts, held = Counter(dict.fromkeys(PREFIXES, 0)), Counter[str]()
    for info in objects:
        prefix = next((prefix for prefix in PREFIXES if info.key.startswith(prefix)), OTHER)
        counts[prefix] += 1
        held[prefix] += info.size
    return tuple((prefix, count, held[prefix]) for prefix, count in counts.items())
