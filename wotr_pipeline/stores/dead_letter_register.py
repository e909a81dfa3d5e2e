"""The register of dead letters: where each one lies, how far its repair has come, who did what.

Belongs here: beginning retries, what people decide, and the table of states that everything obeys.
Does not belong here: entering and settling (``dead_letter_settling.py``), reading (``dead_letter_reading.py``),
content (it stays in the object store), or the work itself (``operations/dead_letters/``).

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
from typing import Any, Self

import orjson
import sqlalchemy as sa

from ..config import Settings
from ..sql import statement
from .dead_letter import LetterFilter, LetterState
from .dead_letter_moves import move, row_numbers
from .dead_letter_settling import LetterSettling
from .dead_letter_tables import accesses, any_of, conditions, letters, switch
from .errors import TransientError
from .ledger_database import LockClass, connect, translated

MOST_NAMES_LOGGED = 100


class DeadLetterRegister(LetterSettling):
    """Enters, settles and changes dead letters. Safe to share between threads; close it when done.

    Every method raises TransientError when PostgreSQL is away, slow or overloaded, and PermanentError when it
    refuses. ``who`` is a person or a run, ``why`` their reason; both are kept for ever.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, connect(settings, "wotr dead letters"))

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

    # Retries: before and after they are sent

    def begin(self, ids: Sequence[int], who: str, why: str) -> list[int]:
        """Put the letters among ``ids`` that are NEW into RETRYING, attempts on record; returns their ids."""
        with translated("begin retries"), self._engine.begin() as connection:
            return row_numbers(
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
            return move(
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
        with translated("note what was pruned"), self._engine.begin() as connection:
            connection.execute(
                sa.update(letters)
                .where(any_of(letters.c.object_key, keys) | any_of(letters.c.fix_key, keys))
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
            return move(connection, chosen, to, who, why, **values)
