"""A run's one connection to the ledger, and the locks that live and die with it.

Belongs here: the connection, its loss, the advisory locks of batches, hours and the load.
Does not belong here: rows of the ledger.

A lost connection has lost the locks, and another run may hold the batches by now: after it, every call
raises LockLost, and nothing reconnects.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import exc

from ..config import Settings
from .errors import TransientError
from .ledger_database import LockClass, connect, store_error, translated

LOAD_LOCK_POLL_SECONDS = 0.1

_LOAD_LOCK_HOLDER = sa.text("""
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid::bigint = :class AND objid = 0 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


class LockLost(TransientError):  # noqa: N818 - it says what happened
    """The run's connection to the ledger is gone, and its locks with it. Only a new run may go on."""


class RunConnection:
    """One connection for all threads of a run, one transaction at a time."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        self.run_id = run_id
        self.mutex = threading.RLock()
        """Held during each transaction; hold it to keep several together."""
        self._load_mutex = threading.Lock()
        self._engine = connect(settings, f"wotr run {run_id}", dedicated=True)
        self._connection: sa.Connection | None = None

    def open(self) -> None:
        """Connect. TransientError or PermanentError if that cannot be."""
        with translated("open a run's connection"):
            self._connection = self._engine.connect()

    def close(self) -> None:
        """Disconnect: PostgreSQL frees every lock."""
        with self.mutex:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            self._engine.dispose()

    @contextmanager
    def transaction(self, doing: str) -> Iterator[sa.Connection]:
        """One transaction, committed at the end of the block; ``doing`` completes "cannot …".

        Raises:
            LockLost: the connection is gone. If it went during the commit, that may have happened or not.
            TransientError, PermanentError: what else PostgreSQL refuses; nothing was written.
        """
        with self.mutex:
            connection = self._connection
            # SQLAlchemy would open a new connection for an invalidated one, silently, without our locks.
            if connection is None or connection.invalidated or connection.closed:
                raise LockLost(self._lost(doing))
            try:
                with connection.begin():
                    yield connection
            except exc.SQLAlchemyError as error:
                if connection.invalidated or connection.closed:
                    raise LockLost(self._lost(doing)) from error
                raise store_error(error, doing) from error

    def _lost(self, doing: str) -> str:
        return (
            f"Run {self.run_id} has lost its connection to the ledger, and its locks: it cannot {doing}. "
            "The next run takes its batches over."
        )

    def try_batch(self, number: int) -> bool:
        """Take the lock of the batch in row ``number``; False if another connection has it."""
        with self.transaction("take a batch's lock") as connection:
            lock = sa.func.pg_try_advisory_lock(LockClass.BATCH, number)
            return bool(connection.scalar(sa.select(lock)))

    def release_batch(self, number: int) -> None:
        """Give that lock back."""
        self._unlock(LockClass.BATCH, number)

    def note_hour(self, hour: datetime) -> None:
        """Let the others see that this run is at work on an hour; several may be."""
        with self.transaction("note its hour") as connection:
            lock = sa.func.pg_advisory_lock_shared(LockClass.HOUR, int(hour.timestamp()) // 3600)
            connection.execute(sa.select(lock))

    @contextmanager
    def load_lock(self, timeout: float) -> Iterator[None]:
        """See ``LedgerWriter.load_lock``."""
        deadline = time.monotonic() + timeout
        if not self._load_mutex.acquire(timeout=max(0.0, timeout)):
            raise TransientError(f"Another thread of run {self.run_id} held the load lock for {timeout:g} s.")
        try:
            # Asked for again and again: a statement that waits would keep the other threads from writing.
            while not self._try_load():
                if time.monotonic() >= deadline:
                    raise TransientError(
                        f"The load lock was not free within {timeout:g} s; it is held by '{self._holder()}'. "
                        "If that is no run of this pipeline, end its connection."
                    )
                time.sleep(LOAD_LOCK_POLL_SECONDS)
            try:
                yield
            finally:
                self._unlock(LockClass.LOAD, 0)
        finally:
            self._load_mutex.release()

    def _try_load(self) -> bool:
        with self.transaction("take the load lock") as connection:
            return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(LockClass.LOAD, 0))))

    def _holder(self) -> str:
        with self.transaction("look who holds the load lock") as connection:
            holder = connection.scalar(_LOAD_LOCK_HOLDER, {"class": int(LockClass.LOAD)})
        return holder or "nobody any more"

    def _unlock(self, kind: LockClass, number: int) -> None:
        with self.transaction("release a lock") as connection:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(kind, number)))
