"""The members of an event's document and payload as byte ranges, and edits that leave all other bytes alone.

Belongs here: finding the members of a message that is JSON, and putting in, replacing or taking out one.
Does not belong here: what a member should be (``transformations.py``), parsing (``document.py``).

A message that is parsed and written again has other bytes: ``1.0`` and ``1e2`` change, escapes are resolved, of a
key that is there twice one is lost, and what is nested deep cannot be written at all. An edit of one byte range
has none of these worries, and is faster.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import orjson

from . import contract
from .document import BRACKET, STRING, DocumentError, Path, key_text, read_document
from .reasons import Reason
from .refusals import Refusal, RepairError

_SPACE = rb"[ \t\n\r]*+"
_MEMBER = re.compile(
    _SPACE
    + b",?"
    + _SPACE
    + b"("
    + STRING
    + b")"
    + _SPACE
    + b":"
    + _SPACE
    + b"("
    + STRING
    + rb'|[^ \t\n\r,{}\[\]"]++|[{\[])',
    re.DOTALL,
)
_SPACE_AND_COMMA = re.compile(_SPACE + b"," + _SPACE)
_PAYLOAD: Path = ("payload",)
_REFUSALS = {
    Reason.EMPTY_MESSAGE: Refusal.EMPTY_MESSAGE,
    Reason.NESTING_TOO_DEEP: Refusal.NESTING_TOO_DEEP,
}


Span = tuple[int, int, int]
"""Where a member lies in the message: its key's first byte, its value's first and the one after its last."""


@dataclass(frozen=True, slots=True)
class Members:
    """The members of a message's document and payload, none of them twice."""

    text: bytes
    root: dict[str, object]
    """The message's value."""
    spans: Mapping[Path, Span]

    def value(self, path: Path) -> object:
        """The parsed value of a member; None if it is null or absent."""
        parent: object = self.root
        for name in path[:-1]:
            parent = cast(dict[str, object], parent).get(name)
        return parent.get(path[-1]) if isinstance(parent, dict) else None

    def token(self, path: Path) -> bytes:
        """The text of a member's value as it was written; empty if it is absent."""
        _, start, end = self.spans.get(path, (0, 0, 0))
        return self.text[start:end]

    def replaced(self, changes: Mapping[Path, bytes]) -> bytes:
        """The message with other texts for the values of members that are there."""
        text = self.text
        # From the last to the first, so that the places of those before stay right.
        for path in sorted(changes, key=self.spans.__getitem__, reverse=True):
            _, start, end = self.spans[path]
            text = text[:start] + changes[path] + text[end:]
        return text

    def with_value(self, name: str, token: bytes) -> bytes:
        """The message with this text for the value of a member of the document, which may be absent."""
        if (name,) in self.spans:
            return self.replaced({(name,): token})
        place = self.text.index(b"{") + 1
        comma = b"," if self.root else b""
        return self.text[:place] + orjson.dumps(name) + b":" + token + comma + self.text[place:]

    def removed(self, path: Path) -> bytes:
        """The message without a member that is there."""
        start, _, end = self.spans[path]
        before, after = self.text[:start], self.text[end:]
        if (comma := _SPACE_AND_COMMA.match(after)) is not None:
            return before + after[comma.end() :]
        return before.rstrip(b" \t\n\r").removesuffix(b",") + after


def members_of(value: bytes) -> Members:
    """The members of one message.

    Raises:
        RepairError: the message is not JSON or not an object, or has a member twice.
    """
    root = read_json(value)
    if not isinstance(root, dict):
        raise RepairError(Refusal.DOES_NOT_APPLY, "the message is not an object")
    spans: dict[Path, Span] = {}
    _read(value, value.index(b"{") + 1, (), spans)
    return Members(value, root, spans)


def read_json(value: bytes) -> object:
    """The value of a message.

    Raises:
        RepairError: it is not JSON as the contract means it.
    """
    try:
        return read_document(value).root
    except DocumentError as error:
        raise RepairError(_REFUSALS.get(error.reason, Refusal.NOT_JSON), error.message) from None


def _read(text: bytes, position: int, parent: Path, spans: dict[Path, Span]) -> int:
    """Note the members of the object that starts before ``position``; gives the place after its last byte."""
    while (match := _MEMBER.match(text, position)) is not None:
        path = (*parent, key_text(match[1]))
        if path in spans:
            where = ".".join(path if path in contract.KNOWN_PATHS else parent) or "the document"
            raise RepairError(Refusal.DUPLICATE_KEY, f"{where}: a key is there more than once")
        value_start, end = match.span(2)
        if match[2] == b"{" and path == _PAYLOAD:
            end = _read(text, end, path, spans)
        elif match[2] in (b"{", b"["):
            end = _end_of(text, value_start)
        spans[path] = (match.start(1), value_start, end)
        position = end
    return text.index(b"}", position) + 1


def _end_of(text: bytes, position: int) -> int:
    """The place after the array or object that starts at ``position``."""
    depth = 0
    for bracket in BRACKET.finditer(text, position):
        depth += 1 if bracket[1] in b"{[" else -1
        if depth == 0:
            return bracket.end()
    raise AssertionError("in a JSON document all brackets are closed")
