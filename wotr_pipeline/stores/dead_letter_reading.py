"""What the register tells: letters, groups, histories, what waits to be entered or settled.

Belongs here: reading. Does not belong here: any change (``dead_letter_register.py``).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..config import Settings
from ..sql import statement
from .batch import Batch, BatchState
from .dead_letter import (
    OPEN,
    Attempt,
    Change,
    Group,
    Letter,
    LetterFilter,
    LetterState,
    Switch,
)
from .dead_letter_tables import (
    ATTEMPT_COLUMNS,
    LETTER_COLUMNS,
    any_of,
    attempt_of,
    attempts,
    changes,
    conditions,
    cursors,
    letter_of,
    letters,
    objects,
    switch,
)
from .errors import PermanentError
from .ledger_database import COLUMNS, batch_of, batches, translated

PAGE = 5_000
"""Letters read at once: memory stays bounded however many there are."""


class LetterReading:
    """Reads the register. Every method raises TransientError and PermanentError as the register does."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._settings = settings
        self._engine = engine

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def now(self) -> datetime:
        """The database's clock, which every time in the register is of."""
        with translated("tell the time"), self._engine.connect() as connection:
            now: datetime = connection.scalars(sa.select(sa.func.now())).one()
            return now

    def letter(self, name: str) -> Letter:
        """One letter.

        Raises:
            PermanentError: there is none of that name.
        """
        found = self._letters(letters.c.name == name)
        if not found:
            raise PermanentError(
                f"The register has no dead letter {name}. Names are topic:partition:offset; `wotr dlq list` "
                "shows them. One that was rejected a moment ago is entered by the next triage."
            )
        return found[0]

    def ids(self, wanted: LetterFilter, limit: int | None = None) -> list[int]:
        """Row numbers of the letters that the filter chooses, oldest first: a worklist to be frozen."""
        query = (
            sa.select(letters.c.id).where(*conditions(wanted)).order_by(letters.c.arrived_at, letters.c.id)
        )
        with translated("choose dead letters"), self._engine.connect() as connection:
            return list(connection.scalars(query.limit(limit)))

    def of_ids(self, ids: Sequence[int]) -> Iterator[Letter]:
        """Letters by their row numbers, in the order of the objects they lie in; read page by page."""
        for start in range(0, len(ids), PAGE):
            page = list(ids[start : start + PAGE])
            yield from self._letters(any_of(letters.c.id, page))

    def find(self, wanted: LetterFilter, limit: int) -> list[Letter]:
        """At most ``limit`` letters that the filter chooses, oldest first."""
        query = (
            sa.select(*LETTER_COLUMNS)
            .where(*conditions(wanted))
            .order_by(letters.c.arrived_at, letters.c.id)
            .limit(limit)
        )
        with translated("read dead letters"), self._engine.connect() as connection:
            return [letter_of(row) for row in connection.execute(query)]

    def of_event(self, event_id: str) -> list[Letter]:
        """Letters of events with this id."""
        return self._letters(letters.c.event_id == event_id)

    def retry_at(self, topic: str, partition: int, offset: int) -> Letter | None:
        """The letter whose repaired version lies at this place in Kafka."""
        here = (attempts.c.topic == topic, attempts.c.partition == partition, attempts.c.offset == offset)
        found = self._letters(letters.c.id.in_(sa.select(attempts.c.letter_id).where(*here)))
        return found[0] if found else None

    def count(self, wanted: LetterFilter) -> int:
        """How many letters the filter chooses."""
        query = sa.select(sa.func.count()).select_from(letters).where(*conditions(wanted))
        with translated("count dead letters"), self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def by_state(self, wanted: LetterFilter | None = None) -> dict[LetterState, int]:
        """How many letters are in each state; every state is there."""
        query = (
            sa.select(letters.c.state, sa.func.count().label("letters"))
            .where(*conditions(wanted or LetterFilter()))
            .group_by(letters.c.state)
        )
        with translated("count dead letters"), self._engine.connect() as connection:
            found = {LetterState(row.state): row.letters for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in LetterState}

    def groups(self, wanted: LetterFilter | None = None) -> list[Group]:
        """Open letters by reason, field, source and version, most first."""
        by = (letters.c.reason, letters.c.field, letters.c.source, letters.c.version)
        examples = sa.func.array_agg(sa.dialects.postgresql.aggregate_order_by(letters.c.name, letters.c.id))
        total = sa.func.count().label("letters")
        query = (
            sa.select(
                *by,
                total,
                *(
                    sa.func.count().filter(letters.c.state == state).label(state.value.lower())
                    for state in OPEN
                ),
                sa.func.min(letters.c.arrived_at).label("first_seen"),
                sa.func.max(letters.c.arrived_at).label("last_seen"),
                examples.label("examples"),
            )
            .where(*conditions(wanted or LetterFilter()), letters.c.state.in_(OPEN))
            .group_by(*by)
            .order_by(total.desc(), *by)
        )
        with translated("group dead letters"), self._engine.connect() as connection:
            return [
                Group(
                    reason=row.reason,
                    field=row.field,
                    source=row.source,
                    version=row.version,
                    letters=row.letters,
                    states={state: row._mapping[state.value.lower()] for state in OPEN},
                    first_seen=row.first_seen,
                    last_seen=row.last_seen,
                    examples=tuple(row.examples[:3]),
                )
                for row in connection.execute(query)
            ]

    def history(self, letter: Letter) -> list[Change]:
        """Every change of a letter, oldest first."""
        query = sa.select(changes).where(changes.c.letter_id == letter.id).order_by(changes.c.id)
        with translated("read a dead letter's history"), self._engine.connect() as connection:
            return [
                Change(
                    row.at,
                    row.who,
                    LetterState(row.from_state) if row.from_state else None,
                    LetterState(row.to_state),
                    row.why,
                )
                for row in connection.execute(query)
            ]

    def attempts(self, letter: Letter) -> list[Attempt]:
        """Every retry of a letter, oldest first."""
        query = sa.select(*ATTEMPT_COLUMNS).where(attempts.c.letter_id == letter.id)
        with translated("read a dead letter's retries"), self._engine.connect() as connection:
            return [attempt_of(row) for row in connection.execute(query.order_by(attempts.c.attempt))]

    # Work that waits

    def unsent(self) -> list[int]:
        """Row numbers of letters whose attempt has begun and no place in Kafka is on record."""
        query = sa.select(attempts.c.letter_id).where(
            attempts.c.outcome.is_(None), attempts.c.topic.is_(None)
        )
        with translated("look for unsent retries"), self._engine.connect() as connection:
            return list(connection.scalars(query.order_by(attempts.c.letter_id)))

    def under_way(self) -> int:
        """How many retries have no verdict yet."""
        query = sa.select(sa.func.count()).select_from(attempts).where(attempts.c.outcome.is_(None))
        with translated("count retries under way"), self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def outcomes(self, since: datetime) -> Mapping[str, int]:
        """How many retries that began at ``since`` or later passed, were rejected, or wait ('')."""
        outcome = sa.func.coalesce(attempts.c.outcome, "")
        query = (
            sa.select(outcome.label("outcome"), sa.func.count().label("attempts"))
            .where(attempts.c.begun_at >= since)
            .group_by(outcome)
        )
        with translated("count outcomes of retries"), self._engine.connect() as connection:
            return {row.outcome: row.attempts for row in connection.execute(query)}

    def batches_to_enter(self, limit: int) -> list[Batch]:
        """LOADED batches whose dead letters (if any) are not in the register yet, oldest first."""
        query = (
            sa.select(*COLUMNS)
            .where(
                batches.c.topic == self._settings.kafka_topic,
                batches.c.state == BatchState.LOADED,
                batches.c.letters_generation.is_distinct_from(batches.c.generation),
            )
            .order_by(batches.c.id)
            .limit(limit)
        )
        with translated("look for dead letters to enter"), self._engine.connect() as connection:
            return [batch_of(row) for row in connection.execute(query)]

    def objects_to_enter(self, limit: int) -> list[tuple[str, int]]:
        """Objects of others (key, size) that are not in the register yet, oldest first."""
        query = (
            sa.select(objects.c.key, objects.c.size)
            .where(objects.c.registered_at.is_(None))
            .order_by(objects.c.found_at, objects.c.key)
            .limit(limit)
        )
        with translated("look for objects to enter"), self._engine.connect() as connection:
            return [(row.key, row.size) for row in connection.execute(query)]

    def known_objects(self, keys: Sequence[str], batch_ids: Sequence[str]) -> tuple[set[str], set[str]]:
        """Which of the keys are objects noted already, and which of the batches the ledger has."""
        noted = sa.select(objects.c.key).where(any_of(objects.c.key, keys))
        planned = sa.select(batches.c.batch_id).where(any_of(batches.c.batch_id, batch_ids))
        with translated("see whose objects these are"), self._engine.connect() as connection:
            return set(connection.scalars(noted)), set(connection.scalars(planned))

    def read_until(self, topic: str) -> dict[int, int]:
        """The next offset of the dead-letter topic to enter, by partition; absent where none was."""
        query = sa.select(cursors.c.partition, cursors.c.next_offset).where(cursors.c.topic == topic)
        with translated("see how far the topic is read"), self._engine.connect() as connection:
            return {row.partition: row.next_offset for row in connection.execute(query)}

    def switch(self) -> Switch:
        """Whether retries are stopped."""
        query = sa.select(switch).order_by(switch.c.at.desc()).limit(1)
        with translated("see whether retries are stopped"), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return Switch(row.stopped, row.who, row.why, row.at) if row else Switch(False, "", "", None)

    def prunable(self, before: datetime) -> list[str]:
        """Objects all of whose letters are RESOLVED or DISCARDED since before that time."""
        with translated("look for what may be pruned"), self._engine.connect() as connection:
            return list(connection.scalars(sa.text(statement("prunable_objects")), {"before": before}))

    def pruned_since(self, moment: datetime) -> list[str]:
        """Objects that were noted as pruned since then."""
        with translated("look for what was pruned"), self._engine.connect() as connection:
            return list(connection.scalars(sa.text(statement("pruned_objects")), {"since": moment}))

    def _letters(self, condition: sa.ColumnElement[bool]) -> list[Letter]:
        order = (letters.c.object_key, letters.c.line)
        with translated("read dead letters"), self._engine.connect() as connection:
            rows = connection.execute(sa.select(*LETTER_COLUMNS).where(condition).order_by(*order))
            return [letter_of(row) for row in rows]
