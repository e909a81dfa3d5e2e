"""Entering dead letters into the register, and giving retries their verdict.

Belongs here: rows 1, 2 and 5 to 10 of the table in ``dead_letter_register.py``: what becomes known by looking at
objects and batches. Does not belong here: retries before they are sent, and what people decide.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import orjson
import sqlalchemy as sa

from ..config import Settings
from ..sql import statement
from .batch import Batch, BatchState
from .dead_letter import Found, LetterState, Origin, Settled
from .dead_letter_moves import move, row_numbers
from .dead_letter_pages import LetterPages
from .dead_letter_tables import any_of, attempts, cursors, letters, objects
from .ledger_database import batches, translated


class LetterSettling(LetterPages):
    """Enters and settles dead letters. Raises as the register does."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        super().__init__(settings, engine)
        self._most_tries = settings.wotr_dead_letter_tries

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
                .where(any_of(letters.c.name, names))
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
        rejected = row_numbers(connection, "reject_attempts", {"found": orjson.dumps(rows).decode()})
        at_limit = letters.c.tries >= self._most_tries
        of_these = any_of(letters.c.id, rejected)
        retrying = letters.c.state == LetterState.RETRYING
        why = "the retry was rejected"
        quarantined = move(
            connection,
            [of_these, retrying, at_limit],
            LetterState.QUARANTINED,
            who,
            f"{why}, as were the ones before: {self._most_tries} tries are the limit",
        )
        again = move(connection, [of_these, retrying, ~at_limit], LetterState.NEW, who, why)
        resolved = letters.c.state == LetterState.RESOLVED
        anew = move(
            connection, [of_these, resolved], LetterState.NEW, who, "judged anew: its retry is rejected now"
        )
        return Settled(rejected=again + quarantined, quarantined=quarantined, judged_anew=anew)

    def _judged_anew(
        self, connection: sa.Connection, batch: Batch, rejected_offsets: list[int], who: str
    ) -> Settled:
        why = f"judged anew as generation {batch.generation} of {batch.batch_id}"
        to_be_done = letters.c.state.in_((LetterState.NEW, LetterState.QUARANTINED))
        own = letters.c.batch == batch.id
        passes = move(
            connection,
            [own, letters.c.generation < batch.generation, to_be_done],
            LetterState.RESOLVED,
            who,
            f"{why}: it passes",
        )
        passed = sa.select(attempts.c.letter_id).where(
            attempts.c.letter_id == letters.c.id, attempts.c.outcome == "passed"
        )
        fails = move(
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
        retries = row_numbers(
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
        repaired = move(
            connection,
            [any_of(letters.c.id, retries), to_be_done],
            LetterState.RESOLVED,
            who,
            f"{why}: its retry passes",
        )
        return Settled(judged_anew=passes + fails + repaired)

    def _settle_passed(self, connection: sa.Connection, who: str) -> Settled:
        passed = row_numbers(connection, "settle_passed", {"topic": self._settings.kafka_topic})
        moved = move(
            connection,
            [
                any_of(letters.c.id, passed),
                letters.c.state == LetterState.RETRYING,
            ],
            LetterState.RESOLVED,
            who,
            "the retry passed",
        )
        return Settled(passed=moved)


def _offset(letter: Found) -> int:
    return int(letter.name.rsplit(":", 1)[1])
