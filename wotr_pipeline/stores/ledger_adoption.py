"""How raw objects that the ledger has no batch of come back into it.

Belongs here: what is planned of a topic as runs of offsets, and the entry of what is missing among them.
Does not belong here: which objects there are, whether they are whole, or what Kafka still holds of the
rest (``operations/adoption.py``).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import sqlalchemy as sa

from .batch import RECOVERY, BatchState, PlannedRange, RawObject
from .errors import TransientError
from .ledger_database import LockClass, batches
from .ledger_transitions import shortened

Runs = dict[int, list[tuple[int, int]]]
"""By partition: the offsets that are planned, as (first, last) of each run without a gap, in order."""

# Each batch that does not follow the one before it begins a run.
_RUNS = sa.text("""
    WITH marked AS (
        SELECT partition, first_offset, last_offset,
               first_offset IS DISTINCT FROM 1 + lag(last_offset) OVER chain AS begins
        FROM ingest_batches WHERE topic = :topic
        WINDOW chain AS (PARTITION BY partition ORDER BY first_offset)
    ), numbered AS (
        SELECT partition, first_offset, last_offset,
               count(*) FILTER (WHERE begins) OVER (PARTITION BY partition ORDER BY first_offset) AS run
        FROM marked
    )
    SELECT partition, min(first_offset) AS first_offset, max(last_offset) AS last_offset
    FROM numbered GROUP BY partition, run ORDER BY partition, run
""")


def runs_of(connection: sa.Connection, topic: str) -> Runs:
    """What is planned of each partition; an intact ledger has one run a partition."""
    runs: Runs = {}
    for row in connection.execute(_RUNS, {"topic": topic}):
        runs.setdefault(row.partition, []).append((row.first_offset, row.last_offset))
    return runs


def adopt(
    connection: sa.Connection,
    topic: str,
    objects: Sequence[RawObject],
    planned: Sequence[PlannedRange],
    lost: Mapping[PlannedRange, str],
) -> int:
    """Rows 19 to 21 of the table, in the caller's transaction; see ``Ledger.adopt``."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LockClass.PLAN, 0)))
    ranges = [*(found.range for found in objects), *planned, *lost]
    _require_whole_chains(runs_of(connection, topic), ranges)
    now = connection.scalar(sa.select(sa.func.now()))
    rows = [
        *(
            _row(
                found.range,
                BatchState.LANDED,
                raw_key=found.key,
                raw_sha256=found.sha256,
                raw_bytes=found.size,
                records=found.records,
                landed_at=now,
                reopen_reason=RECOVERY,
            )
            for found in objects
        ),
        *(_row(range_, BatchState.PLANNED) for range_ in planned),
        *(
            _row(range_, BatchState.QUARANTINED, last_error=shortened(reason))
            for range_, reason in lost.items()
        ),
    ]
    if rows:
        connection.execute(sa.insert(batches), rows)
    return len(rows)


def _row(range_: PlannedRange, state: BatchState, **values: object) -> dict[str, object]:
    # Every row has every column: they go in by one statement.
    optional = ("raw_key", "raw_sha256", "raw_bytes", "records", "landed_at", "reopen_reason", "last_error")
    return {
        "topic": range_.topic,
        "partition": range_.partition,
        "first_offset": range_.first_offset,
        "last_offset": range_.last_offset,
        "hour": range_.hour,
        "state": state,
        **dict.fromkeys(optional),
        **values,
    }


def _require_whole_chains(there: Runs, ranges: Iterable[PlannedRange]) -> None:
    """Raise TransientError unless what is there and ``ranges`` make one chain a partition together."""
    after: Runs = {}
    for range_ in ranges:
        runs = after.setdefault(range_.partition, list(there.get(range_.partition, [])))
        runs.append((range_.first_offset, range_.last_offset))
    for partition, runs in after.items():
        for (_, last), (first, _) in pairwise(sorted(runs)):
            if first != last + 1:
                raise TransientError(
                    f"Nothing was adopted: partition {partition} would have a gap or an overlap between offset "
                    f"{last} and {first}. Someone planned meanwhile; run the recovery again."
                )
