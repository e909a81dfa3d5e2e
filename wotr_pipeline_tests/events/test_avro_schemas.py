"""Avro schemas: what is one, what may follow what, and that what is called compatible can be read."""

import io
import json

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.avro_schemas import (
    MAX_SCHEMA_CHARACTERS,
    Level,
    SchemaError,
    cannot_read,
    differences,
    incompatibilities,
    read_schema,
)

INT, LONG, STRING = (read_schema(f'"{name}"') for name in ("int", "long", "string"))
quickly = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def record(*fields: dict[str, object]) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": list(fields)})


def chain(length: int, innermost: str = "int") -> str:
    """Records of which each holds the one before, twice; side by side in a union."""
    return json.dumps(
        [
            {
                "type": "record",
                "name": f"R{number}",
                "fields": [
                    {"name": name, "type": f"R{number - 1}" if number else innermost} for name in "ab"
                ],
            }
            for number in range(length)
        ]
    )


@pytest.mark.parametrize(
    "text",
    ["", "{", "5", "null", '""', "{}", "[" * 100_000, '{"type":"record"}', '["int","int"]', '["int",["string"]]', "\ud800",
     " " * MAX_SCHEMA_CHARACTERS + '"int"', '{"type":"enum","name":"E","symbols":["A","A"]}', '{"type":"fixed","name":"F","size":-1}',
     record({"name": "a", "type": "nonsense"}), record({"name": "a", "type": "int", "default": "x"}),
     record({"name": "a b", "type": "int"}), record({"name": "a", "type": "int"}, {"name": "a", "type": "int"}),
     '{"type":"double","size":NaN}'],
)  # fmt: skip
def test_a_text_that_clients_could_not_use_is_no_schema(text: str) -> None:
    with pytest.raises(SchemaError) as error:
        read_schema(text)
    assert 0 < len(str(error.value)) < 500


def test_spaces_and_the_order_of_attributes_make_no_other_schema() -> None:
    text = record({"name": "a", "type": "int"})
    same = json.dumps(dict(reversed(json.loads(text).items())), indent=4)
    assert read_schema(same) == read_schema(text)
    assert read_schema(record({"name": "b", "type": "int"})) != read_schema(text)


@pytest.mark.parametrize(
    ("level", "to_long", "to_int", "third"),
    [
        (Level.NONE, True, True, True),
        (Level.BACKWARD, True, False, True),
        (Level.BACKWARD_TRANSITIVE, True, False, False),
        (Level.FORWARD, False, True, False),
        (Level.FORWARD_TRANSITIVE, False, True, False),
        (Level.FULL, False, False, False),
        (Level.FULL_TRANSITIVE, False, False, False),
    ],
)
def test_each_level_lets_through_what_it_says(level: Level, to_long: bool, to_int: bool, third: bool) -> None:
    assert (incompatibilities(level, LONG, [INT]) == ()) is to_long
    assert (incompatibilities(level, INT, [LONG]) == ()) is to_int
    assert (incompatibilities(level, LONG, [STRING, INT]) == ()) is third
    assert incompatibilities(level, LONG, []) == ()


def test_an_incompatibility_says_who_cannot_read_whom_and_where() -> None:
    old = read_schema(record({"name": "a", "type": "int"}))
    new = read_schema(record({"name": "a", "type": "int"}, {"name": "b", "type": "int"}))
    (problem,) = incompatibilities(Level.FULL, new, [old])
    assert problem == (
        "the new version cannot read data of version 1: reader field missing default value: b (at /fields/1)"
    )


def test_schemas_made_to_be_dear_are_compared_within_bounds() -> None:
    assert len(cannot_read(read_schema(chain(30)), read_schema(chain(30, "string")))) < 10_000
    with pytest.raises(SchemaError, match="refer to each other"):
        cannot_read(read_schema(chain(1000)), read_schema(chain(1000, "string")))


TYPES = st.sampled_from(
    ["int", "long", "double", "string", "bytes", "boolean", ["null", "int"], ["null", "string"], ["int", "string"],
     {"type": "array", "items": "int"}, {"type": "map", "values": "long"}]
)  # fmt: skip
VALUES = {
    "int": 7,
    "long": 7,
    "double": 0.5,
    "string": "s",
    "bytes": b"b",
    "boolean": True,
    "array": [1],
    "map": {"a": 1},
}


@st.composite
def records(draw: st.DrawFn) -> str:
    fields: list[dict[str, object]] = []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1)):
        kind = draw(TYPES)
        made: dict[str, object] = {"name": name, "type": kind}
        if isinstance(kind, list) and kind[0] == "null" and draw(st.booleans()):
            made["default"] = None
        if kind in ("int", "long") and draw(st.booleans()):
            made["default"] = 1
        fields.append(made)
    return record(*fields)


def value_of(kind: object) -> object:
    name = kind["type"] if isinstance(kind, dict) else kind[-1] if isinstance(kind, list) else kind
    return VALUES[str(name)]


@quickly
@given(records(), records())
def test_what_is_called_compatible_can_be_read(writer: str, reader: str) -> None:
    if cannot_read(read_schema(reader), read_schema(writer)):
        return
    written = io.BytesIO()
    values = {field["name"]: value_of(field["type"]) for field in json.loads(writer)["fields"]}
    fastavro.schemaless_writer(written, json.loads(writer), values)
    written.seek(0)
    read = fastavro.schemaless_reader(written, json.loads(writer), json.loads(reader))
    assert isinstance(read, dict)
    assert set(read) == {field["name"] for field in json.loads(reader)["fields"]}


def test_differences_are_one_readable_line_a_member() -> None:
    old = read_schema(
        record(
            {"name": "gone", "type": "int"},
            {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["a", "b"]}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "same", "type": "string"},
        )
    )
    inner = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int", "default": 0}]}
    new = read_schema(
        record(
            {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["a", "b", "c"]}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "same", "type": "string", "doc": "said"},
            {"name": "many", "type": {"type": "array", "items": inner}, "default": []},
        )
    )
    assert differences(old, new) == (
        "- gone: int, required",
        "~ kind: one of a, b, required, now one of a, b, c, required",
        "~ at: long (timestamp-millis), required, now long (timestamp-micros), required",
        "+ many: array of record I, default []",
        "+ many[]: record I",
        "+ many[].x: int, default 0",
    )
    assert differences(old, old) == ()
    documented = read_schema(json.dumps(old.json | {"doc": "said"}))
    assert differences(old, documented) == ("~ only documentation or attributes that readers do not use",)
