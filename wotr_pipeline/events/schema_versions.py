"""The Avro schemas of every version of the event contract, and events as their records.

Belongs here: the packaged schemas, which MAJOR of ``payload.version`` keeps which, event to record and back.
Does not belong here: Avro in general (``avro_schemas.py``), registries (``stores/``), the contract's limits on
lengths and patterns, which Avro cannot say (``rules.py`` judges).

``payload.data`` is a string that holds the object's JSON text. Avro has no type for an object of any shape, and a
union of maps, arrays and numbers would change what a producer wrote: 1.0 and 1e2 would come back as other digits,
integers beyond 64 bits not at all. The text keeps every byte, and readers parse it with what they have.

Messages on the topic are JSON; a record is the form of an event for code generators, for other topics, and for
saying what a version is. A schema's attribute ``event_version`` is its MAJOR.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

import orjson

from .avro_schemas import AvroSchema, Level, SchemaError, members, read_schema
from .document import lay_out
from .rules import Accepted

LEVEL = Level.FULL_TRANSITIVE
"""Whoever reads one version can read the data of every other: producers and readers move when they like."""
MAJORS = (1, 2)

AvroRecord = dict[str, object]
"""A record as fastavro and Confluent's serializers take and give it."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """One version of the contract: its MAJOR and its schema."""

    major: int
    schema: AvroSchema

    @property
    def payload_members(self) -> frozenset[str]:
        """Names of the payload's members."""
        paths = (member.path.split(".") for member in members(self.schema))
        return frozenset(
            path[1] for path in paths if len(path) == 2 and path[0] == "payload" and path[1].isidentifier()
        )


@cache
def packaged_versions() -> tuple[SchemaVersion, ...]:
    """The versions that this package knows, oldest first."""
    folder = files(__package__).joinpath("schemas")
    texts = ((major, folder.joinpath(f"event-v{major}.avsc").read_text("utf-8")) for major in MAJORS)
    return tuple(SchemaVersion(major, read_schema(text)) for major, text in texts)


def major_of(version: str) -> int:
    """The MAJOR of a contract's version such as ``2.0``."""
    return int(version.partition(".")[0])


def schema_version(text: str) -> SchemaVersion:
    """The version of the contract that a schema says it is.

    Raises:
        SchemaError: it is no Avro schema, or without the attribute ``event_version``.
    """
    schema = read_schema(text)
    value = schema.json
    major = value.get("event_version") if isinstance(value, dict) else None
    if not isinstance(major, int):
        raise SchemaError("it has no attribute event_version")
    return SchemaVersion(major, schema)


def record_of(event: Accepted, version: SchemaVersion) -> AvroRecord:
    """The event as a record of ``version``; members that this version does not have are left out."""
    payload = b'{"payload":' + event.payload.encode() + b"}"
    data = lay_out(payload).data
    if data is None:
        raise AssertionError("the payload of an accepted event has an object data")
    written = {
        "event_type": event.event_type,
        "source": event.source,
        "user_id": event.user_id or None,
        "session_id": event.session_id or None,
        "ip_address": event.ip_address or None,
        "data": payload[slice(*data)].decode(),
        "tags": list(event.tags),
        "version": event.version,
    }
    known = version.payload_members
    return {
        "id": event.id,
        "timestamp": event.timestamp,
        "payload": {name: value for name, value in written.items() if name in known},
    }


def event_of(record: Mapping[str, object]) -> bytes:
    """The event of a record, of any version, as JSON for the topic or the gateway; data as it was written.

    Raises:
        KeyError, TypeError: the record is of another schema.
    """
    payload, moment = record["payload"], record["timestamp"]
    if not isinstance(payload, Mapping) or not isinstance(moment, datetime):
        raise TypeError("not a record of an event")
    kept = {name: value for name, value in payload.items() if value is not None and value != []}
    return orjson.dumps(
        {
            "id": record["id"],
            "timestamp": moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z",
            "payload": kept | {"data": orjson.Fragment(payload["data"])},
        }
    )
