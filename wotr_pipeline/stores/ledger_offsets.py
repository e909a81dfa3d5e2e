"""Sets of offsets as PostgreSQL keeps them: a multirange, so that a whole replay is a few bytes.

Belongs here: the translation, both ways. The driver knows no multiranges, so they travel as text.
Does not belong here: what the offsets mean (``ledger.py``).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE

_RANGE = re.compile(r"\[(\d+),(\d+)\)")


def as_multirange(offsets: Iterable[int]) -> sa.ColumnElement[Any]:
    """Ascending offsets as a value for a column of type int8multirange."""
    text = ",".join(f"[{first},{last}]" for first, last in _runs(offsets))
    return sa.cast(f"{{{text}}}", INT8MULTIRANGE())


def offsets_of(multirange: str) -> list[int]:
    """The offsets of a multirange that was read as text (its canonical form), ascending."""
    return [offset for match in _RANGE.finditer(multirange) for offset in range(int(match[1]), int(match[2]))]


def _runs(offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for offset in offsets:
        if first is not None and last is not None and offset == last + 1:
            last = offset
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = offset
    if first is not None and last is not None:
        yield first, last
