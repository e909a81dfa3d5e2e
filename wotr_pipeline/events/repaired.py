"""A repaired version of a dead letter: the bytes that are sent instead of the original ones.

Belongs here: one line of JSON, ``wotr.repaired_letter/1``, to and from bytes.
Does not belong here: how a repair changes a message (``repair.py``), or the original (``envelope.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from .envelope import EnvelopeError, decode_bytes, encode_bytes

SCHEMA = "wotr.repaired_letter/1"


@dataclass(frozen=True, slots=True)
class RepairedLetter:
    """One version. ``letter`` is the dead letter's name; ``repair`` says how it was made, without content."""

    letter: str
    version: int
    who: str
    at: datetime
    repair: Mapping[str, object]
    value: bytes


def to_line(version: RepairedLetter) -> bytes:
    """The version as one line of JSON, with its line break."""
    described = {
        "schema": SCHEMA,
        "letter": version.letter,
        "version": version.version,
        "who": version.who,
        "at": version.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "repair": dict(version.repair),
        "value": encode_bytes(version.value),
    }
    return orjson.dumps(described, option=orjson.OPT_APPEND_NEWLINE)


def from_line(line: bytes) -> RepairedLetter:
    """The version of one line.

    Raises:
        EnvelopeError: the line is not a repaired version.
    """
    try:
        described = orjson.loads(line)
        if described["schema"] != SCHEMA:
            raise EnvelopeError(f"not a line of {SCHEMA}")
        return RepairedLetter(
            letter=described["letter"],
            version=described["version"],
            who=described["who"],
            at=datetime.fromisoformat(described["at"]),
            repair=described["repair"],
            value=decode_bytes(described["value"]) or b"",
        )
    except EnvelopeError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise EnvelopeError(f"not a line of {SCHEMA}: {type(error).__name__}") from None
