"""The runbook's queries, ready to click: the files of ``sql/explorer/``.

A file's first comment line is its title, the second says when to use it.

Belongs here: reading those files. Does not belong here: queries of people (``stores/saved_queries.py``).
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .. import sql


@dataclass(frozen=True)
class RunbookQuery:
    """One of them."""

    name: str
    title: str
    when: str
    statement: str


@cache
def runbook_queries() -> tuple[RunbookQuery, ...]:
    """All of them, by title."""
    found = []
    for file in files(sql).joinpath("explorer").iterdir():
        if file.name.endswith(".sql"):
            title, when, statement = file.read_text(encoding="utf-8").strip().split("\n", 2)
            name = file.name.removesuffix(".sql")
            found.append(RunbookQuery(name, title.lstrip("- "), when.lstrip("- "), statement))
    return tuple(sorted(found, key=lambda query: query.title))


def runbook_query(name: str) -> RunbookQuery | None:
    """The one of that name."""
    return next((query for query in runbook_queries() if query.name == name), None)
