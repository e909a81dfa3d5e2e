"""Dead letters: a rejected message with everything needed to understand, repair and send it again.

Belongs here: the envelope ``wotr.dead_letter/1``, one line of JSON, to and from bytes. Its JSON Schema is
``schemas/dead_letter.1.json``; the model is Snowplow's bad rows (self-describing, versioned, lossless).
Does not belong here: where envelopes are written, or what is done with them.

An envelope depends on the message, its place and the rules only, never on the clock: a batch judged again by the
same rules gives the same bytes.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import orjson

from . import contract
from .reasons import Reason
from .rules import Rejected

SCHEMA = "wotr.dead_letter/1"
PROCESSOR = "wotr_pipeline.events.rules"


class EnvelopeError(ValueError):
    """A line is not a dead letter of this version. The text never holds the line's content."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected message."""

    reason: Reason
    field: str
    message: str
    rules_version: str
    topic: str
    partition: int
    offset: int
    kafka_timestamp: datetime
    """Aware, UTC, milliseconds."""
    batch_id: str
    value: bytes | None
    """The original bytes; None is a tombstone."""
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    event_id: str | None = None
    event_type: str | None = None
    source: str | None = None
    event_timestamp: datetime | None = None
    event_version: str | None = None


def dead_letter(
    rejected: Rejected,
    *,
    topic: str,
    partition: int,
    offset: int,
    kafka_timestamp: datetime,
    batch_id: str,
    value: bytes | None,
    key: bytes | None = None,
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> DeadLetter:
    """The dead letter of a message that today's rules rejected."""
    return DeadLetter(
        reason=rejected.reason,
        field=rejected.field,
        message=rejected.message,
        rules_version=contract.RULES_VERSION,
        topic=topic,
        partition=partition,
        offset=offset,
        kafka_timestamp=kafka_timestamp,
        batch_id=batch_id,
        value=value,
        key=key,
        headers=headers,
        event_id=rejected.id,
        event_type=rejected.event_type,
        source=rejected.source,
        event_timestamp=rejected.timestamp,
        event_version=rejected.version,
    )


def json_schema() -> bytes:
    """The JSON Schema that every envelope keeps."""
    return files(__package__).joinpath("schemas", "dead_letter.1.json").read_bytes()


def to_line(letter: DeadLetter) -> bytes:
    """The envelope as one line of JSON, with its line break."""
    envelope = {
        "schema": SCHEMA,
        "processor": {"name": PROCESSOR, "rules_version": letter.rules_version},
        "failure": {"reason": letter.reason.value, "field": letter.field, "message": letter.message},
        "position": {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "timestamp": _moment_to_text(letter.kafka_timestamp, "milliseconds"),
            "batch_id": letter.batch_id,
        },
        "event": {
            "id": letter.event_id,
            "event_type": letter.event_type,
            "source": letter.source,
            "timestamp": letter.event_timestamp and _moment_to_text(letter.event_timestamp, "microseconds"),
            "version": letter.event_version,
        },
        "message": {
            "key": encode_bytes(letter.key),
            "headers": [{"name": name, "value": encode_bytes(value)} for name, value in letter.headers],
            "value": encode_bytes(letter.value),
        },
    }
    return orjson.dumps(envelope, option=orjson.OPT_APPEND_NEWLINE)


def from_line(line: bytes) -> DeadLetter:
    """The dead letter of one line.

    Raises:
        EnvelopeError: the line is not an envelope, or of another version.
    """
    try:
        envelope = orjson.loads(line)
        if envelope["schema"] != SCHEMA:
            raise EnvelopeError(f"not an envelope of {SCHEMA}")
        failure, position, event = envelope["failure"], envelope["position"], envelope["event"]
        message = envelope["message"]
        return DeadLetter(
            reason=Reason(failure["reason"]),
            field=failure["field"],
            message=failure["message"],
            rules_version=envelope["processor"]["rules_version"],
            topic=position["topic"],
            partition=position["partition"],
            offset=position["offset"],
            kafka_timestamp=datetime.fromisoformat(position["timestamp"]),
            batch_id=position["batch_id"],
            value=decode_bytes(message["value"]),
            key=decode_bytes(message["key"]),
            headers=tuple((header["name"], decode_bytes(header["value"])) for header in message["headers"]),
            event_id=event["id"],
            event_type=event["event_type"],
            source=event["source"],
            event_timestamp=event["timestamp"] and datetime.fromisoformat(event["timestamp"]),
            event_version=event.get("version"),  # Letters of rules before 2026-11-24.1 have none.
        )
    except EnvelopeError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise EnvelopeError(f"not an envelope of {SCHEMA}: {type(error).__name__}") from None


def _moment_to_text(moment: datetime, precision: str) -> str:
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def encode_bytes(value: bytes | None) -> dict[str, object] | None:
    """Bytes as text where they are UTF-8, else as base64; the encoding is said, and the size in bytes."""
    if value is None:
        return None
    try:
        return {"encoding": "utf-8", "size_bytes": len(value), "text": value.decode()}
    except UnicodeDecodeError:
        text = base64.b64encode(value).decode("ascii")
        return {"encoding": "base64", "size_bytes": len(value), "text": text}


def decode_bytes(encoded: dict[str, Any] | None) -> bytes | None:
    if encoded is None:
        return None
    if encoded["encoding"] == "utf-8":
        value: bytes = encoded["text"].encode()
    elif encoded["encoding"] == "base64":
        try:
            value = base64.b64decode(encoded["text"], validate=True)
        except binascii.Error:
            raise EnvelopeError("its base64 is damaged") from None
    else:
        raise EnvelopeError("it names an encoding other than utf-8 and base64")
    if len(value) != encoded["size_bytes"]:
        raise EnvelopeError("its bytes have another size than it says")
    return value
