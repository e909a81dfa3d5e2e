"""When what is live may be replaced: nobody writes, and a person has typed what it is that goes.

Belongs here: that decision. Does not belong here: the replacing.
"""

import sqlalchemy as sa

from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.ledger_database import LockClass, connect, translated
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.postgres_server import PostgresServer

_WRITERS = sa.text("""
    SELECT DISTINCT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid::bigint = ANY(:classes)
      AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 1
""")


def source_of(settings: Settings, store: Store) -> str:
    """What a restore in place replaces: the bucket, or the database."""
    names = {
        Store.MINIO: settings.minio_bucket,
        Store.POSTGRES: settings.postgres_db,
        Store.CLICKHOUSE: settings.clickhouse_db,
    }
    return names[store]


def confirmation(settings: Settings, store: Store) -> str:
    """What has to be typed for it."""
    return f"replace {source_of(settings, store)}"


def require_confirmation(settings: Settings, store: Store, typed: str) -> None:
    """Raises PermanentError unless the very words were typed."""
    wanted = confirmation(settings, store)
    if typed != wanted:
        raise PermanentError(
            f'A restore in place replaces what is live in {store}. If that is what you want, say: --confirm "{wanted}". '
            "Without --in-place it goes into a scratch place, and nothing is replaced."
        )


def require_quiet(settings: Settings) -> None:
    """Raises PermanentError while anything may write: maintenance must be on, and no run at work.

    On an empty machine there is no ledger yet, or an empty one that never ran: nobody can write.
    """
    if settings.postgres_db not in PostgresServer(settings).databases():
        return
    engine = connect(settings, "wotr restore", dedicated=True)
    try:
        with translated("see whether the platform is new"), engine.connect() as connection:
            ledger = connection.scalar(sa.text("SELECT to_regclass('public.ingest_batches')"))
            used = ledger is not None and connection.scalar(sa.text("SELECT EXISTS (TABLE ingest_batches)"))
        if not used:
            return
        with translated("see who writes"), engine.connect() as connection:
            classes = [
                int(kind) for kind in (LockClass.BATCH, LockClass.HOUR, LockClass.LOAD, LockClass.PLAN)
            ]
            writers = list(connection.scalars(_WRITERS, {"classes": classes}))
    finally:
        engine.dispose()
    log = OperationsLog(settings)
    try:
        mode = log.maintenance()
    finally:
        log.close()
    if mode is None or not mode.enabled:
        raise PermanentError(
            "Ingestion is running, and a restore in place under it would lose events or count them twice. Begin "
            'maintenance first: wotr maintenance on --why "restore", wait for the runs to end, then restore.'
        )
    if writers:
        raise PermanentError(
            f"{len(writers)} are still writing: {', '.join(writers)}. Wait for these runs to end, or end them in "
            "Dagster, then restore."
        )
