"""The register's tables as SQLAlchemy sees them, and how rows become records.

Belongs here: table descriptions (migration ``ledger_0002`` creates them; a test holds the two together),
rows to records, a filter to conditions.
Does not belong here: any change of a row (``dead_letter_register.py``, ``dead_letter_attempts.py``).
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from .dead_letter import Attempt, Letter, LetterFilter, LetterState, Origin
from .ledger_database import metadata

_moment = sa.DateTime(timezone=True)

letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("batch", sa.Integer),
    sa.Column("generation", sa.Integer),
    sa.Column("object_key", sa.Text, nullable=False),
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("rules_version", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("arrived_at", _moment, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("since", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("fix_version", sa.Integer, nullable=False, server_default="0"),
    sa.Column("fix_key", sa.Text),
    sa.Column("fix_line", sa.Integer),
    sa.Column("pruned_at", _moment),
)
attempts = sa.Table(
    "dead_letter_attempts",
    metadata,
    sa.Column("letter_id", sa.BigInteger, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("fix_version", sa.Integer, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("begun_at", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("topic", sa.Text),
    sa.Column("partition", sa.Integer),
    sa.Column("offset", sa.BigInteger),
    sa.Column("outcome", sa.Text),
    sa.Column("outcome_at", _moment),
)
changes = sa.Table(
    "dead_letter_changes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("letter_id", sa.BigInteger, nullable=False),
    sa.Column("at", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("from_state", sa.Text),
    sa.Column("to_state", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)
accesses = sa.Table(
    "dead_letter_accesses",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("letters", sa.BigInteger, nullable=False),
    sa.Column("names", sa.ARRAY(sa.Text), nullable=False),
)
objects = sa.Table(
    "dead_letter_objects",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("found_at", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("registered_at", _moment),
    sa.Column("letters", sa.BigInteger),
)
cursors = sa.Table(
    "dead_letter_cursors",
    metadata,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)
switch = sa.Table(
    "dead_letter_switch",
    metadata,
    sa.Column("stopped", sa.Boolean, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", _moment, primary_key=True, server_default=sa.func.clock_timestamp()),
)

LETTER_COLUMNS = [letters.c[field.name] for field in fields(Letter)]
ATTEMPT_COLUMNS = [attempts.c[field.name] for field in fields(Attempt)]


def letter_of(row: sa.Row[Any]) -> Letter:
    """The ``Letter`` of a row of ``LETTER_COLUMNS``."""
    return Letter(**{**row._mapping, "state": LetterState(row.state), "origin": Origin(row.origin)})


def attempt_of(row: sa.Row[Any]) -> Attempt:
    """The ``Attempt`` of a row of ``ATTEMPT_COLUMNS``."""
    return Attempt(**row._mapping)


def any_of(column: sa.Column[Any], values: Sequence[int] | Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether the column is one of the values: one bound array, however many there are."""
    return column == sa.any_(sa.literal(list(values), sa.ARRAY(column.type)))


def conditions(wanted: LetterFilter) -> list[sa.ColumnElement[bool]]:
    """The filter as conditions on ``dead_letters``."""
    found: list[sa.ColumnElement[bool]] = [
        column.in_(values)
        for column, values in (
            (letters.c.name, wanted.names),
            (letters.c.state, wanted.states),
            (letters.c.reason, wanted.reasons),
            (letters.c.field, wanted.fields),
            (letters.c.source, wanted.sources),
            (letters.c.event_type, wanted.event_types),
            (letters.c.version, wanted.versions),
        )
        if values
    ]
    if wanted.since is not None:
        found.append(letters.c.arrived_at >= wanted.since)
    if wanted.until is not None:
        found.append(letters.c.arrived_at < wanted.until)
    return found
