"""How PostgreSQL does at this moment: connections, transactions that idle, dead tuples, arrivals of dead letters.

Belongs here: reading its statistics. Does not belong here: what is too much (``operations/doctor/``), its backups and
databases (``postgres_server.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from ..config import Settings
from .ledger_database import connect, translated

_CONNECTIONS = sa.text("""
    SELECT coalesce(state, 'other') AS state, count(*) AS connections FROM pg_stat_activity
    WHERE backend_type = 'client backend' GROUP BY 1
""")
_IDLE = sa.text("""
    SELECT application_name, pid, extract(epoch FROM now() - state_change)::float AS seconds FROM pg_stat_activity
    WHERE state LIKE 'idle in transaction%' ORDER BY state_change LIMIT 20
""")
_LIMIT = sa.text("""
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - current_setting('reserved_connections')::int
""")
_DEAD = sa.text("""
    SELECT relname AS table, n_live_tup AS live, n_dead_tup AS dead FROM pg_stat_user_tables
    WHERE n_dead_tup > 0 ORDER BY n_dead_tup DESC LIMIT 10
""")
_NEW_LETTERS = sa.text("SELECT count(*) FROM dead_letters WHERE arrived_at > now() - interval '1 hour'")


@dataclass(frozen=True)
class IdleTransaction:
    """A connection that holds a transaction open and does nothing."""

    application_name: str
    pid: int
    seconds: float


@dataclass(frozen=True)
class DeadTuples:
    """One table's rows as the statistics estimate them."""

    table: str
    live: int
    dead: int


@dataclass(frozen=True)
class PostgresCondition:
    """All of it. ``limit``: connections that ordinary roles may hold together."""

    connections: Mapping[str, int]
    limit: int
    idle: tuple[IdleTransaction, ...]
    dead: tuple[DeadTuples, ...]
    new_letters: int
    """Dead letters whose events arrived in the last hour."""

    @property
    def connected(self) -> int:
        """In every state."""
        return sum(self.connections.values())


def postgres_condition(settings: Settings) -> PostgresCondition:
    """The condition now. Raises TransientError and PermanentError as the ledger does."""
    engine = connect(settings, "wotr doctor", dedicated=True)
    try:
        with translated("tell its condition"), engine.connect() as connection:
            return PostgresCondition(
                connections={row.state: row.connections for row in connection.execute(_CONNECTIONS)},
                limit=connection.scalar(_LIMIT) or 0,
                idle=tuple(IdleTransaction(**row._mapping) for row in connection.execute(_IDLE)),
                dead=tuple(DeadTuples(**row._mapping) for row in connection.execute(_DEAD)),
                new_letters=connection.scalar(_NEW_LETTERS) or 0,
            )
    finally:
        engine.dispose()
