"""The ledger: the plan and the truth of what goes from Kafka to ClickHouse, one row a batch.

Belongs here: planning, reading and reopening batches, and the table of states that everything obeys.
Does not belong here: a run's claims and steps (``ledger_writer.py``), connections, locks and
migrations (``ledger_database.py``, ``ledger_locks.py``), what a batch is (``batch.py``).

The state machine of ``ingest_batches``. *Unfinished* is PLANNED, LANDED or VALIDATED. An attempt begins
with ``claim`` and ends with ``loaded``, ``failed``, ``quarantined`` or ``release``; one that only stops
(kill -9, lost machine) has ended without a word. Each row of the table has a test of its number.

==  ===========  ===========  ============================  ===========  ====================================
no  state        event        condition                     next state   action · what it protects
==  ===========  ===========  ============================  ===========  ====================================
 1  (none)       plan         at the chain's end, or first  PLANNED      insert, under the plan lock
                              of its partition                           · no offset planned twice or skipped
 2  (none)       record_loss  as 1                          QUARANTINED  insert with the reason
                                                                         · a loss is named, the chain goes on
 3  unfinished   claim        its lock is free              same         attempts+1, run noted, committed
                                                                         · work is on record before it starts
 4  unfinished   claim        a living writer has it        same         None · one writer a batch
 5  unfinished   claim        last attempt ended without    same         crashes+1, then as 3
                              a word                                     · crashes are counted
 6  unfinished   claim        as 5, the fifth in a row      QUARANTINED  last_error; None
                                                                         · a batch cannot kill runs for ever
 7  LOADED,      claim        any                           same         None · what is done stays done
    QUARANTINED
 8  PLANNED      split        first ≤ at < last             PLANNED (2)  narrow it to ``at``, insert the rest
                                                                         · bounded memory, a whole chain
 9  PLANNED      landed       records ≤ offsets             LANDED       note the raw object
                                                                         · judged is only what is kept
10  LANDED,      validated    records = valid + rejected    VALIDATED    note the verdicts
    VALIDATED                                                            · no record without a verdict
11  VALIDATED    loaded       duplicate ≤ valid             LOADED       note the duplicates, unlock
                                                                         · rows = valid - duplicate + rejected
12  unfinished   failed       any                           same         last_error, not_before, unlock
                                                                         · an outage is retried ever slower
13  unfinished   quarantined  any                           QUARANTINED  last_error, unlock
                                                                         · the hopeless is not retried
14  unfinished   release      any                           same         unlock · an orderly stop is no crash
15  LOADED,      reopen       no living writer              LANDED       generation+1, forget the verdicts
    VALIDATED                                                            · today's rules, the same bytes
16  QUARANTINED  reopen       raw object noted              LANDED       as 15 · goes on after a repair
17  QUARANTINED  reopen       no raw object                 PLANNED      as 15 · is read again from Kafka
18  any          any other    any                           same         PermanentError
                                                                         · a wrong step changes nothing
19  (none)       adopt        raw object of known sum, no   LANDED       insert with the raw object, under the
                              batch has its offsets                      plan lock · what was landed is kept
20  (none)       adopt        offsets missing beside those  PLANNED      insert, under the plan lock
                              of 19, Kafka holds them                    · a chain stays whole
21  (none)       adopt        as 20, Kafka does not         QUARANTINED  insert with the reason
                                                                         · a loss is named, the chain is whole
==  ===========  ===========  ============================  ===========  ====================================

Rows 19 to 21 are one step: all of it is entered, or nothing. A batch reopened or adopted with the reason
``RECOVERY`` is loaded as it was before: ``duplicate_offsets`` outlives the reopening and is left out again.

Rows 8 to 14 need the batch claimed by the same writer; without it they are row 18. ``crashes`` and
``failures`` count since the last progress: 9, 10 from LANDED, 11, and 15 to 17 set them to 0. ``attempts``
counts for ever: it is also the fencing token that every write is guarded with, besides state and generation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from ..config import Settings
from .batch import (
    UNFINISHED,
    Batch,
    BatchState,
    Gap,
    HourAccount,
    HourToRun,
    LedgerSummary,
    PlannedRange,
    RawObject,
    StateSummary,
)
from .dead_letter_tables import any_of, letters
from .errors import PermanentError
from .gateway_tables import ingest_meta
from .ledger_adoption import Runs, adopt, runs_of
from .ledger_database import COLUMNS, LockClass, batch_of, batches, connect, migrate, translated
from .ledger_offsets import offsets_of
from .ledger_planning import chains_of, insert, new_ranges
from .ledger_transitions import reopen, shortened
from .ledger_writer import LedgerWriter, LockLost

__all__ = ["Ledger", "LedgerWriter", "LockLost", "migrate"]


@dataclass(frozen=True)
class Acceptance:
    """An entry of ``ingest_meta``. Those of an older gateway have no position."""

    created_at: datetime
    topic: str | None
    partition: int | None
    offset: int | None


_ORDER = (batches.c.topic, batches.c.partition, batches.c.first_offset)
_is_unfinished = batches.c.state.in_(UNFINISHED)

_HOURS_TO_RUN = sa.text("""
    WITH held AS MATERIALIZED (
        SELECT classid::bigint AS class, objid::bigint AS number FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 2
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ), work AS (
        SELECT hour, count(*) AS batches, sum(last_offset - first_offset + 1) AS offsets,
               min(planned_at) AS oldest_planned_at
        FROM ingest_batches
        WHERE topic = :topic AND state IN ('PLANNED', 'LANDED', 'VALIDATED')
          AND (not_before IS NULL OR not_before <= :now)
          AND NOT EXISTS (SELECT FROM held WHERE class = :batch_class AND number = id)
        GROUP BY hour
    )
    SELECT hour, work.batches, offsets, oldest_planned_at,
           (SELECT max(id) || '-' || sum(attempts + generation) FROM ingest_batches AS every
            WHERE every.hour = work.hour AND every.topic = :topic) AS token
    FROM work
    WHERE NOT EXISTS (SELECT FROM held WHERE class = :hour_class
                      AND number = extract(epoch FROM hour)::bigint / 3600)
    ORDER BY hour
""")


class Ledger:
    """Plans and reads batches. Safe to share between threads; close it when done.

    Every method raises TransientError when PostgreSQL is away, slow or overloaded, and PermanentError
    when it refuses (no such database, no such table, wrong password).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = connect(settings, "wotr ledger")

    def close(self) -> None:
        """Close the connections. Writers have their own."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def writer(self, run_id: str, *, hour: datetime | None = None) -> LedgerWriter:
        """The one writer of a run, to be entered with ``with``.

        ``hour``: while the writer lives, ``hours_to_run`` leaves that hour to it.
        """
        return LedgerWriter(self._settings, run_id, hour)

    # Planning

    def planned_until(self, topic: str) -> dict[int, int]:
        """The next offset to plan, by partition; partitions without a plan are absent."""
        with translated("read the plan"), self._engine.connect() as connection:
            return {partition: chain.next_offset for partition, chain in chains_of(connection, topic).items()}

    def plan(self, ranges: Iterable[PlannedRange]) -> list[Batch]:
        """Insert the ranges as PLANNED batches, all or none; returns the new ones in the order of offsets.

        Replayed ranges (``Overlap.SAME``, ``CONTAINED``) are left out and logged.

        Raises:
            PermanentError: a range would leave a gap, or begins before the partition's plan.
            TransientError: a range overlaps the plan's end: someone else planned meanwhile.
        """
        wanted = sorted(ranges, key=lambda range_: (range_.topic, range_.partition, range_.first_offset))
        with translated("plan"), self._engine.begin() as connection:
            new = new_ranges(connection, wanted)
            return [insert(connection, range_, state=BatchState.PLANNED) for range_ in new]

    def record_loss(
        self, topic: str, partition: int, first: int, last: int, hour: datetime, reason: str
    ) -> Batch:
        """Enter offsets that Kafka no longer holds as QUARANTINED, so that the chain goes on after them.

        Raises:
            PermanentError: the offsets do not follow the partition's plan.
            TransientError: they overlap its end: someone else planned meanwhile.
        """
        lost = PlannedRange(topic, partition, first, last, hour)
        with translated("record a loss"), self._engine.begin() as connection:
            if not new_ranges(connection, [lost]):
                raise PermanentError(f"{lost.batch_id} is planned already; it cannot be entered as lost.")
            return insert(connection, lost, state=BatchState.QUARANTINED, last_error=shortened(reason))

    def reopen(self, batch_ids: Sequence[str], reason: str) -> list[Batch]:
        """Open finished batches again, all or none: see rows 15 to 17 of the table.

        Raises:
            PermanentError: no such batch, or it is PLANNED or LANDED (its verdict is still to come).
            TransientError: a living writer holds one of them.
        """
        with translated("reopen batches"), self._engine.begin() as connection:
            return reopen(connection, batch_ids, reason)

    def planned_runs(self, topic: str) -> Runs:
        """What is planned of each partition, as runs of offsets; more than one means that rows are missing."""
        with translated("read the plan"), self._engine.connect() as connection:
            return runs_of(connection, topic)

    def adopt(
        self,
        topic: str,
        objects: Sequence[RawObject],
        planned: Sequence[PlannedRange] = (),
        lost: Mapping[PlannedRange, str] | None = None,
    ) -> int:
        """Enter raw objects that no batch has as LANDED batches; returns the number of new batches.

        ``planned`` and ``lost`` are the offsets missing beside them: what Kafka still holds, to be read
        again, and what it does not, with the reason. All of it is entered, or nothing.

        Raises:
            TransientError: the partitions' chains would not be whole: someone else planned meanwhile.
        """
        with translated("adopt raw objects"), self._engine.begin() as connection:
            return adopt(connection, topic, objects, planned, lost or {})

    # Reading

    def duplicate_offsets(self, batch: Batch) -> list[int] | None:
        """Offsets that the batch's last load left out as duplicates, ascending; None if not known."""
        query = sa.select(sa.cast(batches.c.duplicate_offsets, sa.Text)).where(batches.c.id == batch.id)
        with translated("read what a load left out"), self._engine.connect() as connection:
            text = connection.scalar(query)
        return None if text is None else offsets_of(text)

    def hours(self, topic: str) -> list[datetime]:
        """Every arrival hour that has batches, oldest first."""
        query = sa.select(batches.c.hour).where(batches.c.topic == topic).distinct().order_by(batches.c.hour)
        with translated("list the hours"), self._engine.connect() as connection:
            return list(connection.scalars(query))

    def batch(self, batch_id: str) -> Batch:
        """One batch.

        Raises:
            PermanentError: there is none of that name (a split gives a batch another one).
        """
        found = self._read(batches.c.batch_id == batch_id)
        if not found:
            raise PermanentError(f"The ledger has no batch {batch_id}.")
        return found[0]

    def accepted_by_gateway(self, event_id: str) -> Acceptance | None:
        """When the gateway accepted an event of this id, and where it lies; None if it did not."""
        columns = [ingest_meta.c[field.name] for field in fields(Acceptance)]
        query = sa.select(*columns).where(ingest_meta.c.id == event_id)
        with translated("look for an id"), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return Acceptance(**row._mapping) if row else None

    def batch_at(self, topic: str, partition: int, offset: int) -> Batch | None:
        """The batch that this offset belongs to, or None if it is not planned yet."""
        found = self._read(
            batches.c.topic == topic,
            batches.c.partition == partition,
            batches.c.first_offset <= offset,
            batches.c.last_offset >= offset,
        )
        return found[0] if found else None

    def batches(self, hour: datetime) -> list[Batch]:
        """All batches of an arrival hour, in the order of offsets."""
        return self._read(batches.c.hour == hour)

    def batches_between(self, start: datetime, end: datetime) -> list[Batch]:
        """All batches of the hours from ``start`` (included) to ``end`` (excluded)."""
        return self._read(batches.c.hour >= start, batches.c.hour < end)

    def landed_until(self, topic: str) -> dict[int, int]:
        """The offset up to which (excluded) every record is in a raw object, or lost and named, by partition."""
        query = (
            sa.select(batches.c.partition, sa.func.min(batches.c.first_offset).label("offset"))
            .where(batches.c.topic == topic, batches.c.state == BatchState.PLANNED)
            .group_by(batches.c.partition)
        )
        with translated("see what is landed"), self._engine.connect() as connection:
            # The chains first: what is planned in between then counts as waiting, not as landed.
            chains = chains_of(connection, topic)
            waiting = {row.partition: row.offset for row in connection.execute(query)}
        return {partition: waiting.get(partition, chain.next_offset) for partition, chain in chains.items()}

    def pruned_objects(self, keys: Sequence[str]) -> set[str]:
        """Which of these objects of dead letters were deleted on purpose."""
        query = sa.select(letters.c.object_key).where(
            any_of(letters.c.object_key, keys),
            letters.c.pruned_at.is_not(None),
        )
        with translated("see what was pruned"), self._engine.connect() as connection:
            return set(connection.scalars(query))

    def unfinished(self, topic: str, hour: datetime | None = None) -> list[Batch]:
        """Batches with something left to do, also those whose ``not_before`` is to come."""
        conditions = [batches.c.topic == topic, _is_unfinished]
        if hour is not None:
            conditions.append(batches.c.hour == hour)
        return self._read(*conditions)

    def oldest_in(self, topic: str, states: Sequence[BatchState], limit: int) -> list[Batch]:
        """The batches in these states that were planned first."""
        wanted = (batches.c.topic == topic, batches.c.state.in_(states))
        return self._read(*wanted, order=(batches.c.planned_at, batches.c.id), limit=limit)

    def loaded_since(self, topic: str, moment: datetime, limit: int) -> list[Batch]:
        """Batches that were loaded for the first time since then, the newest first."""
        wanted = (batches.c.topic == topic, batches.c.loaded_at >= moment, batches.c.generation == 1)
        # Planned long before they are loaded or not at all: an index on the hour bounds what is looked at.
        recent = batches.c.hour >= moment - timedelta(days=2)
        return self._read(*wanted, recent, order=(batches.c.loaded_at.desc(),), limit=limit)

    def _read(
        self,
        *conditions: sa.ColumnElement[bool],
        order: Sequence[sa.ColumnElement[Any]] = _ORDER,
        limit: int | None = None,
    ) -> list[Batch]:
        query = sa.select(*COLUMNS).where(*conditions).order_by(*order).limit(limit)
        with translated("read batches"), self._engine.connect() as connection:
            return [batch_of(row) for row in connection.execute(query)]

    def hours_to_run(self, topic: str, now: datetime) -> list[HourToRun]:
        """Hours with unfinished batches that are due and in no living writer's hands, oldest first.

        An hour whose writer named it (``writer(run_id, hour=…)``) is left out as a whole. ``token`` serves
        as a part of a run key: the same as long as nothing was planned, claimed or reopened in the hour.
        A run that dies before its first claim does not change it.
        """
        values = {
            "topic": topic,
            "now": now,
            "batch_class": int(LockClass.BATCH),
            "hour_class": int(LockClass.HOUR),
        }
        with translated("look for work"), self._engine.connect() as connection:
            rows = connection.execute(_HOURS_TO_RUN, values)
            return [
                HourToRun(row.hour, row.token, row.batches, int(row.offsets), row.oldest_planned_at)
                for row in rows
            ]

    # Accounts

    def summary(self, topic: str) -> LedgerSummary:
        """Batches, offsets and records by state, and the oldest unfinished batch; by PostgreSQL's clock."""
        offsets = batches.c.last_offset - batches.c.first_offset + 1
        by_state = (
            sa.select(
                batches.c.state,
                sa.func.count().label("batches"),
                sa.func.sum(offsets).label("offsets"),
                sa.func.coalesce(sa.func.sum(batches.c.records), 0).label("records"),
            )
            .where(batches.c.topic == topic)
            .group_by(batches.c.state)
        )
        oldest = sa.func.min(batches.c.planned_at)
        waiting = sa.select(oldest.label("planned_at"), (sa.func.now() - oldest).label("age")).where(
            batches.c.topic == topic, _is_unfinished
        )
        with translated("sum up the ledger"), self._engine.connect() as connection:
            found = {row.state: row for row in connection.execute(by_state)}
            oldest_row = connection.execute(waiting).one()
        return LedgerSummary(
            tuple(
                StateSummary(state, row.batches, int(row.offsets), int(row.records))
                if (row := found.get(state))
                else StateSummary(state, 0, 0, 0)
                for state in BatchState
            ),
            oldest_row.planned_at,
            oldest_row.age,
        )

    def late(self, topic: str, limit: timedelta) -> int:
        """How many unfinished batches were planned longer ago than ``limit``, by PostgreSQL's clock."""
        query = sa.select(sa.func.count()).where(
            batches.c.topic == topic, _is_unfinished, batches.c.planned_at < sa.func.now() - limit
        )
        with translated("count late batches"), self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def contiguity_gaps(self, topic: str) -> list[Gap]:
        """Offsets between two batches that nobody planned: always empty, unless rows were deleted."""
        following = sa.func.lead(batches.c.first_offset).over(
            partition_by=batches.c.partition, order_by=batches.c.first_offset
        )
        chain = (
            sa.select(batches.c.partition, batches.c.last_offset, following.label("following"))
            .where(batches.c.topic == topic)
            .subquery()
        )
        query = sa.select(chain).where(chain.c.following != chain.c.last_offset + 1)
        with translated("look for gaps"), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(chain.c.partition, chain.c.last_offset))
            return [Gap(topic, row.partition, row.last_offset + 1, row.following - 1) for row in rows]

    def hour_account(self, hour: datetime) -> HourAccount:
        """Sums over the batches of an hour, of all topics."""
        counts = ("records", "valid", "rejected", "duplicate")
        query = sa.select(
            sa.func.count().label("batches"),
            sa.func.count().filter(_is_unfinished).label("unfinished"),
            sa.func.count().filter(batches.c.state == BatchState.QUARANTINED).label("quarantined"),
            *(sa.func.coalesce(sa.func.sum(batches.c[name]), 0).label(name) for name in counts),
        ).where(batches.c.hour == hour)
        with translated("account for an hour"), self._engine.connect() as connection:
            row = connection.execute(query).one()
        return HourAccount(hour, **{name: int(value) for name, value in row._mapping.items()})
