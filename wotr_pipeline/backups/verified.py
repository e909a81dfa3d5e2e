"""What the newest verified backups hold, asked by whoever is about to delete it where it is live.

Belongs here: those two answers. Does not belong here: deleting (``operations/maintenance/``).
"""

from contextlib import closing
from functools import cached_property

from ..config import Settings
from ..stores.engine_backups import EngineBackups
from ..stores.errors import PermanentError
from .manifest import Fact, Manifest, Store
from .object_index import INDEX_NAME, open_index
from .repository import Repository


class VerifiedBackups:
    """The newest verified backups of ClickHouse and of the bucket; no answer is yes when there is none.

    Raises TransientError when a store is away: then nothing is known, and nothing may go.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._repository = Repository(settings)

    def has_month(self, table: str, month: str) -> bool:
        """Whether the backup has every row of that partition with every value that is live now; reads it whole."""
        held = self._months.get((table, month))
        if held is None:
            return False
        with closing(EngineBackups(self._settings, "retention")) as engine:
            live = engine.sum_of(self._settings.clickhouse_db, table, month)
        return (held.items, held.checksum) == (live.rows, live.checksum)

    def has_object(self, key: str) -> bool:
        """Whether the backup has an object of that key; raw objects are written once. A key costs 100 bytes."""
        return key in self._keys

    @cached_property
    def _months(self) -> dict[tuple[str, str], Fact]:
        manifest = self._newest(Store.CLICKHOUSE)
        return {(fact.name, fact.partition): fact for fact in manifest.facts} if manifest else {}

    @cached_property
    def _keys(self) -> frozenset[str]:
        manifest = self._newest(Store.MINIO)
        if manifest is None:
            return frozenset()
        with open_index(self._repository, manifest.file(INDEX_NAME)) as rows:
            return frozenset(row.key for row in rows)

    def _newest(self, store: Store) -> Manifest | None:
        try:
            return self._repository.newest(store, verified=True)
        except PermanentError:
            return None
