"""A run's hand in the ledger: it claims batches and writes down each step of theirs.

Belongs here: claims, and the transitions of claimed batches (the table is in ``ledger.py``).
Does not belong here: the steps themselves, planning, reading, the locks' mechanics (``ledger_locks.py``).

All writes of a run go through the connection that holds its locks: who has lost the locks cannot write.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from ..config import Settings
from .batch import UNFINISHED, Batch, BatchState
from .errors import PermanentError, StoreError
from .gateway_tables import ingest_meta
from .ledger_database import COLUMNS, batch_of, batches
from .ledger_locks import LockLost, RunConnection
from .ledger_offsets import as_multirange
from .ledger_transitions import ENDED, UNDISTURBED, reopen, shortened, update

__all__ = ["LedgerWriter", "LockLost"]

MAX_CRASHES = 5
"""Attempts in a row that may end without a word before a batch is quarantined."""
BACKOFF_SECONDS = 5
MAX_BACKOFF_SECONDS = 300


class LedgerWriter:
    """The one writer of one run; may be used by several threads. Enter it with ``with``.

    Leaving the block releases what is still claimed: that is no crash. Every method raises LockLost once
    the connection is gone, and PermanentError for a step that the table does not have. Steps return the
    batch as it is afterwards; the next step wants that one, not an older one.
    """

    def __init__(self, settings: Settings, run_id: str, hour: datetime | None = None) -> None:
        self.run_id = run_id
        self._hour = hour
        self._connection = RunConnection(settings, run_id)
        self._mutex = self._connection.mutex
        self._claimed: dict[int, Batch] = {}

    def __enter__(self) -> Self:
        self._connection.open()
        if self._hour is not None:
            self._connection.note_hour(self._hour)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._mutex:
                for batch in list(self._claimed.values()):
                    self.release(batch)
        except StoreError:
            # The locks are gone with the connection, and the next claim counts a crash. Not to hide `error`.
            if error is None:
                raise
        finally:
            self._claimed.clear()
            self._connection.close()

    def check_alive(self) -> None:
        """Make sure that the connection, and so every lock, is still there.

        Raises:
            LockLost: it is not. Stop, and write nothing more anywhere.
        """
        with self._connection.transaction("go on") as connection:
            connection.execute(sa.select(1))

    def load_lock(self, timeout: float) -> AbstractContextManager[None]:
        """Hold the lock of the events' table for a block; one run loads at a time. ``timeout`` in seconds.

        Raises:
            TransientError: someone else held it all that time; the text names them.
        """
        return self._connection.load_lock(timeout)

    # Claims

    def claim(self, batch: Batch) -> Batch | None:
        """Take the batch, as it is by now (a split may have narrowed it), or None if it is not to be had.

        None: another living writer (or thread of this one) has it, it is finished, or this claim found it
        to have crashed its runs for the last time and quarantined it. A claim does not wait for
        ``not_before``: that holds back sensors, not operators.
        """
        with self._mutex:
            if batch.id in self._claimed or not self._connection.try_batch(batch.id):
                return None
            claimed = None
            try:
                claimed = self._start(batch)
            finally:
                if claimed is None:
                    self._connection.release_batch(batch.id)
            if claimed is not None:
                self._claimed[batch.id] = claimed
            return claimed

    def _start(self, wanted: Batch) -> Batch | None:
        with self._connection.transaction(f"claim {wanted.batch_id}") as connection:
            row = connection.execute(sa.select(*COLUMNS).where(batches.c.id == wanted.id)).one_or_none()
            if row is None:
                raise PermanentError(f"claim of {wanted.batch_id}: its row is not in the ledger any more.")
            batch = batch_of(row)
            if not batch.state.unfinished:
                return None
            crashes = batch.crashes + (batch.claimed_by is not None)
            if crashes >= MAX_CRASHES:
                error = (
                    f"{crashes} attempts in a row ended without a word while the batch was {batch.state}, the "
                    f"last one in run {batch.claimed_by}: killed, out of memory, or brought down by this batch. "
                    "Look at that run, then reopen the batch."
                )
                values: dict[str, object] = {
                    "state": BatchState.QUARANTINED,
                    "crashes": crashes,
                    "last_error": error,
                }
                update(connection, batch, values | ENDED)
                return None
            started: dict[str, object] = {
                "attempts": batch.attempts + 1,
                "crashes": crashes,
                "claimed_by": self.run_id,
                "run_id": self.run_id,
            }
            return update(connection, batch, started | {"claimed_at": sa.func.now()})

    def held(self, batch: Batch) -> Batch | None:
        """The claimed batch as it is by now, or None if this writer does not hold it (any more)."""
        with self._mutex:
            return self._claimed.get(batch.id)

    def release(self, batch: Batch) -> Batch:
        """End the attempt without a result or blame, and give the batch back."""
        return self._finish(batch, UNFINISHED, "release", {})

    # Steps

    def landed(self, batch: Batch, records: int, raw_key: str, raw_sha256: str, raw_bytes: int) -> Batch:
        """PLANNED → LANDED: the raw object is stored. ``raw_sha256`` in hex, ``raw_bytes`` its size.

        Events that came over HTTP are told their object with the same commit.
        """
        values: dict[str, object] = {
            "state": BatchState.LANDED,
            "records": records,
            "raw_key": raw_key,
            "raw_sha256": raw_sha256,
            "raw_bytes": raw_bytes,
            "landed_at": sa.func.now(),
        }
        told = (
            sa.update(ingest_meta)
            .where(
                ingest_meta.c.topic == batch.topic,
                ingest_meta.c.partition == batch.partition,
                ingest_meta.c.offset.between(batch.first_offset, batch.last_offset),
            )
            .values(object_key=raw_key)
        )
        return self._step(batch, (BatchState.PLANNED,), "landed", values | UNDISTURBED, told)

    def split(self, batch: Batch, at_offset: int) -> Batch:
        """Cut a PLANNED batch after ``at_offset``; returns the first part, which stays claimed.

        The rest becomes a PLANNED batch of its own that nobody has claimed; ``unfinished`` lists it.
        """
        if not batch.first_offset <= at_offset < batch.last_offset:
            raise PermanentError(f"split of {batch.batch_id}: offset {at_offset} leaves one part empty.")
        rest = {
            "topic": batch.topic,
            "partition": batch.partition,
            "first_offset": at_offset + 1,
            "last_offset": batch.last_offset,
            "hour": batch.hour,
            "state": BatchState.PLANNED,
            "generation": batch.generation,
            "planned_at": batch.planned_at,
        }
        inserted = sa.insert(batches).values(**rest)
        return self._step(batch, (BatchState.PLANNED,), "split", {"last_offset": at_offset}, inserted)

    def validated(
        self,
        batch: Batch,
        valid: int,
        rejected: int,
        validated_key: str | None,
        dead_letters_key: str | None,
        rules_version: str,
    ) -> Batch:
        """LANDED → VALIDATED: every record has its verdict, and the objects (if any) are stored.

        A VALIDATED batch may be validated again: the judged rows that its load needs went with the run
        that was killed.
        """
        values: dict[str, object] = {
            "state": BatchState.VALIDATED,
            "valid": valid,
            "rejected": rejected,
            "validated_key": validated_key,
            "dead_letters_key": dead_letters_key,
            "rules_version": rules_version,
            "validated_at": sa.func.now(),
        }
        # Judging again is no progress: a load that kills its run each time must still be counted.
        progress = UNDISTURBED if batch.state is BatchState.LANDED else {}
        return self._step(batch, (BatchState.LANDED, BatchState.VALIDATED), "validated", values | progress)

    def loaded(self, batch: Batch, duplicate: int, offsets: Sequence[int] | None = None) -> Batch:
        """VALIDATED → LOADED: the rows are in ClickHouse, ``duplicate`` valid ones were there before.

        ``offsets``: which ones, in order; a recovery leaves out the same. None: not known.
        """
        if offsets is None and not duplicate:
            offsets = ()
        values: dict[str, object] = {
            "state": BatchState.LOADED,
            "duplicate": duplicate,
            "duplicate_offsets": None if offsets is None else as_multirange(offsets),
            "loaded_at": sa.func.now(),
        }
        return self._finish(batch, (BatchState.VALIDATED,), "loaded", values | UNDISTURBED)

    def failed(self, batch: Batch, error: BaseException | str) -> Batch:
        """A transient failure: the state stays; sensors wait 5 s, 10 s, 20 s … up to 5 minutes."""
        seconds = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** min(batch.failures, 16))
        values: dict[str, object] = {
            "failures": batch.failures + 1,
            "last_error": shortened(error),
            "not_before": sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds),
        }
        return self._finish(batch, UNFINISHED, "failed", values)

    def quarantined(self, batch: Batch, error: BaseException | str) -> Batch:
        """A permanent failure: the batch waits for someone to repair and reopen it."""
        values: dict[str, object] = {
            "state": BatchState.QUARANTINED,
            "last_error": shortened(error),
            "not_before": None,
        }
        return self._finish(batch, UNFINISHED, "quarantined", values)

    def reopen(self, batch_ids: Sequence[str], reason: str) -> list[Batch]:
        """``Ledger.reopen`` on the run's own connection; claim the batches afterwards."""
        with self._connection.transaction("reopen batches") as connection:
            return reopen(connection, batch_ids, reason)

    def _step(
        self,
        batch: Batch,
        states: Sequence[BatchState],
        asked: str,
        values: Mapping[str, object],
        also: sa.Insert | sa.Update | None = None,
    ) -> Batch:
        """Write ``values`` to the claimed row, and ``also`` do that, in one transaction."""
        with self._mutex:
            self._require(batch, states, asked)
            with self._connection.transaction(f"note {batch.batch_id} as {asked}") as connection:
                updated = update(connection, batch, values)
                if also is not None:
                    connection.execute(also)
            self._claimed[batch.id] = updated
            return updated

    def _finish(
        self, batch: Batch, states: Sequence[BatchState], asked: str, values: Mapping[str, object]
    ) -> Batch:
        with self._mutex:
            updated = self._step(batch, states, asked, {**values, **ENDED})
            del self._claimed[batch.id]
            self._connection.release_batch(batch.id)
            return updated

    def _require(self, batch: Batch, states: Sequence[BatchState], asked: str) -> None:
        held = self._claimed.get(batch.id)
        if held is None:
            raise PermanentError(
                f"{asked} of {batch.batch_id} ({batch.state}): run {self.run_id} has not claimed it."
            )
        if batch.state not in states:
            raise PermanentError(
                f"{asked} of {batch.batch_id}: it is {batch.state}; it must be {' or '.join(states)}."
            )
        if held != batch:
            raise PermanentError(
                f"{asked} of {batch.batch_id} ({batch.state}) wants the batch as the last step returned it: "
                f"{held.batch_id} ({held.state})."
            )
