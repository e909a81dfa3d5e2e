"""How large each part of the stores was, day by day: the table ``storage_sizes``.

Belongs here: writing a day's sizes and reading those of some days. Does not belong here: measuring them
(``operations/reports/table_statistics.py``), what is to be expected of them (``operations/reports/forecast.py``).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date

import sqlalchemy as sa

from ..config import Settings
from .ledger_database import connect, translated
from .operations_tables import storage_sizes

MINIO, POSTGRES, CLICKHOUSE, DISK = "minio", "postgres", "clickhouse", "disk"


@dataclass(frozen=True)
class StorageSize:
    """What a prefix or table took on disk at the end of a day. ``items``: objects or rows; 0 for a disk."""

    day: date
    store: str
    name: str
    bytes: int
    items: int


class StorageSizes:
    """Raises TransientError and PermanentError as the ledger does."""

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr storage sizes")

    def __enter__(self) -> "StorageSizes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def write(self, day: date, sizes: Sequence[StorageSize]) -> None:
        """Put these in the place of all that is written of ``day``, in one step; writing them again changes nothing."""
        with translated("write the sizes of a day"), self._engine.begin() as connection:
            # Two runs of one day: the second waits, or both would insert after both have deleted.
            connection.execute(sa.text("LOCK TABLE storage_sizes IN SHARE ROW EXCLUSIVE MODE"))
            connection.execute(sa.delete(storage_sizes).where(storage_sizes.c.day == day))
            if sizes:
                connection.execute(sa.insert(storage_sizes), [asdict(size) for size in sizes])

    def between(self, first: date, last: date) -> list[StorageSize]:
        """Sizes of these days, both included, by day, store and name."""
        columns = [storage_sizes.c[field.name] for field in fields(StorageSize)]
        query = (
            sa.select(*columns)
            .where(storage_sizes.c.day.between(first, last))
            .order_by(storage_sizes.c.day, storage_sizes.c.store, storage_sizes.c.name)
        )
        with translated("read the sizes of the stores"), self._engine.connect() as connection:
            return [StorageSize(**row._mapping) for row in connection.execute(query)]
