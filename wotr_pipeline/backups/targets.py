"""The stores that are backed up, by name.

Belongs here: which class backs up which store. Does not belong here: any of them.
"""

from ..config import Settings
from .manifest import Store
from .target import Target


def target_of(settings: Settings, store: Store) -> Target:
    """What backs up ``store``. Opens no connection that it does not need."""
    if store is Store.MINIO:
        from .minio import MinioTarget

        return MinioTarget(settings)
    if store is Store.POSTGRES:
        from .postgres import PostgresTarget

        return PostgresTarget(settings)
    from .clickhouse import ClickHouseTarget

    return ClickHouseTarget(settings)
