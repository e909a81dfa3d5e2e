"""The disk that the stores of this machine are on.

Belongs here: whether they are on this machine at all, and how full their disk is.
Does not belong here: when it will be full (``operations/reports/forecast.py``).
"""

import shutil
from dataclasses import dataclass

from ..config import Settings

_HERE = ("127.0.0.1", "::1", "localhost")
_DIRECTORIES = ("clickhouse", "objects", "postgres")
"""Below the data directory, one a store."""


@dataclass(frozen=True)
class Disk:
    """Bytes of the disk that holds the data directory; ``free`` is what a program may still write."""

    total: int
    used: int
    free: int


def disk_of_the_stores(settings: Settings) -> Disk | None:
    """The disk below WOTR_DATA_DIR, or None: the stores are elsewhere, nothing here can tell how full their disks are."""
    here = settings.postgres_host in _HERE and settings.clickhouse_host in _HERE
    place = settings.wotr_data_dir
    if not here or not all((place / name).is_dir() for name in _DIRECTORIES):
        return None
    usage = shutil.disk_usage(place)
    return Disk(usage.total, usage.used, usage.free)
