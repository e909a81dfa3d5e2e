"""Results of the explorer, kept for a few minutes so that their pages are pages of one and the same result.

A query that is run again for each page (LIMIT, OFFSET) shows rows twice or never, because rows arrive meanwhile and
have no order of their own. So the first rows are kept, as the engine wrote them; the whole result is what an export is
for.

Belongs here: keeping, forgetting, cutting into pages. Does not belong here: running (``stores/warehouse_reader.py``).
"""

import math
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from ..stores.warehouse_reader import Column, Rows, values_of

PAGE_ROWS = 100
MOST_ROWS = 10_000
MOST_BYTES = 8 * 1024 * 1024
"""Kept of one result."""
MOST_KEPT_BYTES = 96 * 1024 * 1024
MOST_KEPT_OF_ONE = 8
KEPT_SECONDS = 900.0
CELL_CHARACTERS = 160
"""Shown in the table; the whole value is behind a link."""
NULL = "ᴺᵁᴸᴸ"
"""How the engine writes it in this format."""


@dataclass(frozen=True)
class Cell:
    """One value as the table shows it."""

    text: str
    is_cut: bool
    is_null: bool


@dataclass(frozen=True)
class Result:
    """The rows of one run."""

    token: str
    key_id: str
    statement: str
    rows: Rows
    seconds: float
    ends_at: float

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of every row."""
        return self.rows.columns

    @property
    def count(self) -> int:
        """Rows that are kept."""
        return len(self.rows.rows)

    @property
    def pages(self) -> int:
        """At least one."""
        return max(1, math.ceil(self.count / PAGE_ROWS))

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        return len(self.statement) + sum(len(row) + 60 for row in self.rows.rows)

    def values(self, page: int) -> list[list[str | None]]:
        """The rows of a page, whole."""
        nullable = ["Null" in column.type for column in self.columns]
        return [
            [
                None if can_be_null and value == NULL else value
                for value, can_be_null in zip(values_of(row), nullable, strict=True)
            ]
            for row in self.rows.rows[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
        ]

    def cells(self, page: int) -> list[list[Cell]]:
        """The rows of a page, as they are shown."""
        return [[_cell(value) for value in row] for row in self.values(page)]

    def first_row(self, page: int) -> int:
        """Number of the page's first row, from 1 on."""
        return (page - 1) * PAGE_ROWS + 1


@dataclass
class KeptResults:
    """The results of all people; of each, only they see them."""

    _kept: OrderedDict[str, Result] = field(default_factory=OrderedDict)

    def keep(self, key_id: str, statement: str, rows: Rows, seconds: float) -> Result:
        """Keep a result; older ones make room."""
        result = Result(
            secrets.token_urlsafe(16), key_id, statement, rows, seconds, time.monotonic() + KEPT_SECONDS
        )
        self._kept[result.token] = result
        of_one = [token for token, kept in self._kept.items() if kept.key_id == key_id]
        for token in of_one[:-MOST_KEPT_OF_ONE]:
            del self._kept[token]
        self._forget_old()
        while len(self._kept) > 1 and sum(kept.size for kept in self._kept.values()) > MOST_KEPT_BYTES:
            self._kept.popitem(last=False)
        return result

    def find(self, token: str, key_id: str) -> Result | None:
        """The result, if it is still kept and theirs."""
        self._forget_old()
        result = self._kept.get(token)
        return result if result is not None and result.key_id == key_id else None

    def _forget_old(self) -> None:
        now = time.monotonic()
        for token in [token for token, kept in self._kept.items() if kept.ends_at < now]:
            del self._kept[token]


def _cell(value: str | None) -> Cell:
    if value is None:
        return Cell("NULL", is_cut=False, is_null=True)
    return Cell(value[:CELL_CHARACTERS], is_cut=len(value) > CELL_CHARACTERS, is_null=False)
