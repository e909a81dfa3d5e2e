"""What the gateway puts in is what the pipeline reads, and nothing else of the message changes."""

from datetime import UTC, datetime

import orjson
from hypothesis import given, settings

from wotr_pipeline.events.completion import completed
from wotr_pipeline.events.rules import Accepted, judge

from .messages import damaged, odd, well_formed

NOW = datetime(2026, 11, 25, 1, 2, 3, 456789, tzinfo=UTC)
PAYLOAD = b'{"event_type":"api_call","source":"s","data":{"a":1.0,"b":1e2}}'


def test_absent_and_null_members_are_put_in() -> None:
    for value in (
        b'{"payload":%s}' % PAYLOAD,
        b' {"timestamp":null, "payload":%s}' % PAYLOAD,
        b'{"payload":%s,"id":null,"timestamp":null}' % PAYLOAD,
    ):
        made = completed(value, lambda: "new-id", NOW)
        assert isinstance(made.verdict, Accepted)
        assert made.verdict.id == "new-id"
        assert made.verdict.timestamp == NOW.replace(microsecond=456000)
        assert PAYLOAD in made.text, "the payload's bytes are as they came"


def test_what_is_there_stays_byte_for_byte() -> None:
    value = b'{ "timestamp" : "2026-01-01T00:00:00Z",\n"id":"mine", "payload":%s }' % PAYLOAD
    assert completed(value, lambda: "new-id", NOW).text == value


def test_a_member_that_is_there_twice_is_not_hidden_by_completing() -> None:
    for value in (
        b'{"id":null,"id":"a","payload":%s}' % PAYLOAD,
        b'{"id":"a","id":null,"payload":%s}' % PAYLOAD,
    ):
        made = completed(value, lambda: "new-id", NOW)
        assert not isinstance(made.verdict, Accepted)


@settings(deadline=None)
@given(well_formed() | odd() | damaged())
def test_the_verdict_is_the_one_that_the_pipeline_gives_on_the_published_bytes(value: bytes) -> None:
    made = completed(value, lambda: "new-id", NOW)
    assert made.verdict == judge(made.text)


@settings(deadline=None)
@given(well_formed())
def test_without_id_and_timestamp_a_good_event_is_good(value: bytes) -> None:
    event = orjson.loads(value)
    del event["id"], event["timestamp"]
    assert isinstance(completed(orjson.dumps(event), lambda: "new-id", NOW).verdict, Accepted)
