"""Dead letters as pages show them: counted by reason, and newest first, page by page.

Belongs here: reading for people who look. Does not belong here: worklists (``dead_letter_reading.py``), changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from .dead_letter import OPEN, Letter, LetterFilter, LetterState
from .dead_letter_reading import LetterReading
from .dead_letter_tables import LETTER_COLUMNS, conditions, letter_of, letters
from .ledger_database import translated


@dataclass(frozen=True)
class ReasonCount:
    """Open letters of one reason and field."""

    reason: str
    field: str
    states: Mapping[LetterState, int]
    newest: datetime
    example: str
    """Name of the one that was entered last."""

    @property
    def letters(self) -> int:
        """In all open states."""
        return sum(self.states.values())


@dataclass(frozen=True)
class Place:
    """Where a page ends: the next one begins after it."""

    arrived_at: datetime
    id: int


class LetterPages(LetterReading):
    """Reads for pages. Raises as ``LetterReading`` does."""

    def by_reason(self, limit: int = 50) -> list[ReasonCount]:
        """Open letters by reason and field, most first."""
        total = sa.func.count()
        newest = sa.func.max(letters.c.id)
        query = (
            sa.select(
                letters.c.reason,
                letters.c.field,
                *(total.filter(letters.c.state == state).label(state.value) for state in OPEN),
                sa.func.max(letters.c.arrived_at).label("newest"),
                newest.label("newest_id"),
            )
            .where(letters.c.state.in_(OPEN))
            .group_by(letters.c.reason, letters.c.field)
            .order_by(total.desc(), letters.c.reason, letters.c.field)
            .limit(limit)
        ).cte("counted")
        named = sa.select(query, letters.c.name).join(letters, letters.c.id == query.c.newest_id)
        with translated("count dead letters by reason"), self._engine.connect() as connection:
            found = [
                ReasonCount(
                    row.reason,
                    row.field,
                    {state: row._mapping[state.value] for state in OPEN},
                    row.newest,
                    row.name,
                )
                for row in connection.execute(named)
            ]
        return sorted(found, key=lambda count: (-count.letters, count.reason, count.field))

    def registered_ever(self) -> int:
        """How many letters were ever entered; rows are never deleted."""
        with translated("count dead letters"), self._engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(letters)) or 0

    def newest(self, wanted: LetterFilter, limit: int, after: Place | None = None) -> list[Letter]:
        """At most ``limit`` letters that the filter chooses, the newest first, from ``after`` on."""
        query = sa.select(*LETTER_COLUMNS).where(*conditions(wanted))
        if after is not None:
            here = sa.tuple_(letters.c.arrived_at, letters.c.id)
            query = query.where(here < sa.tuple_(sa.literal(after.arrived_at), sa.literal(after.id)))
        order = (letters.c.arrived_at.desc(), letters.c.id.desc())
        with translated("read dead letters"), self._engine.connect() as connection:
            return [letter_of(row) for row in connection.execute(query.order_by(*order).limit(limit))]
