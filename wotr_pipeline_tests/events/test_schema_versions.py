"""Every event as a record of every version: nothing lost, and each version reads the data of the other."""

import io
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import cast

import fastavro
import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from wotr_pipeline.events import contract
from wotr_pipeline.events.avro_schemas import cannot_read
from wotr_pipeline.events.document import lay_out
from wotr_pipeline.events.rules import Accepted, judge
from wotr_pipeline.events.schema_versions import (
    LEVEL,
    AvroRecord,
    SchemaVersion,
    event_of,
    major_of,
    packaged_versions,
    record_of,
    schema_version,
)

from . import messages

V1, V2 = packaged_versions()
quickly = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def through_avro(record: AvroRecord, writer: SchemaVersion, reader: SchemaVersion) -> AvroRecord:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, writer.schema.json, record)
    written.seek(0)
    return cast(AvroRecord, fastavro.schemaless_reader(written, writer.schema.json, reader.schema.json))


def payload_of(record: Mapping[str, object]) -> dict[str, object]:
    return cast(dict[str, object], record["payload"])


def accepted(message: bytes) -> Accepted:
    verdict = judge(message)
    assert isinstance(verdict, Accepted)
    return verdict


def data_of(event: Accepted) -> bytes:
    text = b'{"payload":' + event.payload.encode() + b"}"
    data = lay_out(text).data
    assert data is not None
    return text[slice(*data)]


def test_the_schemas_have_the_contracts_members_and_event_types() -> None:
    assert V1.payload_members == {"event_type", "source", "data"}
    known = {path[1] for path in contract.KNOWN_PATHS if len(path) == 2 and path[0] == "payload"}
    assert V2.payload_members == known
    for version in packaged_versions():
        fields = {field["name"]: field["type"] for field in version.schema.json["fields"]}
        (kinds,) = [field for field in fields["payload"]["fields"] if field["name"] == "event_type"]
        assert set(kinds["type"]["symbols"]) == contract.EVENT_TYPES
        assert schema_version(version.schema.text) == version
    assert (
        payload_of(through_avro(record_of(accepted(GOOD), V1), V1, V2))["version"] == contract.DEFAULT_VERSION
    )


def test_every_version_reads_the_data_of_every_other() -> None:
    assert LEVEL == "FULL_TRANSITIVE"
    for reader, writer in permutations(packaged_versions(), 2):
        assert cannot_read(reader.schema, writer.schema) == ""


@quickly
@given(messages.well_formed() | messages.odd())
def test_an_event_comes_back_from_its_record_as_it_was(message: bytes) -> None:
    verdict = judge(message)
    if not isinstance(verdict, Accepted):
        return
    again = accepted(event_of(through_avro(record_of(verdict, V2), V2, V2)))
    assert replace(again, payload="") == replace(verdict, payload="")
    assert data_of(again) == data_of(verdict)


@quickly
@given(messages.well_formed())
def test_old_readers_read_new_events_and_new_readers_old_ones(message: bytes) -> None:
    verdict = judge(message)
    if not isinstance(verdict, Accepted):
        return
    old, new = record_of(verdict, V1), record_of(verdict, V2)
    assert through_avro(new, V2, V1) == old
    absent: dict[str, object] = {
        "user_id": None,
        "session_id": None,
        "ip_address": None,
        "tags": [],
        "version": "1.0",
    }
    read = through_avro(old, V1, V2)
    assert payload_of(read) == payload_of(old) | absent
    assert accepted(event_of(read)).version == "1.0"


GOOD = b'{"id":"e","timestamp":"2026-11-24T08:00:00Z","payload":{"event_type":"api_call","source":"s","data":{}}}'


@pytest.mark.parametrize(
    "data", [b'{"a":1.0}', b'{"a":1e2,"b":-0.0}', b'{ "a" : 12345678901234567890123 }', b'{"a":1,"a":2}']
)
def test_data_keeps_every_byte(data: bytes) -> None:
    verdict = accepted(GOOD.replace(b'"data":{}', b'"data":' + data))
    for version in packaged_versions():
        event = event_of(through_avro(record_of(verdict, version), version, version))
        assert data in event
        assert orjson.loads(event)["payload"]["source"] == "s"


def test_the_major_number_tells_the_version() -> None:
    assert [major_of(text) for text in ("1.0", "1.12", "2.0", "10.3")] == [1, 1, 2, 10]
