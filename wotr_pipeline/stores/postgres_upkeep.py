"""Upkeep of POSTGRES_DB: vacuum and statistics, what is dead in its tables, rows that are past their time.

Belongs here: those statements. Does not belong here: when they are due (``operations/maintenance/``), what the rows mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..config import Settings
from .gateway_tables import ingest_meta, operator_actions
from .ledger_database import LockClass, connect, translated

SLICE_ROWS = 10_000
"""Rows of one DELETE: a transaction of a moment, and little to do again after a kill."""

_TABLES = sa.text("""
    SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, pg_total_relation_size(relid) AS bytes,
           greatest(last_vacuum, last_autovacuum) AS vacuumed_at
    FROM pg_stat_user_tables WHERE schemaname = 'public'
    ORDER BY relname <> 'ingest_meta', pg_total_relation_size(relid) DESC, relname
""")
_WRITERS = sa.text("""
    SELECT DISTINCT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid::bigint = ANY(:classes)
      AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 1
""")
_PAST_THEIR_TIME = {
    "ingest_meta": (ingest_meta, ingest_meta.c.created_at),
    "operator_actions": (operator_actions, operator_actions.c.at),
}


@dataclass(frozen=True)
class TableState:
    """A table as the statistics know it: rows are estimates, ``bytes`` is all of it with its indexes."""

    name: str
    live: int
    dead: int
    bytes: int
    vacuumed_at: datetime | None


class PostgresUpkeep:
    """Raises TransientError and PermanentError as the ledger does."""

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr upkeep", dedicated=True)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def tables(self) -> list[TableState]:
        """Every table of the platform, ``ingest_meta`` first, then the largest."""
        with translated("read the tables' statistics"), self._engine.connect() as connection:
            return [TableState(**row._mapping) for row in connection.execute(_TABLES)]

    def vacuum(self, table: str) -> None:
        """VACUUM ANALYZE of one table; others read and write it meanwhile. It takes as long as it takes."""
        quoted = self._engine.dialect.identifier_preparer.quote(table)
        with translated(f"vacuum {table}"), self._engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")  # VACUUM refuses a transaction
            alone.execute(sa.text("SET statement_timeout = 0"))
            alone.execute(sa.text(f"VACUUM (ANALYZE) {quoted}"))

    def rows_before(self, table: str, moment: datetime) -> int:
        """Rows of ``ingest_meta`` or ``operator_actions`` that are older."""
        held, at = _PAST_THEIR_TIME[table]
        query = sa.select(sa.func.count()).select_from(held).where(at < moment)
        with translated(f"count old rows of {table}"), self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def delete_before(self, table: str, moment: datetime, go_on: Callable[[], bool]) -> int:
        """Delete them slice by slice while ``go_on`` says so; returns how many."""
        held, at = _PAST_THEIR_TIME[table]
        (key,) = held.primary_key.columns
        oldest = sa.select(key).where(at < moment).limit(SLICE_ROWS)
        deleted = 0
        while go_on():
            with translated(f"delete old rows of {table}"), self._engine.begin() as connection:
                count = connection.execute(sa.delete(held).where(key.in_(oldest))).rowcount
            deleted += count
            if count < SLICE_ROWS:
                break
        return deleted

    def writers(self) -> list[str]:
        """Who holds the lock of a batch, an hour, the load or the plan: the connections' names."""
        kinds = [int(kind) for kind in (LockClass.BATCH, LockClass.HOUR, LockClass.LOAD, LockClass.PLAN)]
        with translated("see who writes"), self._engine.connect() as connection:
            return list(connection.scalars(_WRITERS, {"classes": kinds}))
