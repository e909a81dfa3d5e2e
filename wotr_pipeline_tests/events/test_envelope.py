"""Dead letters lose nothing, keep their schema, and are the same bytes each time."""

import json
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.contract import EVENT_TYPES
from wotr_pipeline.events.envelope import (
    DeadLetter,
    EnvelopeError,
    dead_letter,
    from_line,
    json_schema,
    to_line,
)
from wotr_pipeline.events.reasons import Reason
from wotr_pipeline.events.rules import Rejected, judge

from . import messages

SCHEMA = jsonschema.Draft202012Validator(json.loads(json_schema()))
MOMENTS = st.integers(0, 10**16).map(
    lambda micros: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)
)
BYTES = st.none() | st.binary(max_size=30) | st.text(max_size=20).map(str.encode)
LETTERS = st.builds(
    DeadLetter,
    reason=st.sampled_from(Reason),
    field=st.text(max_size=10),
    message=st.text(max_size=20),
    rules_version=st.text(min_size=1, max_size=10),
    topic=st.text(min_size=1, max_size=10),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    kafka_timestamp=MOMENTS.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)),
    batch_id=st.text(min_size=1, max_size=10),
    value=BYTES,
    key=BYTES,
    headers=st.lists(st.tuples(st.text(max_size=5), BYTES), max_size=2).map(tuple),
    event_id=st.none() | st.text(min_size=1, max_size=20),
    event_type=st.none() | st.sampled_from(sorted(EVENT_TYPES)),
    source=st.none() | st.text(min_size=1, max_size=20),
    event_timestamp=st.none() | MOMENTS,
    event_version=st.none() | messages.VERSION,
)
quickly = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
PLACE = {
    "topic": "ingest-events",
    "partition": 0,
    "offset": 7,
    "kafka_timestamp": datetime(2026, 11, 23, 8, tzinfo=UTC),
    "batch_id": "ingest-events:0:0-9",
}


@quickly
@given(LETTERS)
def test_an_envelope_gives_back_the_letter_and_keeps_the_schema(letter: DeadLetter) -> None:
    line = to_line(letter)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert from_line(line) == letter
    SCHEMA.validate(json.loads(line))


@quickly
@given(messages.odd() | messages.damaged() | st.binary(max_size=40) | st.none())
def test_whatever_is_rejected_comes_back_byte_for_byte(value: bytes | None) -> None:
    verdict = judge(value)
    if isinstance(verdict, Rejected):
        line = to_line(dead_letter(verdict, value=value, **PLACE))
        assert line == to_line(dead_letter(judge(value), value=value, **PLACE))
        assert from_line(line).value == value
        SCHEMA.validate(json.loads(line))


def test_an_envelope_written_before_letters_had_a_version_is_read_and_keeps_the_schema() -> None:
    envelope = json.loads(to_line(dead_letter(judge(b"?"), value=b"?", **PLACE)))
    del envelope["event"]["version"]
    SCHEMA.validate(envelope)
    assert from_line(json.dumps(envelope).encode()).event_version is None


def test_the_schema_names_exactly_the_reasons_and_event_types() -> None:
    properties = json.loads(json_schema())["properties"]
    assert set(properties["failure"]["properties"]["reason"]["enum"]) == {reason.value for reason in Reason}
    assert set(properties["event"]["properties"]["event_type"]["enum"]) == {*EVENT_TYPES, None}


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: b"",
        lambda line: b"[]",
        lambda line: b"{}",
        lambda line: line[:-3],
        lambda line: line.replace(b"wotr.dead_letter/1", b"wotr.dead_letter/2"),
        lambda line: line.replace(b"malformed_json", b"bad_weather"),
        lambda line: line.replace(b'"size_bytes":9', b'"size_bytes":8'),
        lambda line: line.replace(b'"utf-8"', b'"rot13"'),
        lambda line: line.replace(b'"utf-8"', b'"base64"'),
        lambda line: line.replace(b"2026-11-23T", b"yesterday "),
        lambda line: b"\xff" + line,
    ],
)
def test_what_is_no_envelope_is_refused_without_repeating_it(damage) -> None:  # type: ignore[no-untyped-def]
    line = to_line(dead_letter(judge(b"secret zq"), value=b"secret zq", **PLACE))
    with pytest.raises(EnvelopeError) as refused:
        from_line(damage(line))
    assert "zq" not in str(refused.value)
