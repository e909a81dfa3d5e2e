"""How a row of the ledger is changed: guarded, one row at a time.

Belongs here: the guarded write, reopening (a writer's and an operator's), and what is kept of an error.
Does not belong here: locks and claims (``ledger_writer.py``), or the rules of the table (``ledger.py``).
"""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from .batch import Batch, BatchState
from .errors import PermanentError, StoreError, TransientError
from .ledger_database import COLUMNS, LockClass, batch_of, batches

MAX_ERROR_LENGTH = 2_000

UNDISTURBED: dict[str, object] = {"crashes": 0, "failures": 0, "last_error": None, "not_before": None}
"""After progress: what held the batch up before does not count any more."""
ENDED: dict[str, object] = {"claimed_by": None, "claimed_at": None}
"""The attempt has ended, with a word."""
UNJUDGED: dict[str, object] = dict.fromkeys(
    (
        "valid",
        "rejected",
        "duplicate",
        "validated_key",
        "dead_letters_key",
        "rules_version",
        "validated_at",
        "loaded_at",
    )
)
"""Before a new verdict."""


def update(connection: sa.Connection, batch: Batch, values: Mapping[str, object]) -> Batch:
    """Write if the row is still the one that ``batch`` says: exactly one row, or an error."""
    updated = connection.execute(
        sa.update(batches)
        .where(
            batches.c.id == batch.id,
            batches.c.state == batch.state,
            batches.c.generation == batch.generation,
            batches.c.attempts == batch.attempts,
        )
        .values(**values)
        .returning(*COLUMNS)
    ).one_or_none()
    if updated is None:
        raise PermanentError(
            f"{batch.batch_id} is no longer {batch.state} of generation {batch.generation}, attempt "
            f"{batch.attempts}: someone else changed it. Nothing was written."
        )
    return batch_of(updated)


def reopen(connection: sa.Connection, batch_ids: Sequence[str], reason: str) -> list[Batch]:
    """Rows 15 to 17 of the table, in the caller's transaction; see ``Ledger.reopen``."""
    found = {
        batch.batch_id: batch
        for batch in map(
            batch_of, connection.execute(sa.select(*COLUMNS).where(batches.c.batch_id.in_(batch_ids)))
        )
    }
    reopened = []
    for batch_id in batch_ids:
        batch = found.get(batch_id)
        if batch is None:
            raise PermanentError(f"The ledger has no batch {batch_id}; none was reopened.")
        lock = sa.func.pg_try_advisory_xact_lock(LockClass.BATCH, batch.id)
        if not connection.scalar(sa.select(lock)):
            raise TransientError(f"A run is at work on {batch_id}; none was reopened. Try when it has ended.")
        if batch.state in (BatchState.PLANNED, BatchState.LANDED):
            raise PermanentError(
                f"reopen of {batch_id}: it is {batch.state}, its verdict is still to come; none was reopened."
            )
        values: dict[str, object] = {
            "state": BatchState.LANDED if batch.raw_key else BatchState.PLANNED,
            "generation": batch.generation + 1,
            "reopen_reason": shortened(reason),
        }
        reopened.append(update(connection, batch, values | UNJUDGED | UNDISTURBED | ENDED))
    return reopened


def shortened(error: BaseException | str) -> str:
    """What the ledger keeps of an error: at most 2,000 characters, and no event's content.

    The project's own errors keep their text. Of others only the type and the place stay: what a
    library says about a value usually quotes it.
    """
    if isinstance(error, StoreError | str):
        text = str(error).replace("\x00", "\ufffd")
        return text if len(text) <= MAX_ERROR_LENGTH else text[: MAX_ERROR_LENGTH - 1] + "…"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"[:MAX_ERROR_LENGTH]
