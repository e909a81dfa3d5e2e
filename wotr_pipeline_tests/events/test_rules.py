"""Every decision of the contract as a row: what is changed in a good event, and what the rules say.

Each row is also put to judge.sql: it may doubt, but never accept what the rules reject.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from wotr_pipeline.events import contract
from wotr_pipeline.events.columns import judged_rows
from wotr_pipeline.events.reasons import EventWarning, Reason
from wotr_pipeline.events.rules import Accepted, Rejected, Substitutes, judge, parse_timestamp

from .engine import BATCH, as_bytes, judged_by_rules, judged_by_sql

GOOD = {
    "id": '"e-1"',
    "timestamp": '"2026-11-23T08:00:00Z"',
    "payload.event_type": '"api_call"',
    "payload.source": '"svc"',
    "payload.data": '{"a":1}',
}
ABSENT = ""


def message(**changes: str) -> bytes:
    """A good event with members replaced by other text (``__`` stands for the dot of a path) or left out."""
    members = GOOD | {name.replace("__", "."): text for name, text in changes.items()}
    inner = ",".join(
        f'"{name.removeprefix("payload.")}":{text}'
        for name, text in members.items()
        if name.startswith("payload.") and text
    )
    members = {name: text for name, text in members.items() if "." not in name}
    members = members | {"payload": members.get("payload", "{" + inner + "}")}
    outer = ",".join(f'"{name}":{text}' for name, text in members.items() if text)
    return ("{" + outer + "}").encode("utf-8", "surrogatepass")


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def nested(depth: int) -> str:
    """A data object of that many levels."""
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


METRIC = {"payload__event_type": '"metric"'}
ACCEPTED = [
    {},
    # id
    {"id": quoted("é" * 100)},
    {"id": '"5"'},
    {"id": '" "'},
    {"id": '"\\u0041"'},
    {"id": '"null"'},
    {"id": '"a\\"b"'},
    {"id": '": a"'},
    {"id": '"a, "'},
    {"payload__source": '", "'},
    {"payload__source": '"{}"'},
    # timestamp
    *({"timestamp": quoted(text)} for text in [
        "2026-11-23T08:00:00", "2026-11-23T08:00Z", "2026-11-23T08:00:00+0530", "2026-11-23T08:00:00-05",
        "2026-11-23T08:00:00.1Z", "2026-11-23T08:00:00,123456789Z", "2024-02-29T00:00:00Z", "2000-02-29T00:00:00Z",
        "1900-01-01T00:00:00Z", "2299-12-31T23:59:59.999999Z", "2026-12-31T23:59:59+14:00", "2026-11-23T08:00:00-00:00",
        "1900-01-01T00:00:00-01:00", "2300-01-01T00:30:00+01:00", "2026-11-23T08:00:00+23:59",
    ]),
    # event types
    *({"payload__event_type": quoted(name)} for name in ["user_action", "system_event", "api_call", "error"]),
    {**METRIC, "payload__data": '{"metric_name":"m","metric_value":1}'},
    {**METRIC, "payload__data": '{"metric_name":"","metric_value":false}'},
    {**METRIC, "payload__data": '{"metric_n\\u0061me":"m","metric_value":1.0,"x":null}'},
    # texts
    {"payload__source": quoted("s" * 100)},
    {"payload__user_id": '""'},
    {"payload__user_id": "null"},
    {"payload__user_id": quoted("u" * 50)},
    {"payload__session_id": quoted("s" * 100)},
    {"payload__session_id": "null"},
    {"payload__ip_address": "null"},
    {"payload__ip_address": '"0.0.0.0"'},
    {"payload__ip_address": '"255.255.255.255"'},
    {"payload__version": "null"},
    {"payload__version": '"0.0"'},
    {"payload__version": '"12345.99999"'},
    {"payload__tags": "[]"},
    {"payload__tags": "null"},
    {"payload__tags": '["a","a","A_-9"]'},
    {"payload__tags": json.dumps(list("abcdefghij"))},
    {"payload__tags": quoted("t" * 500).join("[]")},
    # data
    {"payload__data": "{}"},
    {"payload__data": '{"a":"\\u0000"}'},
    {"payload__data": '{"a":1,"a":2}'},
    {"payload__data": '{"b":{"a":1,"a":2}}'},
    {"payload__data": '{"a":18446744073709551616}'},
    {"payload__data": '{"a":-9223372036854775809}'},
    {"payload__data": '{"a":' + "7" * 400 + "}"},
    {"payload__data": '{"a":-' + "7" * 400 + "}"},
    {"payload__data": '{"a":1e-400}'},
    {"payload__data": '{"a":-0.0,"b":1.0,"c":1E2,"d":0.30000000000000004}'},
    {"payload__data": '{"a":"\\ud83d\\ude00"}'},
    {"payload__data": nested(1000)},
    {"payload__data": nested(contract.MAX_NESTING - 2)},
    {"payload__data": '{"a":"' + "x" * (contract.MAX_DATA_BYTES - 8) + '"}'},
    {"payload__data": '{"data":{"payload":{"id":5,"source":null}}}'},
    # unknown members
    {"extra": "[1,2]"},
    {"payload__extra": '{"a":null}'},
    {"payload__extra": '"data"'},
]  # fmt: skip

REJECTED: list[tuple[dict[str, str], Reason, str]] = [
    # whole members
    ({"id": ABSENT}, Reason.MISSING_FIELD, "id"),
    ({"id": "null"}, Reason.MISSING_FIELD, "id"),
    ({"timestamp": ABSENT}, Reason.MISSING_FIELD, "timestamp"),
    ({"payload": "null"}, Reason.MISSING_FIELD, "payload"),
    ({"payload": "{}"}, Reason.MISSING_FIELD, "payload.event_type"),
    ({"payload__event_type": ABSENT}, Reason.MISSING_FIELD, "payload.event_type"),
    ({"payload__source": ABSENT}, Reason.MISSING_FIELD, "payload.source"),
    ({"payload__source": "null"}, Reason.MISSING_FIELD, "payload.source"),
    ({"payload__data": ABSENT}, Reason.MISSING_FIELD, "payload.data"),
    ({"payload__data": "null"}, Reason.MISSING_FIELD, "payload.data"),
    # types
    *(({"payload": text}, Reason.WRONG_TYPE, "payload") for text in ["[]", '"{}"', "1", "true"]),
    *(({"id": text}, Reason.WRONG_TYPE, "id") for text in ["5", "1.0", "true", "false", "[]", "{}", '["a"]']),
    *(({"timestamp": text}, Reason.WRONG_TYPE, "timestamp") for text in ["1795420800", "1795420800.5", "{}"]),
    *(({"payload__event_type": text}, Reason.WRONG_TYPE, "payload.event_type") for text in ["5", "[]"]),
    *(({"payload__source": text}, Reason.WRONG_TYPE, "payload.source") for text in ["5", "true", "{}"]),
    *(({"payload__user_id": text}, Reason.WRONG_TYPE, "payload.user_id") for text in ["5", "false", "[]", '{"a":1}']),
    *(({"payload__session_id": text}, Reason.WRONG_TYPE, "payload.session_id") for text in ["5", "true"]),
    *(({"payload__ip_address": text}, Reason.WRONG_TYPE, "payload.ip_address") for text in ["2130706433", "[]"]),
    *(({"payload__version": text}, Reason.WRONG_TYPE, "payload.version") for text in ["1.0", "1", "[]"]),
    *(({"payload__data": text}, Reason.WRONG_TYPE, "payload.data") for text in ["[]", '"{}"', "1", "[{}]", "false"]),
    *(({"payload__tags": text}, Reason.WRONG_TYPE, "payload.tags") for text in ['"a"', "{}", "1"]),
    ({"payload__tags": "[5]"}, Reason.WRONG_TYPE, "payload.tags[0]"),
    ({"payload__tags": '["a",null]'}, Reason.WRONG_TYPE, "payload.tags[1]"),
    # texts
    ({"id": '""'}, Reason.EMPTY_VALUE, "id"),
    ({"payload__source": '""'}, Reason.EMPTY_VALUE, "payload.source"),
    ({"id": quoted("a" * 101)}, Reason.TOO_LONG, "id"),
    ({"id": quoted("é" * 101)}, Reason.TOO_LONG, "id"),
    ({"id": quoted("7" * 400), "extra": "1"}, Reason.TOO_LONG, "id"),
    ({"id": quoted("7" * 400), "payload__data": '{"a":' + "7" * 400 + "}"}, Reason.TOO_LONG, "id"),
    ({"payload__source": quoted("s" * 101)}, Reason.TOO_LONG, "payload.source"),
    ({"payload__user_id": quoted("u" * 51)}, Reason.TOO_LONG, "payload.user_id"),
    ({"payload__session_id": quoted("s" * 101)}, Reason.TOO_LONG, "payload.session_id"),
    *(({"id": f'"a{escape}"'}, Reason.CONTROL_CHARACTER, "id") for escape in ["\\u0000", "\\n", "\x7f", "\u0085"]),
    ({"payload__source": '"\\u0000"'}, Reason.CONTROL_CHARACTER, "payload.source"),
    ({"payload__user_id": '"\\t"'}, Reason.CONTROL_CHARACTER, "payload.user_id"),
    ({"payload__session_id": '"\\u001f"'}, Reason.CONTROL_CHARACTER, "payload.session_id"),
    # timestamps
    *(({"timestamp": quoted(text)}, Reason.INVALID_TIMESTAMP, "timestamp") for text in [
        "", "now", "1795420800", "2026-11-23", "2026-11-23T08", "2026-11-23 08:00:00Z", "2026-11-23t08:00:00Z",
        "2026-11-23T08:00:00z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-04-31T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
        "2026-11-23T24:00:00Z", "2026-11-23T23:60:00Z", "2026-11-23T23:59:60Z", "2026-11-23T08:00:00.Z",
        "2026-11-23T08:00:00.1234567890Z", "2026-11-23T08:00:00+24:00", "2026-11-23T08:00:00+01:60",
        "20261123T080000Z", "2026-W48-1T08:00:00Z", "26-11-23T08:00:00Z", "2026-11-23T08:00:00ZZ",
        " 2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z ", "\uff12026-11-23T08:00:00Z", "2026-11-23T08:00:00 +01:00",
        "0000-01-01T00:00:00Z", "2026-11-23T08:00:00Z\n",
    ]),
    *(({"timestamp": quoted(text)}, Reason.TIMESTAMP_OUT_OF_RANGE, "timestamp") for text in [
        "1899-12-31T23:59:59Z", "1900-01-01T00:00:00+01:00", "2300-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
    ]),
    # closed sets and patterns
    *(({"payload__event_type": quoted(text)}, Reason.UNKNOWN_EVENT_TYPE, "payload.event_type") for text in [
        "", "Metric", "metric ", "click", "user_action\u0000",
    ]),
    *(({"payload__ip_address": quoted(text)}, Reason.INVALID_IP_ADDRESS, "payload.ip_address") for text in [
        "", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "192.168.001.1", "::1", "1.2.3.4 ", "0x7f.0.0.1", "1.2.3.-4",
        "\u0661.2.3.4", "localhost", "1.2.3.4/8", "1.2.3.4\n",
    ]),
    *(({"payload__version": quoted(text)}, Reason.INVALID_VERSION, "payload.version") for text in [
        "", "1", "1.", ".0", "1.0.0", "v1.0", "01.0", "1.00", "1,0", "-1.0", "123456.0", "1.0 ", "1.0\n",
    ]),
    *(({"payload__tags": json.dumps([text])}, Reason.INVALID_TAG, "payload.tags[0]") for text in [
        "", "a b", "é", "a.b", "a\n", "a\u0000",
    ]),
    ({"payload__tags": json.dumps(list("abcdefghijk"))}, Reason.TOO_MANY_TAGS, "payload.tags"),
    # metrics
    ({**METRIC}, Reason.INCOMPLETE_METRIC, "payload.data.metric_name"),
    ({**METRIC, "payload__data": "{}"}, Reason.INCOMPLETE_METRIC, "payload.data.metric_name"),
    ({**METRIC, "payload__data": '{"metric_name":"m"}'}, Reason.INCOMPLETE_METRIC, "payload.data.metric_value"),
    ({**METRIC, "payload__data": '{"metric_value":1}'}, Reason.INCOMPLETE_METRIC, "payload.data.metric_name"),
    ({**METRIC, "payload__data": '{"metric_name":null,"metric_value":1}'}, Reason.INCOMPLETE_METRIC, "payload.data.metric_name"),
    ({**METRIC, "payload__data": '{"metric_name":"m","metric_value": null}'}, Reason.INCOMPLETE_METRIC, "payload.data.metric_value"),
    ({**METRIC, "payload__data": '{"metric_name":"m","metric_v\\u0061lue":null}'}, Reason.INCOMPLETE_METRIC, "payload.data.metric_value"),
    ({**METRIC, "payload__data": '{"x":{"metric_name":"m","metric_value":1}}'}, Reason.INCOMPLETE_METRIC, "payload.data.metric_name"),
    # data's size, as written
    ({"payload__data": '{"a":"' + "x" * (contract.MAX_DATA_BYTES - 7) + '"}'}, Reason.DATA_TOO_LARGE, "payload.data"),
    ({"payload__data": '{"a":1' + " " * contract.MAX_DATA_BYTES + "}"}, Reason.DATA_TOO_LARGE, "payload.data"),
    # repeated keys
    ({"payload__data": '{"a":1},"source":"other"'}, Reason.DUPLICATE_KEY, "payload.source"),
    ({"payload__data": '{"a":1},"s\\u006furce":"other"'}, Reason.DUPLICATE_KEY, "payload.source"),
    ({"payload__data": '{"a":1},"data":{"a":1}'}, Reason.DUPLICATE_KEY, "payload.data"),
    ({"payload__data": '{"a":1},"private":1,"private":2'}, Reason.DUPLICATE_KEY, "payload"),
    ({"payload__tags": '[],"tags":[]'}, Reason.DUPLICATE_KEY, "payload.tags"),
    ({"payload__user_id": 'null,"user_id":"u"'}, Reason.DUPLICATE_KEY, "payload.user_id"),
    ({"payload__user_id": 'null,"user_id":null'}, Reason.DUPLICATE_KEY, "payload.user_id"),
    ({"id": '"a","id":"e-1"'}, Reason.DUPLICATE_KEY, "id"),
    ({"extra": '1,"extra":1'}, Reason.DUPLICATE_KEY, ""),
    ({"payload__data": '{"error_message":"a","error_message":"b"}'}, Reason.DUPLICATE_KEY, "payload.data.error_message"),
    ({**METRIC, "payload__data": '{"metric_name":null,"metric_value":1,"metric_name":"m"}'}, Reason.DUPLICATE_KEY, "payload.data.metric_name"),
    # nesting
    ({"payload__data": nested(1500)}, Reason.NESTING_TOO_DEEP, ""),
    ({"payload__data": nested(contract.MAX_NESTING - 1)}, Reason.NESTING_TOO_DEEP, ""),
    ({"payload__data": '{"a":' * 1500 + "1" + "}" * 1500}, Reason.NESTING_TOO_DEEP, ""),
    ({"extra": "[" * 1024 + "]" * 1024}, Reason.NESTING_TOO_DEEP, ""),
    ({"extra": "[" * 1500 + "]" * 1500}, Reason.NESTING_TOO_DEEP, ""),
    # not JSON
    *(({"payload__data": text}, Reason.MALFORMED_JSON, "") for text in [
        '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":1e400}', '{"a":' + "7" * 400 + ".5}", '{"a":01}', '{"a":+1}',
        '{"a":.5}', '{"a":1.}', '{"a":0x1}', '{"a":1,}', "{a:1}", "{'a':1}", '{"a" 1}', '{"a":}', '{"a":tru}', '{"a":"\\x"}',
        '{"a":"\n"}', '{"a":"\x00"}', '{"a":"\\ud800"}', '{"a":"\\udc00"}', '{"a":"\\ud800\\ud800"}', '{"a":1}}', '{"a":1',
        '{"a":/**/1}', '{"a":1}//', '{"a":[}', '{"a":' + "0" * 400 + "}", '{"a":1}{"b":1}',
    ]),
    ({"id": "NaN"}, Reason.MALFORMED_JSON, ""),
    ({"id": '"\\ud800"'}, Reason.MALFORMED_JSON, ""),
    ({"id": '"a\x00b"'}, Reason.MALFORMED_JSON, ""),
]  # fmt: skip

WHOLE = [
    (None, Reason.EMPTY_MESSAGE),
    (b"", Reason.EMPTY_MESSAGE),
    (b" ", Reason.MALFORMED_JSON),
    (b"\x00", Reason.MALFORMED_JSON),
    (b"\xff", Reason.INVALID_ENCODING),
    (message(id='"a\ud800"'), Reason.INVALID_ENCODING),
    (message().replace(b"svc", b"\xc3("), Reason.INVALID_ENCODING),
    (message(payload__data='{"a":"X"}').replace(b"X", b"\xed\xa0\x80"), Reason.INVALID_ENCODING),
    (message(payload__data='{"a":"X"}').replace(b"X", b"\xc0\x80"), Reason.INVALID_ENCODING),
    (message().decode().encode("utf-16"), Reason.INVALID_ENCODING),
    (b"\xef\xbb\xbf" + message(), Reason.MALFORMED_JSON),
    (message() + b"x", Reason.MALFORMED_JSON),
    (message() + message(), Reason.MALFORMED_JSON),
    (message() + b"\x00", Reason.MALFORMED_JSON),
    (message()[:-1], Reason.MALFORMED_JSON),
    (message()[1:], Reason.MALFORMED_JSON),
    (b"not json", Reason.MALFORMED_JSON),
    (b'{"payload":{"data":{}', Reason.MALFORMED_JSON),
    (b"}" * 100, Reason.MALFORMED_JSON),
    (b'"' * 101, Reason.MALFORMED_JSON),
    (b"null", Reason.WRONG_TYPE),
    (b"[]", Reason.WRONG_TYPE),
    (b"5", Reason.WRONG_TYPE),
    (b'"text"', Reason.WRONG_TYPE),
    (b"[" + message() + b"]", Reason.WRONG_TYPE),
    (b"[" * 1500, Reason.NESTING_TOO_DEEP),
    (b"[" * 1_000_000, Reason.NESTING_TOO_DEEP),
    (b"{}", Reason.MISSING_FIELD),
]


def short(value: object) -> str:
    return str(value)[:70]


@pytest.mark.parametrize("changes", ACCEPTED, ids=short)
def test_accepted(changes: dict[str, str]) -> None:
    value = message(**changes)
    verdict = judge(value)
    assert isinstance(verdict, Accepted), verdict
    assert verdict.payload.encode() in value


@pytest.mark.parametrize(("changes", "reason", "field"), REJECTED, ids=short)
def test_rejected(changes: dict[str, str], reason: Reason, field: str) -> None:
    verdict = judge(message(**changes))
    assert isinstance(verdict, Rejected), verdict
    assert (verdict.reason, verdict.field) == (reason, field), verdict


@pytest.mark.parametrize(("value", "reason"), WHOLE, ids=short)
def test_whole_messages_that_are_no_events(value: bytes | None, reason: Reason) -> None:
    verdict = judge(value)
    assert isinstance(verdict, Rejected)
    assert (verdict.reason, verdict.id) == (reason, None), verdict


def test_sql_accepts_no_row_of_the_tables_that_the_rules_reject(tmp_path: Path) -> None:
    bad = [message(**changes) for changes, _, _ in REJECTED] + [value for value, _ in WHOLE]
    assert len(bad) >= 150
    let_through = [value for value, row in zip(bad, judged_by_sql(bad, tmp_path), strict=True) if row["ok"]]
    assert not let_through


def test_sql_gives_the_rules_columns_for_the_rows_it_accepts(tmp_path: Path) -> None:
    good = [message(**changes) for changes in ACCEPTED]
    by_rules = [as_bytes(row) for row in judged_rows(BATCH, judged_by_rules(good)).to_pylist()]
    pairs = zip(judged_by_sql(good, tmp_path), by_rules, strict=True)
    agreed = [in_sql == by_rule for in_sql, by_rule in pairs if in_sql["ok"]]
    assert all(agreed)
    assert len(agreed) > len(good) // 2


def test_sql_is_sure_of_the_ordinary(tmp_path: Path) -> None:
    ordinary = [
        message(),
        message(payload__user_id="null", payload__tags="null", payload__version="null"),
        message(payload__data='{"a":[{"b":"} \\" {"},1.0,-0.0,1E2,"é",null,"\\u0000"]}'),
        message(payload__event_type='"error"', payload__data='{"error_message":"x","cause":null}'),
        message(timestamp='"2024-02-29T23:59:59.999999+05:30"', payload__tags='["a","b-c"]'),
        message().replace(b":", b": ").replace(b",", b", ").replace(b"08: 00: 00", b"08:00:00"),
    ]
    assert [row["ok"] for row in judged_by_sql(ordinary, tmp_path)] == [1] * len(ordinary)


def test_all_reasons_have_a_row() -> None:
    named = {reason for _, reason, _ in REJECTED} | {reason for _, reason in WHOLE}
    assert named == set(Reason) - {Reason.REFUSED_ELSEWHERE}, "that one is no verdict of the rules"
    assert all(member.description.endswith(".") for member in [*Reason, *EventWarning])


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({"payload__event_type": '"user_action"'}, (EventWarning.USER_ACTION_WITHOUT_USER_ID,)),
        (
            {"payload__event_type": '"user_action"', "payload__user_id": '""'},
            (EventWarning.USER_ACTION_WITHOUT_USER_ID,),
        ),
        ({"payload__event_type": '"user_action"', "payload__user_id": '"u"'}, ()),
        ({"payload__event_type": '"error"'}, (EventWarning.ERROR_WITHOUT_ERROR_MESSAGE,)),
        (
            {"payload__event_type": '"error"', "payload__data": '{"error_message":null}'},
            (EventWarning.ERROR_WITHOUT_ERROR_MESSAGE,),
        ),
        ({"payload__event_type": '"error"', "payload__data": '{"error_message":""}'}, ()),
    ],
    ids=short,
)
def test_oddities_are_warnings(changes: dict[str, str], warnings: tuple[EventWarning, ...]) -> None:
    verdict = judge(message(**changes))
    assert isinstance(verdict, Accepted)
    assert verdict.warnings == warnings


def test_a_rejected_event_tells_what_could_be_read_and_nothing_else() -> None:
    verdict = judge(message(payload__ip_address='"secret-7f3a"', payload__version='"2.1"'))
    assert isinstance(verdict, Rejected)
    assert (verdict.id, verdict.event_type, verdict.source) == ("e-1", "api_call", "svc")
    assert verdict.version == "2.1"
    assert verdict.timestamp == datetime(2026, 11, 23, 8, tzinfo=UTC)
    assert "secret" not in verdict.message + verdict.field
    unreadable = judge(message(id="5", timestamp='"soon"', payload__event_type='"x"', payload__source='""'))
    assert isinstance(unreadable, Rejected)
    assert (unreadable.id, unreadable.event_type, unreadable.source, unreadable.timestamp) == (None,) * 4


@pytest.mark.parametrize("version", ["null", '""', '"1"', "1.0", "[]", ABSENT])
def test_a_rejected_event_has_no_version_that_it_does_not_say_readably(version: str) -> None:
    verdict = judge(message(id="5", payload__version=version))
    assert isinstance(verdict, Rejected)
    assert verdict.version is None


def test_no_message_and_no_field_repeats_the_events_content() -> None:
    for changes, _, _ in REJECTED:
        verdict = judge(message(**{name: text.replace("a", "zq§zq") for name, text in changes.items()}))
        if isinstance(verdict, Rejected):
            assert "zq" not in verdict.message + verdict.field


def test_an_edge_may_complete_an_event_but_not_correct_one() -> None:
    now = datetime(2026, 11, 23, 9, 0, 0, 5, tzinfo=UTC)
    substitutes = Substitutes("generated", now)
    completed = judge(message(id=ABSENT, timestamp="null"), substitutes)
    assert isinstance(completed, Accepted)
    assert (completed.id, completed.timestamp) == ("generated", now)
    own = judge(message(), substitutes)
    assert isinstance(own, Accepted)
    assert own.id == "e-1"
    assert isinstance(judge(message(id='""'), substitutes), Rejected)


def test_a_timestamp_is_read_to_the_microsecond_in_utc() -> None:
    assert parse_timestamp("2026-11-23T08:00:00.1234567+05:30") == datetime(
        2026, 11, 23, 2, 30, 0, 123456, UTC
    )
    assert parse_timestamp("2026-01-01T00:00-01") == datetime(2026, 1, 1, 1, tzinfo=UTC)
