"""Everything that is wrong with a rejected event, for whoever sends it: a verdict names only the first thing.

Belongs here: looking past the first broken rule. Does not belong here: rules. They are asked again, each time with a
harmless value in the place of what they refused, so that this can never say anything else than they do.
"""

import re

from .document import Document, DocumentError, read_document
from .rules import Accepted, Rejected, Substitutes, judge_document

MOST_PROBLEMS = 20

_HARMLESS: dict[str, object] = {
    "id": "x",
    "timestamp": "2026-01-01T00:00:00Z",
    "payload": {"event_type": "api_call", "source": "x", "data": {}},
    "payload.event_type": "api_call",
    "payload.source": "x",
    "payload.user_id": None,
    "payload.session_id": None,
    "payload.ip_address": None,
    "payload.data": {},
    "payload.data.metric_name": "x",
    "payload.data.metric_value": 1,
    "payload.tags": None,
    "payload.version": None,
}
_HARMLESS_TEXT = b'{"payload":{"data":{}}}'
_TAG = re.compile(r"payload\.tags\[(\d+)\]")


def problems(
    value: bytes | None, first: Rejected, substitutes: Substitutes | None = None
) -> tuple[Rejected, ...]:
    """All that is wrong with the message that was rejected as ``first``; at most MOST_PROBLEMS, in the rules' order."""
    found = [first]
    try:
        document = read_document(value or b"")
    except DocumentError:
        return (first,)
    root, text = _own(document.root), document.text
    while len(found) < MOST_PROBLEMS and _mend(root, found[-1].field):
        if found[-1].field in ("payload", "payload.data"):
            text = _HARMLESS_TEXT  # the bytes have no place for what stands there now
        verdict = judge_document(Document(text, root), substitutes)
        if isinstance(verdict, Accepted) or (verdict.field, verdict.reason) == (
            found[-1].field,
            found[-1].reason,
        ):
            break
        found.append(verdict)
    return tuple(found)


def _own(value: object, names: tuple[str, ...] = ("payload",)) -> object:
    """A copy of what may be mended. Not a deep one: what is nested deep cannot be copied so."""
    if isinstance(value, list):
        return list(value)
    if not isinstance(value, dict):
        return value
    inner = {name: _own(value[name], ("data", "tags")) for name in names if name in value}
    return value | inner


def _mend(root: object, field: str) -> bool:
    """Put something harmless in the field's place; whether there is such a place."""
    if not isinstance(root, dict):
        return False
    if (tag := _TAG.fullmatch(field)) is not None:
        root["payload"]["tags"][int(tag[1])] = "x"
        return True
    if field not in _HARMLESS:
        return False
    *parents, name = field.split(".")
    place = root
    for parent in parents:
        place = place[parent]
    place[name] = _own(_HARMLESS[field])
    return True
