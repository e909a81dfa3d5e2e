"""What people of the explorer keep: their queries, those they share, and what they ran.

A query belongs to a key, and to the keys that it was rotated into. Others see it when it is shared, and can then run
it and save a copy; only its owner changes or deletes it.

Belongs here: the tables ``saved_queries`` and ``query_history``. Does not belong here: running a query
(``warehouse_reader.py``).
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ..config import Settings
from .errors import PermanentError
from .gateway_tables import api_keys, query_history, saved_queries
from .ledger_database import connect, translated

TITLE_CHARACTERS = 100
STATEMENT_CHARACTERS = 50_000
MOST_SAVED = 500
"""Of one key."""
HISTORY_KEPT = timedelta(days=90)


@dataclass(frozen=True)
class SavedQuery:
    """A query that somebody keeps."""

    id: int
    key_id: str
    who: str
    title: str
    statement: str
    shared: bool
    saved_at: datetime


@dataclass(frozen=True)
class PastQuery:
    """A query that was run. Without ``seconds`` it did not end."""

    id: int
    at: datetime
    statement: str
    seconds: float | None
    rows: int | None
    error: str | None


class NotYoursError(PermanentError):
    """There is no such query, or it is somebody else's: which of the two is not said."""


class TooManySavedError(PermanentError):
    """A key keeps as many queries as it may."""


_SAVED = [saved_queries.c[field.name] for field in fields(SavedQuery)]
_PAST = [query_history.c[field.name] for field in fields(PastQuery)]


class SavedQueries:
    """The two tables. Raises TransientError and PermanentError as the ledger does."""

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr explorer")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def seen_by(self, key_id: str) -> list[SavedQuery]:
        """One's own and the shared ones, by title."""
        query = (
            sa.select(*_SAVED)
            .where(_own(saved_queries, key_id) | saved_queries.c.shared)
            .order_by(sa.func.lower(saved_queries.c.title), saved_queries.c.id)
            .limit(4 * MOST_SAVED)
        )
        with translated("read saved queries"), self._engine.connect() as connection:
            return [SavedQuery(**row._mapping) for row in connection.execute(query)]

    def own_ids(self, key_id: str) -> frozenset[int]:
        """Which saved queries are one's own."""
        query = sa.select(saved_queries.c.id).where(_own(saved_queries, key_id))
        with translated("read saved queries"), self._engine.connect() as connection:
            return frozenset(connection.scalars(query))

    def one(self, number: int, key_id: str) -> SavedQuery:
        """One that this key may see.

        Raises:
            NotYoursError
        """
        query = sa.select(*_SAVED).where(
            saved_queries.c.id == number, _own(saved_queries, key_id) | saved_queries.c.shared
        )
        with translated("read a saved query"), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotYoursError("There is no such query, or it is not shared.")
        return SavedQuery(**row._mapping)

    def save(self, key_id: str, who: str, title: str, statement: str, *, shared: bool) -> int:
        """Keep a query; one of the same title is replaced. Gives its number.

        Raises:
            TooManySavedError
        """
        values = {"key_id": key_id, "who": who, "title": title, "statement": statement, "shared": shared}
        with translated("save a query"), self._engine.begin() as connection:
            known = connection.scalar(
                sa.select(saved_queries.c.id).where(
                    _own(saved_queries, key_id), saved_queries.c.title == title
                )
            )
            if known is not None:
                connection.execute(
                    sa.update(saved_queries)
                    .where(saved_queries.c.id == known)
                    .values(statement=statement, shared=shared, saved_at=sa.func.now())
                )
                return int(known)
            count = connection.scalar(
                sa.select(sa.func.count()).select_from(saved_queries).where(_own(saved_queries, key_id))
            )
            if (count or 0) >= MOST_SAVED:
                raise TooManySavedError(f"A key keeps at most {MOST_SAVED} queries: delete one first.")
            adding = insert(saved_queries).values(**values)
            adding = adding.on_conflict_do_update(
                constraint="saved_queries_title",
                set_={
                    "statement": adding.excluded.statement,
                    "shared": adding.excluded.shared,
                    "saved_at": sa.func.now(),
                },
            )
            return int(connection.execute(adding.returning(saved_queries.c.id)).scalar_one())

    def share(self, number: int, key_id: str, *, shared: bool) -> None:
        """Let everyone see one's query, or no longer.

        Raises:
            NotYoursError
        """
        self._change(
            sa.update(saved_queries).where(_this(number, key_id)).values(shared=shared), "share a query"
        )

    def delete(self, number: int, key_id: str) -> None:
        """Forget one's query.

        Raises:
            NotYoursError
        """
        self._change(sa.delete(saved_queries).where(_this(number, key_id)), "delete a query")

    def began(self, key_id: str, who: str, statement: str) -> int:
        """Note that a query begins; gives its number. What is older than 90 days is forgotten."""
        with translated("note a query"), self._engine.begin() as connection:
            connection.execute(
                sa.delete(query_history).where(
                    query_history.c.key_id == key_id, query_history.c.at < sa.func.now() - HISTORY_KEPT
                )
            )
            added = sa.insert(query_history).values(key_id=key_id, who=who, statement=statement)
            return int(connection.execute(added.returning(query_history.c.id)).scalar_one())

    def ended(self, number: int, seconds: float, rows: int | None, error: str | None) -> None:
        """Note how it ended."""
        with translated("note the end of a query"), self._engine.begin() as connection:
            connection.execute(
                sa.update(query_history)
                .where(query_history.c.id == number)
                .values(seconds=seconds, rows=rows, error=error)
            )

    def history(self, key_id: str, limit: int = 30) -> list[PastQuery]:
        """What this key ran, the newest first."""
        query = (
            sa.select(*_PAST)
            .where(_own(query_history, key_id))
            .order_by(query_history.c.id.desc())
            .limit(limit)
        )
        with translated("read the history"), self._engine.connect() as connection:
            return [PastQuery(**row._mapping) for row in connection.execute(query)]

    def past(self, number: int, key_id: str) -> PastQuery:
        """One that this key ran.

        Raises:
            NotYoursError
        """
        query = sa.select(*_PAST).where(query_history.c.id == number, _own(query_history, key_id))
        with translated("read the history"), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotYoursError("There is no such query in your history.")
        return PastQuery(**row._mapping)

    def _change(self, statement: Any, doing: str) -> None:
        with translated(doing), self._engine.begin() as connection:
            if not connection.execute(statement).rowcount:
                raise NotYoursError("There is no such query among yours.")


def _this(number: int, key_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(saved_queries.c.id == number, _own(saved_queries, key_id))


def _own(table: sa.Table, key_id: str) -> sa.ColumnElement[bool]:
    """Rows of a key, and of the keys that it was rotated from."""
    line = sa.select(sa.literal(key_id).label("id")).cte("line", recursive=True)
    line = line.union(
        sa.select(api_keys.c.replaces).where(api_keys.c.id == line.c.id, api_keys.c.replaces.is_not(None))
    )
    return table.c.key_id.in_(sa.select(line.c.id))
