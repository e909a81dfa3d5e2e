"""How the plan of a topic grows: at the end of each partition's chain, and nowhere else.

Belongs here: the chains as the database has them, the check of a plan against them, the insertion.
Does not belong here: which offsets Kafka holds and how they are cut into ranges (``automation/``), or
the names of the overlap cases (``batch.py``).
"""

import logging
from collections.abc import Sequence

import sqlalchemy as sa

from .batch import Batch, Chain, Overlap, PlannedRange, overlap
from .errors import PermanentError, TransientError
from .ledger_database import COLUMNS, LockClass, batch_of, batches

_log = logging.getLogger(__name__)

# The ends of each partition's chain, by two index look-ups a partition: the ledger grows for years.
_CHAINS = sa.text("""
    SELECT p AS partition, head.first_offset, tail.last_offset + 1 AS next_offset
    FROM generate_series(0, (SELECT max(partition) FROM ingest_batches WHERE topic = :topic)) AS p
    CROSS JOIN LATERAL (SELECT first_offset FROM ingest_batches WHERE topic = :topic AND partition = p
                        ORDER BY first_offset LIMIT 1) AS head
    CROSS JOIN LATERAL (SELECT last_offset FROM ingest_batches WHERE topic = :topic AND partition = p
                        ORDER BY first_offset DESC LIMIT 1) AS tail
""")


def chains_of(connection: sa.Connection, topic: str) -> dict[int, Chain]:
    """What is planned of each partition of a topic; partitions without a plan are absent."""
    rows = connection.execute(_CHAINS, {"topic": topic})
    return {row.partition: Chain(row.first_offset, row.next_offset) for row in rows}


def new_ranges(connection: sa.Connection, wanted: Sequence[PlannedRange]) -> list[PlannedRange]:
    """Those of the ranges that continue their chains; holds the plan lock until the transaction ends."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LockClass.PLAN, 0)))
    chains = {topic: chains_of(connection, topic) for topic in {range_.topic for range_ in wanted}}
    names = [range_.batch_id for range_ in wanted]
    known = set(connection.scalars(sa.select(batches.c.batch_id).where(batches.c.batch_id.in_(names))))
    new = []
    for range_ in wanted:
        chain = chains[range_.topic].get(range_.partition, Chain(range_.first_offset, range_.first_offset))
        match overlap(range_, chain, known):
            case Overlap.NEW:
                new.append(range_)
                chains[range_.topic][range_.partition] = Chain(chain.first_offset, range_.last_offset + 1)
                known.add(range_.batch_id)
            case Overlap.SAME | Overlap.CONTAINED as replayed:
                _log.warning("Planned already (%s), left out: %s", replayed, range_.batch_id)
            case refused:
                kind = TransientError if refused is Overlap.OVERLAPPING else PermanentError
                raise kind(
                    f"The plan was refused, nothing of it was entered: {range_.batch_id} is {refused}. "
                    f"Planned of that partition: offsets {chain.first_offset} to {chain.next_offset - 1}. "
                    f"A plan continues at {chain.next_offset}; offsets that Kafka no longer holds are "
                    "entered as a loss."
                )
    return new


def insert(connection: sa.Connection, range_: PlannedRange, **values: object) -> Batch:
    """Enter a range that ``new_ranges`` has let pass, in the same transaction."""
    row = connection.execute(
        sa.insert(batches)
        .values(
            topic=range_.topic,
            partition=range_.partition,
            first_offset=range_.first_offset,
            last_offset=range_.last_offset,
            hour=range_.hour,
            **values,
        )
        .returning(*COLUMNS)
    ).one()
    return batch_of(row)
