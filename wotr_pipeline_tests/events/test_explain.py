"""What a sender is told of a rejected event: everything that is wrong, in the rules' own words."""

import json

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.explain import MOST_PROBLEMS, problems
from wotr_pipeline.events.rules import Accepted, Rejected, judge


def _told(value: bytes) -> list[tuple[str, str]]:
    verdict = judge(value)
    assert isinstance(verdict, Rejected)
    return [(problem.field, problem.reason.value) for problem in problems(value, verdict)]


def test_every_broken_field_is_named_at_once() -> None:
    value = {
        "id": "",
        "timestamp": "yesterday",
        "payload": {
            "event_type": "nonsense",
            "source": 5,
            "data": {},
            "ip_address": "1.2.3",
            "tags": ["a b", "ok", ""],
        },
    }
    assert _told(orjson.dumps(value)) == [
        ("id", "empty_value"),
        ("timestamp", "invalid_timestamp"),
        ("payload.event_type", "unknown_event_type"),
        ("payload.source", "wrong_type"),
        ("payload.ip_address", "invalid_ip_address"),
        ("payload.tags[0]", "invalid_tag"),
        ("payload.tags[2]", "invalid_tag"),
    ]


def test_a_metric_without_both_of_its_fields_is_told_of_both() -> None:
    value = {
        "id": "1",
        "timestamp": "2026-01-01T00:00:00Z",
        "payload": {"event_type": "metric", "source": "s", "data": {}},
    }
    assert [field for field, _ in _told(orjson.dumps(value))] == [
        "payload.data.metric_name",
        "payload.data.metric_value",
    ]


def test_what_only_the_bytes_show_is_told_last_and_once() -> None:
    value = b'{"id":"1","id":"2","timestamp":"x","payload":{"event_type":"error","source":"s","data":{}}}'
    assert _told(value) == [("timestamp", "invalid_timestamp"), ("id", "duplicate_key")]


def test_a_message_that_is_no_document_has_one_problem() -> None:
    for value in (b"", b"{", b"\xff", b"[]", b"5", b'{"payload":[]}'):
        assert 1 <= len(_told(value)) <= MOST_PROBLEMS


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=10,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["id", "timestamp", "payload", "x"]), _json),
    st.dictionaries(
        st.sampled_from(["event_type", "source", "user_id", "data", "tags", "version", "ip_address"]), _json
    ),
)
def test_the_first_problem_is_the_verdict_and_it_always_ends(
    root: dict[str, object], payload: dict[str, object]
) -> None:
    value = json.dumps({"payload": payload, **root}).encode()
    verdict = judge(value)
    if isinstance(verdict, Accepted):
        return
    found = problems(value, verdict)
    assert found[0] == verdict
    assert len(found) <= MOST_PROBLEMS
