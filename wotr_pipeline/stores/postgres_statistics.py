"""What PostgreSQL tells of its tables: sizes, dead rows, when they were last vacuumed.

Belongs here: reading the statistics of POSTGRES_DB. Does not belong here: vacuuming.
Source: https://www.postgresql.org/docs/current/monitoring-stats.html (pg_stat_all_tables)
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..config import Settings
from .ledger_database import connect, translated

_TABLES = sa.text("""
    SELECT CASE schemaname WHEN 'public' THEN relname ELSE schemaname || '.' || relname END AS name,
           pg_total_relation_size(relid) AS bytes,
           n_live_tup AS live_rows,
           n_dead_tup AS dead_rows,
           greatest(last_vacuum, last_autovacuum) AS vacuumed_at
    FROM pg_stat_user_tables
    ORDER BY bytes DESC, name
""")


@dataclass(frozen=True)
class PostgresTable:
    """One table. ``bytes``: with its indexes and long values. Rows are PostgreSQL's estimates."""

    name: str
    bytes: int
    live_rows: int
    dead_rows: int
    vacuumed_at: datetime | None

    @property
    def dead_share(self) -> float:
        """Dead rows among all, 0 to 1."""
        rows = self.live_rows + self.dead_rows
        return self.dead_rows / rows if rows else 0.0


def postgres_tables(settings: Settings) -> list[PostgresTable]:
    """The tables of POSTGRES_DB, the largest first.

    Raises:
        TransientError, PermanentError: PostgreSQL is away, or refuses.
    """
    engine = connect(settings, "wotr statistics", dedicated=True)
    with translated("read the statistics of its tables"), engine.connect() as connection:
        return [PostgresTable(**row._mapping) for row in connection.execute(_TABLES)]
