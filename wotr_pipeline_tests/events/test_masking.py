"""A masked message shows what is wrong and nothing that anyone wrote."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.masking import MAX_BYTES, MAX_DEPTH, masked

from . import messages
from .test_rules import message, nested, short

quickly = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
# Letters that no word of the mask is made of, so that what is found in it can only be content.
SECRET = st.text(st.sampled_from("QXZÄß王\U0001f600\"\\/'&\t"), min_size=4, max_size=60)
PERSONAL = ("id", "payload__user_id", "payload__session_id", "payload__ip_address")


def test_a_message_is_shown_with_its_structure_and_without_its_content() -> None:
    value = message(
        payload__user_id='"maria.huber@example.com"',
        payload__tags='["a-b"]',
        payload__version='"2.1"',
        payload__extra="null",
        payload__data='{"metric_name":"m","salary":1.50,"nested":{"id":true},"none":[],"nothing":{}}',
    )
    assert masked(value) == (
        """{
  "id": "<string of 3 characters>",
  "timestamp": "<string of 20 characters>",
  "payload": {
    "event_type": "api_call",
    "source": "svc",
    "data": {
      "metric_name": "<string of 1 character>",
      "<name of 6 characters>": "<number of 4 characters>",
      "<name of 6 characters>": {
        "<name of 2 characters>": "<boolean>"
      },
      "<name of 4 characters>": [],
      "<name of 7 characters>": {}
    },
    "user_id": "<string of 23 characters>",
    "tags": [
      "<string of 3 characters>"
    ],
    "version": "<string of 3 characters>",
    "<name of 5 characters>": null
  }
}""".replace('"version": "<string of 3 characters>"', '"version": "2.1"')
    )


def test_values_of_closed_sets_are_shown_only_where_they_keep_their_rule() -> None:
    value = message(payload__event_type='"click here"', payload__source='""', payload__version='"1"')
    shown = json.loads(masked(value))["payload"]
    assert shown["event_type"] == "<string of 10 characters>"
    assert shown["source"] == "<string of 0 characters>"
    assert shown["version"] == "<string of 1 character>"
    elsewhere = json.loads(masked(message(payload__data='{"event_type":"api_call"}')))
    assert list(elsewhere["payload"]["data"].values()) == ["<string of 8 characters>"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "<no value>"),
        (b"", "<0 bytes>"),
        (b"secret" * 200, "<1,200 bytes, not JSON>"),
        (b"\xff" * 5, "<5 bytes, not UTF-8>"),
        (message(payload__data='{"a":NaN}'), f"<{len(message()) + 2} bytes, not JSON>"),
        (b"[" * 1500, "<1,500 bytes, nested too deep>"),
        (
            message(payload__data=nested(1000)),
            f"<{len(message()) + 1997:,} bytes, nested too deep to be shown>",
        ),
        (b"5", '"<number of 1 character>"'),
        (b'["secret"]', '[\n  "<string of 6 characters>"\n]'),
    ],
    ids=short,
)
def test_what_is_no_event_is_shown_by_its_size(value: bytes | None, shown: str) -> None:
    assert masked(value) == shown


def test_a_key_that_is_there_twice_is_shown_twice() -> None:
    assert masked(message(id='"a","id":"bb"')).count('"id": "<string of') == 2


def test_an_integer_of_any_length_has_the_length_that_was_written() -> None:
    assert '"<number of 5,000 characters>"' in masked(message(payload__data='{"a":' + "7" * 5000 + "}"))


@pytest.mark.parametrize(
    "data",
    [
        json.dumps({"x" * number: number for number in range(2000)}),
        '{"a":' + json.dumps(["text"] * 20_000) + "}",
        '{"a":' + json.dumps([["text"] * 500] * 50) + "}",
        nested(40),
        '{"a":' * 30 + json.dumps({str(number): [[["x"]]] * 9 for number in range(2000)}) + "}" * 30,
    ],
    ids=lambda text: text[:20],
)
def test_a_masked_message_has_an_end_and_stays_json(data: str) -> None:
    source = json.dumps("\U0001f600" * 100, ensure_ascii=False)
    shown = masked(message(payload__data=data, payload__source=source))
    assert len(shown.encode()) <= MAX_BYTES
    json.loads(shown)


def test_what_lies_deep_is_shown_by_its_type() -> None:
    shown = masked(message(payload__data='{"a":' * MAX_DEPTH + "{}" + "}" * MAX_DEPTH))
    assert '"<object of 1>"' in shown


@quickly
@given(
    secrets=st.lists(SECRET, min_size=len(PERSONAL), max_size=len(PERSONAL)),
    data=st.recursive(
        SECRET, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SECRET, inner, max_size=3)
    ),
    escaped=st.booleans(),
    broken=st.booleans(),
)
def test_no_text_of_the_event_is_in_the_mask(
    secrets: list[str], data: object, escaped: bool, broken: bool
) -> None:
    fields = {
        name: json.dumps(secret, ensure_ascii=escaped) for name, secret in zip(PERSONAL, secrets, strict=True)
    }
    inner = json.dumps({"error_message": data, **dict.fromkeys(secrets, data)}, ensure_ascii=escaped)
    if broken:
        fields["timestamp"] = fields["id"]
    shown = masked(message(**fields, payload__data=inner, extra=inner))
    everything = [*secrets, *(text for text in _texts(data))]
    for text in everything:
        for written in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
            assert written not in shown


@quickly
@given(messages.ANYTHING)
def test_anything_can_be_masked(value: bytes | None) -> None:
    shown = masked(value)
    assert len(shown.encode()) <= MAX_BYTES
    if not shown.startswith("<"):
        json.loads(shown)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [*value, *(text for inner in value.values() for text in _texts(inner))]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else []
