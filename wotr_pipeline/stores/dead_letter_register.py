"""The register of dead letters: where each one lies, how far its repair has come, who did what.

Belongs here: entering letters, settling retries, what people decide, and the table of states that all of it
obeys. Does not belong here: reading (``dead_letter_reading.py``), content (it stays in the object store), or the
work itself (``operations/dead_letters/``).

A retry goes through Kafka like any event. Its record carries the letter's name and the number of the attempt, and
the attempt is on record before it is sent; so a rejected retry is recognised by its envelope's headers, and one
that passed by the place that Kafka gave it, once the batch of that place is LOADED and its envelopes are known.
A kill between the two leaves an attempt without a place, which is sent again: the event's id keeps it single.

==  ===========  =============  ================================  ===========  ==================================
no  state        event          condition                         next state   action · what it protects
==  ===========  ===========    ================================  ===========  ==================================
 1  (none)       found          no retry                          NEW          enter it · nothing rejected is
                                                                               forgotten
 2  any          found          known by name                     same         note its place (and verdict, if it
                                                                               was not repaired) · once per letter
 3  NEW          begin          tries < limit                     RETRYING     tries+1, the attempt is on record
                                                                               · before it is sent
 4  not NEW      begin          any                               same         left out · no retry twice
 5  RETRYING     settle         attempt lies in a LOADED batch,   RESOLVED     · the row is in the table, or its
                                not rejected there                             id was
 6  RETRYING     settle         rejected, tries < limit           NEW          the new reason
 7  RETRYING     settle         rejected, tries = limit           QUARANTINED  the new reason · no endless loop
 8  NEW,         judged anew    its batch or its retry's batch    RESOLVED     · a reprocess is a repair too
    QUARANTINED                 no longer rejects it
 9  RESOLVED     judged anew    rejected again, no retry passed   NEW          · the state never lies
10  RESOLVED     judged anew    its passed retry is rejected      NEW          · as 9
11  NEW          fix            any                               NEW          a new version beside it
12  QUARANTINED  fix            any                               NEW          as 11, tries 0 · a person acted
13  NEW,         discard        any                               DISCARDED    · someone said why
    QUARANTINED
14  NEW          quarantine     any                               QUARANTINED  · left alone until someone reopens
15  DISCARDED,   reopen         any                               NEW          tries 0
    QUARANTINED
16  any          any other      any                               same         left alone, and counted
==  ===========  =============  ================================  ===========  ==================================
"""

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Self

import orjson
import sqlalchemy as sa

from ..config import Settings
from ..sql import statement
from .batch import Batch, BatchState
from .dead_letter import Found, LetterFilter, LetterState, Origin, Settled
from .dead_letter_reading import LetterReading
from .dead_letter_tables import accesses, attempts, changes, conditions, cursors, letters, objects, switch
from .errors import TransientError
from .ledger_database import LockClass, batches, connect, translated

MOST_NAMES_LOGGED = 100


class DeadLetterRegister(LetterReading):
    """Enters, settles and changes dead letters. Safe to share between threads; close it when done.

    Every method raises TransientError when PostgreSQL is away, slow or overloaded, and PermanentError when it
    refuses. ``who`` is a person or a run, ``why`` their reason; both are kept for ever.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, connect(settings, "wotr dead letters"))
        self._most_tries = settings.wotr_dead_letter_tries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def exclusively(self, what: str) -> Any:
        """Be the only one who does ``what`` ('triage' or 'retry'), as long as the block and the connection last.

        Raises:
            TransientError: someone else is at it.
        """
        number = {"triage": 1, "retry": 2}[what]
        engine = connect(self._settings, f"wotr {what} of dead letters", dedicated=True)
        try:
            with translated(f"begin a {what} of dead letters"), engine.connect() as connection:
                lock = sa.func.pg_try_advisory_lock(LockClass.LETTERS, number)
                if not connection.scalar(sa.select(lock)):
                    raise TransientError(
                        f"Another {what} of dead letters is at work; this one did nothing. Try when it has ended."
                    )
                yield
        finally:
            engine.dispose()

    # Entering and settling

    def enter_batch(self, batch: Batch, found: Sequence[Found], who: str) -> Settled | None:
        """Enter the letters of a LOADED batch's present generation, and settle the retries that lie in it.

        None: the batch was reopened meanwhile, nothing was entered. Repeating changes nothing.
        """
        key = batch.dead_letters_key or ""
        with translated(f"enter the dead letters of {batch.batch_id}"), self._engine.begin() as connection:
            marked = connection.execute(
                sa.update(batches)
                .where(
                    batches.c.id == batch.id,
                    batches.c.generation == batch.generation,
                    batches.c.state == BatchState.LOADED,
                )
                .values(letters_generation=batch.generation)
            )
            if marked.rowcount != 1:
                return None
            fresh, retried = self._apart(connection, found)
            self._enter(connection, fresh, Origin.BATCH, key, who, batch)
            settled = self._settle_rejected(connection, retried, who)
            if batch.generation > 1:
                offsets = [_offset(letter) for letter, *_ in retried]
                settled += self._judged_anew(connection, batch, offsets, who)
            return settled + self._settle_passed(connection, who)

    def enter_object(self, key: str, size: int, origin: Origin, found: Sequence[Found], who: str) -> None:
        """Enter the letters of an object that no batch wrote."""
        with translated(f"enter the dead letters of {key}"), self._engine.begin() as connection:
            self._enter_object(connection, key, size, origin, found, who)

    def enter_slice(
        self,
        key: str,
        size: int,
        found: Sequence[Found],
        topic: str,
        partition: int,
        next_offset: int,
        who: str,
    ) -> None:
        """Enter a slice of the dead-letter topic, kept in object ``key`` ('' if it held nothing), and move on."""
        with translated(f"enter dead letters of {topic}"), self._engine.begin() as connection:
            if key:
                self._enter_object(connection, key, size, Origin.TOPIC, found, who)
            row = sa.dialects.postgresql.insert(cursors).values(
                topic=topic, partition=partition, next_offset=next_offset
            )
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=["topic", "partition"],
                    set_={"next_offset": row.excluded.next_offset},
                    where=cursors.c.next_offset < row.excluded.next_offset,
                )
            )

    def note_objects(self, found: Iterable[tuple[str, int]]) -> int:
        """Remember objects (key, size) that no batch wrote, to be entered; returns how many are new."""
        rows = [{"key": key, "size": size} for key, size in found]
        if not rows:
            return 0
        insert = sa.dialects.postgresql.insert(objects).on_conflict_do_nothing().returning(objects.c.key)
        with translated("note objects of others"), self._engine.begin() as connection:
            return len(connection.execute(insert, rows).all())

    def settle(self, who: str) -> Settled:
        """Settle retries whose batch was entered before their place was on record."""
        with translated("settle retries"), self._engine.begin() as connection:
            return self._settle_passed(connection, who)

    def _apart(
        self, connection: sa.Connection, found: Sequence[Found]
    ) -> tuple[list[Found], list[tuple[Found, int, int]]]:
        """Letters, and the records of retries: (record, letter's id, attempt)."""
        names = sorted({letter.retry_of for letter in found if letter.retry_of})
        known: dict[tuple[str, int], int] = {}
        if names:
            # Anyone may send such a header: it counts only if that attempt is on record.
            rows = connection.execute(
                sa.select(letters.c.name, attempts.c.attempt, letters.c.id)
                .join(attempts, attempts.c.letter_id == letters.c.id)
                .where(letters.c.name == sa.any_(sa.literal(names, sa.ARRAY(sa.Text))))
            )
            known = {(row.name, row.attempt): row.id for row in rows}
        fresh: list[Found] = []
        retried: list[tuple[Found, int, int]] = []
        for letter in found:
            letter_id = known.get((letter.retry_of, letter.retry_attempt))
            if letter_id is None:
                fresh.append(letter)
            else:
                retried.append((letter, letter_id, letter.retry_attempt))
        return fresh, retried

    def _enter(
        self,
        connection: sa.Connection,
        found: Sequence[Found],
        origin: Origin,
        key: str,
        who: str,
        batch: Batch | None = None,
    ) -> None:
        if not found:
            return
        connection.execute(
            sa.text(statement("enter_letters")),
            {
                "found": orjson.dumps([asdict(letter) for letter in found]).decode(),
                "origin": origin,
                "batch": batch and batch.id,
                "generation": batch and batch.generation,
                "object_key": key,
                "who": who,
            },
        )

    def _enter_object(
        self, connection: sa.Connection, key: str, size: int, origin: Origin, found: Sequence[Found], who: str
    ) -> None:
        fresh, retried = self._apart(connection, found)
        self._enter(connection, fresh, origin, key, who)
        self._settle_rejected(connection, retried, who)
        values = {"registered_at": sa.func.now(), "letters": len(fresh)}
        row = sa.dialects.postgresql.insert(objects).values(key=key, size=size, **values)
        connection.execute(row.on_conflict_do_update(index_elements=["key"], set_=values))

    def _settle_rejected(
        self, connection: sa.Connection, retried: Sequence[tuple[Found, int, int]], who: str
    ) -> Settled:
        if not retried:
            return Settled()
        rows = []
        for letter, letter_id, attempt in retried:
            topic, partition, offset = letter.name.rsplit(":", 2)
            rows.append(
                {
                    "letter_id": letter_id,
                    "attempt": attempt,
                    "topic": topic,
                    "partition": int(partition),
                    "offset": int(offset),
                    "reason": letter.reason,
                    "field": letter.field,
                    "message": letter.message,
                    "rules_version": letter.rules_version,
                }
            )
        rejected = _ids(connection, "reject_attempts", {"found": orjson.dumps(rows).decode()})
        at_limit = letters.c.tries >= self._most_tries
        of_these = letters.c.id == sa.any_(sa.literal(rejected, sa.ARRAY(sa.BigInteger)))
        retrying = letters.c.state == LetterState.RETRYING
        why = "the retry was rejected"
        quarantined = self._move(
            connection,
            [of_these, retrying, at_limit],
            LetterState.QUARANTINED,
            who,
            f"{why}, as were the ones before: {self._most_tries} tries are the limit",
        )
        again = self._move(connection, [of_these, retrying, ~at_limit], LetterState.NEW, who, why)
        resolved = letters.c.state == LetterState.RESOLVED
        anew = self._move(
            connection, [of_these, resolved], LetterState.NEW, who, "judged anew: its retry is rejected now"
        )
        return Settled(rejected=again + quarantined, quarantined=quarantined, judged_anew=anew)

    def _judged_anew(
        self, connection: sa.Connection, batch: Batch, rejected_offsets: list[int], who: str
    ) -> Settled:
        why = f"judged anew as generation {batch.generation} of {batch.batch_id}"
        to_be_done = letters.c.state.in_((LetterState.NEW, LetterState.QUARANTINED))
        own = letters.c.batch == batch.id
        passes = self._move(
            connection,
            [own, letters.c.generation < batch.generation, to_be_done],
            LetterState.RESOLVED,
            who,
            f"{why}: it passes",
        )
        passed = sa.select(attempts.c.letter_id).where(
            attempts.c.letter_id == letters.c.id, attempts.c.outcome == "passed"
        )
        fails = self._move(
            connection,
            [
                own,
                letters.c.generation == batch.generation,
                letters.c.state == LetterState.RESOLVED,
                ~passed.exists(),
            ],
            LetterState.NEW,
            who,
            f"{why}: it is rejected again",
        )
        retries = _ids(
            connection,
            "pass_attempts_anew",
            {
                "topic": batch.topic,
                "partition": batch.partition,
                "first_offset": batch.first_offset,
                "last_offset": batch.last_offset,
                "rejected_offsets": rejected_offsets,
            },
        )
        repaired = self._move(
            connection,
            [letters.c.id == sa.any_(sa.literal(retries, sa.ARRAY(sa.BigInteger))), to_be_done],
            LetterState.RESOLVED,
            who,
            f"{why}: its retry passes",
        )
        return Settled(judged_anew=passes + fails + repaired)

    def _settle_passed(self, connection: sa.Connection, who: str) -> Settled:
        passed = _ids(connection, "settle_passed", {"topic": self._settings.kafka_topic})
        moved = self._move(
            connection,
            [
                letters.c.id == sa.any_(sa.literal(passed, sa.ARRAY(sa.BigInteger))),
                letters.c.state == LetterState.RETRYING,
            ],
            LetterState.RESOLVED,
            who,
            "the retry passed",
        )
        return Settled(passed=moved)

    # Retries: before and after they are sent

    def begin(self, ids: Sequence[int], who: str, why: str) -> list[int]:
        """Put the letters among ``ids`` that are NEW into RETRYING, attempts on record; returns their ids."""
        with translated("begin retries"), self._engine.begin() as connection:
            return _ids(
                connection,
                "begin_attempts",
                {"ids": list(ids), "who": who, "why": why, "most_tries": self._most_tries},
            )

    def note_positions(self, sent: Iterable[tuple[int, int, str, int, int]]) -> None:
        """Note where Kafka keeps attempts: (letter's id, attempt, topic, partition, offset)."""
        names = ("letter_id", "attempt", "topic", "partition", "offset")
        rows = [dict(zip(names, row, strict=True)) for row in sent]
        if rows:
            with translated("note where retries lie"), self._engine.begin() as connection:
                connection.execute(
                    sa.text(statement("note_positions")), {"sent": orjson.dumps(rows).decode()}
                )

    # What people decide

    def fixed(self, versions: Sequence[tuple[int, str, int]], who: str, why: str) -> int:
        """Note new versions, (letter's id, object, line), of letters that are NEW or QUARANTINED."""
        rows = [{"id": number, "key": key, "at": line} for number, key, line in versions]
        given = sa.func.json_to_recordset(sa.cast(sa.literal(rows, sa.JSON), sa.JSON)).table_valued(
            sa.column("id", sa.BigInteger), sa.column("key", sa.Text), sa.column("at", sa.Integer),
            name="given",
        ).render_derived(with_types=True)  # fmt: skip
        was_quarantined = letters.c.state == LetterState.QUARANTINED
        with translated("note fixed versions"), self._engine.begin() as connection:
            return self._move(
                connection,
                [letters.c.id == given.c.id, letters.c.state.in_((LetterState.NEW, LetterState.QUARANTINED))],
                LetterState.NEW,
                who,
                why,
                fix_version=letters.c.fix_version + 1,
                fix_key=given.c.key,
                fix_line=given.c.at,
                tries=sa.case((was_quarantined, 0), else_=letters.c.tries),
            )

    def discard(self, wanted: LetterFilter, who: str, why: str) -> int:
        """NEW and QUARANTINED letters become DISCARDED; returns how many. Others are left alone."""
        states = (LetterState.NEW, LetterState.QUARANTINED)
        return self._decide(wanted, states, LetterState.DISCARDED, who, why)

    def quarantine(self, wanted: LetterFilter, who: str, why: str) -> int:
        """NEW letters become QUARANTINED; returns how many. Others are left alone."""
        return self._decide(wanted, (LetterState.NEW,), LetterState.QUARANTINED, who, why)

    def reopen(self, wanted: LetterFilter, who: str, why: str) -> int:
        """DISCARDED and QUARANTINED letters become NEW, their tries forgotten; returns how many."""
        states = (LetterState.DISCARDED, LetterState.QUARANTINED)
        return self._decide(wanted, states, LetterState.NEW, who, why, tries=0)

    def turn_switch(self, stopped: bool, who: str, why: str) -> None:
        """Stop all retries, or let them go on."""
        with translated("turn the switch of retries"), self._engine.begin() as connection:
            connection.execute(sa.insert(switch).values(stopped=stopped, who=who, why=why))

    def note_access(self, who: str, what: str, why: str, names: Sequence[str]) -> None:
        """Write down that someone sees the content of letters; call it before it is shown."""
        with translated("note who looks"), self._engine.begin() as connection:
            connection.execute(
                sa.insert(accesses).values(
                    who=who, what=what, why=why, letters=len(names), names=list(names[:MOST_NAMES_LOGGED])
                )
            )

    def note_pruned(self, keys: Sequence[str]) -> None:
        """Note that objects were deleted: the content of their letters is gone for good."""
        gone = sa.any_(sa.literal(list(keys), sa.ARRAY(sa.Text)))
        with translated("note what was pruned"), self._engine.begin() as connection:
            connection.execute(
                sa.update(letters)
                .where((letters.c.object_key == gone) | (letters.c.fix_key == gone))
                .values(pruned_at=sa.func.now())
            )

    def _decide(
        self,
        wanted: LetterFilter,
        states: Sequence[LetterState],
        to: LetterState,
        who: str,
        why: str,
        **values: object,
    ) -> int:
        with translated(f"make dead letters {to}"), self._engine.begin() as connection:
            chosen = [*conditions(wanted), letters.c.state.in_(states)]
            return self._move(connection, chosen, to, who, why, **values)

    def _move(
        self,
        connection: sa.Connection,
        where: Sequence[sa.ColumnElement[bool]],
        to: LetterState,
        who: str,
        why: str,
        **values: object,
    ) -> int:
        """The one place where a letter's state changes, with the entry in its history; returns how many."""
        computed = {
            name: value if isinstance(value, sa.ColumnElement) else sa.literal(value)
            for name, value in values.items()
        }
        chosen = (
            sa.select(
                letters.c.id, letters.c.state, *(value.label(f"new_{n}") for n, value in computed.items())
            )
            .where(*where)
            .with_for_update(of=letters)
            .cte("chosen")
        )
        new = {name: chosen.c[f"new_{name}"] for name in computed}
        moved = (
            sa.update(letters)
            .where(letters.c.id == chosen.c.id)
            .values(state=to, since=sa.func.now(), **new)
            .returning(letters.c.id)
            .cte("moved")
        )
        log = sa.select(chosen.c.id, sa.literal(who), chosen.c.state, sa.literal(to.value), sa.literal(why))
        inserted = connection.execute(
            sa.insert(changes)
            .from_select(["letter_id", "who", "from_state", "to_state", "why"], log)
            .add_cte(moved)
        )
        return inserted.rowcount


def _ids(connection: sa.Connection, name: str, parameters: dict[str, Any]) -> list[int]:
    return list(connection.scalars(sa.text(statement(name)), parameters))


def _offset(letter: Found) -> int:
    return int(letter.name.rsplit(":", 1)[1])
