"""Events of senders who leave out id or timestamp: completed in their bytes, and judged as the pipeline will.

Belongs here: putting in what is absent. Does not belong here: choosing it (``gateway/intake.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from .document import Document, DocumentError, read_document
from .members import members_of
from .refusals import RepairError
from .rules import Accepted, Rejected, judge_document


@dataclass(frozen=True, slots=True)
class Completed:
    """A message as it is to be published, with the verdict on exactly these bytes."""

    text: bytes
    verdict: Accepted | Rejected
    has_new_id: bool = False
    """Whether the id was put in."""


def completed(value: bytes, new_id: Callable[[], str], now: datetime) -> Completed:
    """The message with a new id and ``now`` in the place of an absent or null id and timestamp.

    All other bytes stay as they are. Never raises, whatever the bytes.
    """
    try:
        document = read_document(value)
    except DocumentError as error:
        return Completed(value, Rejected(error.reason, error.path, error.message))
    root = document.root
    has_new_id = False
    if isinstance(root, dict):
        absent: dict[str, str] = {}
        if root.get("id") is None:
            absent["id"] = new_id()
            has_new_id = True
        if root.get("timestamp") is None:
            absent["timestamp"] = timestamp_of(now)
        if absent:
            document = _with(document, root, absent)
    return Completed(document.text, judge_document(document), has_new_id)


def timestamp_of(moment: datetime) -> str:
    """A moment as the contract writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _with(document: Document, root: dict[str, object], absent: dict[str, str]) -> Document:
    text = document.text
    if any(name in root for name in absent):  # as null, whose bytes have to go
        try:
            for name, value in absent.items():
                text = members_of(text).with_value(name, orjson.dumps(value))
        except RepairError:
            return document  # a member is there twice: the rules say so
    else:
        place = text.index(b"{") + 1
        added = orjson.dumps(absent)[1:-1]
        text = text[:place] + added + (b"," if root else b"") + text[place:]
    return Document(text, {**absent, **{name: value for name, value in root.items() if name not in absent}})
