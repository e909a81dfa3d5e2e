"""How a dead letter's state changes: in one place, always with the entry in its history.

Belongs here: that statement, and running the ones of ``sql/`` that give row numbers.
Does not belong here: which change is allowed (``dead_letter_register.py`` has the table).
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..sql import statement
from .dead_letter import LetterState
from .dead_letter_tables import changes, letters


def move(
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
        sa.select(letters.c.id, letters.c.state, *(value.label(f"new_{n}") for n, value in computed.items()))
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


def row_numbers(connection: sa.Connection, name: str, parameters: dict[str, Any]) -> list[int]:
    """Run ``sql/<name>.sql``, which gives letters' row numbers."""
    return list(connection.scalars(sa.text(statement(name)), parameters))
