"""Leases: what only one process may do at a time, ended by whatever ends the process.

Belongs here: a session lock of PostgreSQL under a name, who holds it, noticing its loss.
Does not belong here: the locks of batches and hours (``ledger_locks.py``).

The lock lives in the database ``postgres``, not in POSTGRES_DB: a restore may replace that one under the lease.
A process that is killed loses its connection and the lock with it; a machine that vanishes, within half a minute.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import sqlalchemy as sa

from ..config import Settings
from .errors import PermanentError, TransientError
from .ledger_database import LockClass, connect, translated

LEASE_DATABASE = "postgres"

# PostgreSQL takes a moment to notice that the process of a connection was killed: whoever starts again at once shall
# not be refused for that.
_PATIENCE = sa.text("SET LOCAL lock_timeout = '2s'")
_HOLDER = sa.text("""
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid::bigint = :class AND objid::bigint = :number
      AND objsubid = 2 AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


class LeaseTakenError(PermanentError):
    """Somebody else holds the lease; the text says who."""


class Lease:
    """A lease that is held."""

    def __init__(self, name: str, connection: sa.Connection) -> None:
        self.name = name
        self._connection = connection

    def check(self) -> None:
        """Make sure that it is still held: call it before a step that must not happen twice.

        Raises:
            TransientError: its connection is gone, and the lease with it; another process may hold it by now.
        """
        try:
            if self._connection.invalidated or self._connection.closed:
                raise TransientError(self._lost())
            with translated(f"check the lease '{self.name}'"), self._connection.begin():
                self._connection.execute(sa.text("SELECT 1"))
        except TransientError as error:
            raise TransientError(self._lost()) from error

    def _lost(self) -> str:
        return f"The lease '{self.name}' is lost: its connection to PostgreSQL ended. Start again; nothing is lost."


@contextmanager
def lease(settings: Settings, name: str, holder: str) -> Iterator[Lease]:
    """Hold the lease ``name`` of this platform (POSTGRES_DB) during the block.

    Raises:
        LeaseTakenError: another process has it; the text names its ``holder``.
        TransientError, PermanentError: PostgreSQL is away, or refuses.
    """
    place = settings.model_copy(update={"postgres_db": LEASE_DATABASE})
    engine = connect(place, f"wotr lease {holder}", dedicated=True)
    number = _number(f"{settings.postgres_db}/{name}")
    try:
        with translated(f"take the lease '{name}'"):
            connection = engine.connect()
        try:
            with translated(f"take the lease '{name}'"):
                if not _taken(connection, number):
                    with connection.begin():
                        who = _holder(connection, number) or "a process that has just ended"
                    raise LeaseTakenError(
                        f"'{name}' is under way already, by {who}. Wait for it to end, or end it, then start again."
                    )
            yield Lease(name, connection)
        finally:
            connection.invalidate()  # a lock of the session must not go back into a pool
            connection.close()
    finally:
        engine.dispose()


def holder_of(settings: Settings, name: str) -> str | None:
    """Who holds the lease now, or None. Raises as ``lease`` does."""
    place = settings.model_copy(update={"postgres_db": LEASE_DATABASE})
    engine = connect(place, "wotr lease question", dedicated=True)
    try:
        with translated(f"ask for the lease '{name}'"), engine.connect() as connection:
            return _holder(connection, _number(f"{settings.postgres_db}/{name}"))
    finally:
        engine.dispose()


def _taken(connection: sa.Connection, number: int) -> bool:
    try:
        with connection.begin():
            connection.execute(_PATIENCE)
            connection.execute(sa.select(sa.func.pg_advisory_lock(LockClass.LEASE, number)))
    except sa.exc.OperationalError as error:
        if isinstance(error.orig, psycopg2.errors.LockNotAvailable):
            return False
        raise
    return True


def _holder(connection: sa.Connection, number: int) -> str | None:
    by = connection.scalar(_HOLDER, {"class": int(LockClass.LEASE), "number": number})
    return None if by is None else str(by).removeprefix("wotr lease ")


def _number(name: str) -> int:
    """A positive 31-bit number: the locks take a signed one, and show it unsigned."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) >> 1
