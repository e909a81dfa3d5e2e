"""A message shown without its content: for people who must see what is wrong, and not whose it is.

Belongs here: which parts of a message may be shown as they are, and what stands for the others.
Does not belong here: who may see a whole message.

Shown are the structure, types and lengths; the names that the contract knows (any other key can hold anything); and
event_type, source and version where they keep their rule, for those are of closed sets or name a service.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import orjson

from . import contract, verbatim
from .document import Path
from .reasons import Reason
from .rules import Accepted, Rejected, judge
from .verbatim import Number

MAX_BYTES = 16 * 1024
MAX_DEPTH = 16
"""Levels that are shown. Of what lies deeper only the type and the number of members."""

_KEPT_FREE = 4 * 1024
"""Room for what is still to be written when the page is full: that more is there, and the open brackets."""
_INSTEAD = {
    Reason.INVALID_ENCODING: "not UTF-8",
    Reason.MALFORMED_JSON: "not JSON",
    Reason.NESTING_TOO_DEEP: "nested too deep",
}


def masked(value: bytes | None) -> str:
    """The message as indented JSON without its content, at most MAX_BYTES of it. Never raises."""
    if not value:
        return "<no value>" if value is None else "<0 bytes>"
    verdict = judge(value)
    problem = _INSTEAD.get(verdict.reason) if isinstance(verdict, Rejected) and not verdict.field else None
    if problem is None and verbatim.is_deep(value):
        problem = "nested too deep to be shown"
    if problem is not None:
        return f"<{len(value):,} bytes, {problem}>"
    return _Page(MAX_BYTES - _KEPT_FREE, _shown(verdict)).text(_DECODER.decode(value.decode()), (), 0)


class _Members(tuple[tuple[str, object], ...]):
    """The members of an object, also those that are there twice."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Members, parse_float=Number, parse_int=Number)


def _shown(verdict: Accepted | Rejected) -> dict[Path, str | None]:
    """What may be seen: what the rules themselves could read."""
    return {
        ("payload", "event_type"): verdict.event_type,
        ("payload", "source"): verdict.source,
        ("payload", "version"): verdict.version,
    }


@dataclass(slots=True)
class _Page:
    """What has been written so far is counted, so that the result has an end."""

    bytes_left: int
    shown: dict[Path, str | None]

    def text(self, value: object, path: Path | None, depth: int) -> str:
        """The masked text of a value. ``path`` is None below names that the contract does not know."""
        if not isinstance(value, _Members | list):
            return self._scalar(value, path)
        opening, closing = "{}" if isinstance(value, _Members) else "[]"
        if not value:
            return opening + closing
        if depth == MAX_DEPTH:
            kind = "object" if isinstance(value, _Members) else "array"
            return f'"<{kind} of {len(value):,}>"'
        indent = "\n" + "  " * (depth + 1)
        lines = ("," + indent).join(self._lines(value, path, depth + 1))
        return f"{opening}{indent}{lines}{indent[:-2]}{closing}"

    def _lines(self, value: "_Members | list[object]", path: Path | None, depth: int) -> Iterator[str]:
        for index, item in enumerate(value):
            if self.bytes_left <= 0:
                rest = f'"<{len(value) - index:,} more>"'
                yield f'{rest}: "<not shown>"' if isinstance(value, _Members) else rest
                return
            start, inner, inner_path = "", item, None
            if isinstance(value, _Members):
                name, inner = cast(tuple[str, object], item)
                inner_path = None if path is None else (*path, name)
                is_known = inner_path in contract.KNOWN_PATHS
                start = f'"{name}": ' if is_known else f'"<name of {_length(name)}>": '
                inner_path = inner_path if is_known else None
            self.bytes_left -= 2 * depth + len(start) + 2
            line = start + self.text(inner, inner_path, depth)
            if not isinstance(inner, _Members | list):
                self.bytes_left -= len(line.encode())
            yield line

    def _scalar(self, value: object, path: Path | None) -> str:
        if value is None:
            return "null"
        if isinstance(value, bool):
            return '"<boolean>"'
        if isinstance(value, Number):
            return f'"<number of {_length(value.text)}>"'
        text = cast(str, value)
        if path is not None and self.shown.get(path) == text:
            return orjson.dumps(text).decode()
        return f'"<string of {_length(text)}>"'


def _length(text: str) -> str:
    return f"{len(text):,} character{'' if len(text) == 1 else 's'}"
