"""Avro schemas: reading one, which of two can read the other's data, and what differs between them.

Belongs here: what holds for any Avro schema. Apache's own rules decide what is compatible; fastavro, which the
clients serialise with, must accept a schema too, because it also checks defaults.
Does not belong here: the schemas of events (``schema_versions.py``), where schemas are kept (``stores/``).

Apache's rules follow the types, not the logical types: a change from milliseconds to microseconds is compatible
to them. ``differences`` shows it.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from .verbatim import is_deep

MAX_SCHEMA_CHARACTERS = 128 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SchemaError(ValueError):
    """A text is not an Avro schema; the message says why, shortly."""


class Level(StrEnum):
    """What a new version must be able to do. BACKWARD: read the data of the version before. FORWARD: be read by it.
    FULL: both. TRANSITIVE: the same with every earlier version."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"


@dataclass(frozen=True, slots=True)
class AvroSchema:
    """A schema that was read. Equal to one that says the same, whatever its spaces and order of attributes."""

    text: str = field(compare=False)
    """Compact JSON, attributes in the order they came in."""
    digest: str
    """SHA-256 of the JSON with sorted attributes."""
    parsed: avro.schema.Schema = field(compare=False, repr=False)

    @property
    def json(self) -> Any:
        """The schema as JSON values."""
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a schema's data: its path, such as ``payload.tags``, its type in words, its default as JSON.
    What an array holds is at ``tags[]``, what a map holds at ``tags{}``, unless their own type has said all."""

    path: str
    type: str
    default: str | None


def read_schema(text: str) -> AvroSchema:
    """The schema that a text holds.

    Raises:
        SchemaError: it holds none, or one that clients could not use.
    """
    if len(text) > MAX_SCHEMA_CHARACTERS:
        raise SchemaError(f"{len(text)} characters, at most {MAX_SCHEMA_CHARACTERS} are allowed")
    try:
        if is_deep(text.encode()):
            raise RecursionError
        # A name alone is a schema, in quotes or (Confluent's clients write it so) without.
        value = text if _NAME.fullmatch(text) and text != "null" else json.loads(text, parse_constant=_refuse)
        compact = json.dumps(value, separators=(",", ":"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Unknown logical types are allowed, and mean nothing.
            parsed = avro.schema.parse(compact)
        fastavro.parse_schema(deepcopy(value))
        members = list(_members(value, "", set()))
    except RecursionError:
        raise SchemaError("nested too deep") from None
    except Exception as error:  # noqa: BLE001 (what the two libraries raise for odd JSON is no closed set)
        raise SchemaError(f"{type(error).__name__}: {str(error)[:300]}") from None
    for member in members:
        names = re.split(r"\.|\[\]|\{\}", member.path)
        if not all(_NAME.fullmatch(name) for name in names if name):
            raise SchemaError("a field's name must be letters, digits and _, and not begin with a digit")
    digest = hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return AvroSchema(compact, digest, parsed)


def cannot_read(reader: AvroSchema, writer: AvroSchema) -> str:
    """Why ``reader`` cannot read what was written with ``writer``; '' if it can.

    Raises:
        SchemaError: types refer to each other in too long a chain to tell.
    """
    try:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(reader.parsed, writer.parsed)
    except RecursionError:
        raise SchemaError("its types refer to each other in too long a chain") from None
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ""
    kinds = ", ".join(dict.fromkeys(kind.value.replace("_", " ") for kind in result.incompatibilities))
    return f"{kinds}: {'; '.join(sorted(result.messages))} (at {', '.join(sorted(result.locations))})"


def incompatibilities(level: Level, new: AvroSchema, earlier: Sequence[AvroSchema]) -> tuple[str, ...]:
    """Why ``new`` may not follow the ``earlier`` ones, oldest first; nothing if it may. Raises as ``cannot_read``."""
    problems = []
    compared = list(enumerate(earlier, 1))
    for number, other in compared if level.endswith("TRANSITIVE") else compared[-1:]:
        if level.startswith(("BACKWARD", "FULL")) and (reason := cannot_read(new, other)):
            problems.append(f"the new version cannot read data of version {number}: {reason}")
        if level.startswith(("FORWARD", "FULL")) and (reason := cannot_read(other, new)):
            problems.append(f"version {number} cannot read data of the new version: {reason}")
    return tuple(problems)


def members(schema: AvroSchema) -> tuple[Member, ...]:
    """The members of the schema's data, outer before inner; the whole is the one of path ''."""
    return tuple(_members(schema.json, "", set()))


def differences(old: AvroSchema, new: AvroSchema) -> tuple[str, ...]:
    """What differs, one line a member, in words; nothing if both say the same."""
    before = {member.path: member for member in members(old)}
    after = {member.path: member for member in members(new)}
    lines = []
    for path in dict.fromkeys([*before, *after]):
        was, now = before.get(path), after.get(path)
        name = path or "(the whole)"
        if now is None and was is not None:
            lines.append(f"- {name}: {_in_words(was)}")
        elif was is None and now is not None:
            lines.append(f"+ {name}: {_in_words(now)}")
        elif was is not None and now is not None and was != now:
            lines.append(f"~ {name}: {_in_words(was)}, now {_in_words(now)}")
    if not lines and old != new:
        lines.append("~ only documentation or attributes that readers do not use")
    return tuple(lines)


def _in_words(member: Member) -> str:
    if member.default is not None:
        return f"{member.type}, default {member.default}"
    return (
        member.type if member.path.endswith(("[]", "{}")) or not member.path else f"{member.type}, required"
    )


def _members(value: Any, path: str, seen: set[str], default: str | None = None) -> Iterator[Member]:
    """Walks each named type once: a later mention of it is its name, as in the schema itself."""
    yield Member(path, _type_in_words(value), default)
    kind = value.get("type") if isinstance(value, dict) else value
    if isinstance(kind, dict):
        value, kind = kind, kind.get("type")
    if isinstance(kind, list):
        for branch in kind:
            if isinstance(branch, dict):
                # The union's own line names its branches; what they hold follows.
                inner = _members(branch, path, seen)
                next(inner)
                yield from inner
    elif kind in ("record", "error") and value["name"] not in seen:
        seen.add(value["name"])
        for item in value["fields"]:
            inner_path = f"{path}.{item['name']}" if path else item["name"]
            given = json.dumps(item["default"], sort_keys=True) if "default" in item else None
            yield from _members(item["type"], inner_path, seen, given)
    elif kind in ("array", "map"):
        inner_value, mark = (value["items"], "[]") if kind == "array" else (value["values"], "{}")
        if not isinstance(inner_value, str):
            yield from _members(inner_value, path + mark, seen)


def _type_in_words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " or ".join(_type_in_words(branch) for branch in value)
    kind = value["type"]
    if not isinstance(kind, str):
        return _type_in_words(kind)
    if kind == "enum":
        return f"one of {', '.join(value['symbols'])}"
    if kind in ("array", "map"):
        return f"{kind} of {_type_in_words(value['items' if kind == 'array' else 'values'])}"
    if kind in ("record", "fixed", "error"):
        size = f" of {value['size']} bytes" if kind == "fixed" else ""
        return f"{kind} {value['name']}{size}"
    logical = value.get("logicalType")
    return f"{kind} ({logical})" if logical else kind


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")
