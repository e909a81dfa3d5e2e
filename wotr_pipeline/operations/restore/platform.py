"""The whole platform from nothing: three backups that belong together, then the reconciliation.

The points are chosen so that no store remembers what an older one does not know: the newest verified backup of the
bucket, the newest one of PostgreSQL that is not younger, and the newest one of ClickHouse that is not younger than
that. What the table lacks then is loaded again from raw objects, and what the ledger lacks is adopted.

Belongs here: that choice and the order. Does not belong here: a single restore (``restoring.py``).
"""

import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from wotr_pipeline.backups.manifest import Manifest, Store
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import register_all
from wotr_pipeline.backups.target import Restored
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.restore.guard import require_quiet
from wotr_pipeline.operations.restore.reconciliation import Reconciled, reconcile
from wotr_pipeline.operations.restore.restoring import Wanted, replaced
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.ledger import migrate
from wotr_pipeline.stores.operations_log import OperationsLog

ORDER = (Store.POSTGRES, Store.MINIO, Store.CLICKHOUSE)


@dataclass(frozen=True)
class Rebuilt:
    """What came back."""

    restored: dict[Store, Restored]
    reconciled: Reconciled


def points(settings: Settings, at: datetime | None) -> dict[Store, Manifest]:
    """The backups that belong together, the newest whose state is not later than ``at``.

    Raises:
        PermanentError: a store has none, or only backups that do not belong together.
    """
    repository = Repository(settings)
    minio = repository.newest(Store.MINIO, at, verified=True)
    try:
        postgres = repository.newest(Store.POSTGRES, minio.taken_at, verified=True)
    except PermanentError as error:
        raise PermanentError(
            f"{error} {minio.backup_id} is of {minio.taken_at:%H:%M:%S}, and a ledger that is younger knows objects that "
            "are not in it. Where the platform still runs, take all three again: clickhouse, postgres, minio. Where it is "
            f"gone, restore each store by itself: {settings.runbook('runbook/restore.md')}"
        ) from None
    found = {Store.POSTGRES: postgres, Store.MINIO: minio}
    try:
        found[Store.CLICKHOUSE] = repository.newest(Store.CLICKHOUSE, postgres.taken_at, verified=True)
    except PermanentError:
        # Every row can be loaded from its raw object: slower, and nothing is missing.
        logging.getLogger(__name__).warning(
            "No backup of ClickHouse is as old as PostgreSQL's: all rows are loaded from the raw objects."
        )
    return {store: found[store] for store in ORDER if store in found}


def rebuild(settings: Settings, at: datetime | None, holder: str, log: logging.Logger) -> Rebuilt:
    """Restore all three in place, bring the ledger's tables up to date, reconcile, end maintenance.

    The caller has the confirmation. Safe to repeat after a kill: maintenance is on from PostgreSQL's restore to the
    end, so that nothing is planned upon what is half restored.

    Raises as ``in_place`` does: ingestion must not run.
    """
    require_quiet(settings)
    restored = {}
    for store, manifest in points(settings, at).items():
        wanted = Wanted(store, backup_id=manifest.backup_id)
        log.info("Restoring %s from %s.", store, manifest.backup_id)
        restored[store] = replaced(settings, wanted, holder, log)
        if store is Store.POSTGRES:
            # The backup may be of an older version.
            migrate(settings)
    repository = Repository(settings)
    for store in Store:
        register_all(settings, repository, store)
    reconciled = reconcile(settings, holder, log, apply=True)
    with closing(OperationsLog(settings)) as operations:
        operations.turn_maintenance(False, holder, "the platform is restored and reconciled")
    return Rebuilt(restored, reconciled)
