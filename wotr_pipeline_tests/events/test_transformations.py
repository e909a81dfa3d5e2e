"""Each named transformation: what it does, what it refuses, and that it touches nothing else."""

import hashlib
import json
import random
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.reasons import Reason
from wotr_pipeline.events.refusals import Refusal, RepairError
from wotr_pipeline.events.rules import Accepted, Rejected, judge
from wotr_pipeline.events.transformations import TRANSFORMATIONS, RepairContext, for_reason
from wotr_pipeline.operations.damaged_events import DAMAGES, damaged

from . import messages
from .test_rules import ABSENT, message, nested, quoted, short

CONTEXT = RepairContext(
    datetime(2026, 11, 23, 9, 0, 0, 5000, timezone(timedelta(hours=1))), "ingest-events", 0, 7
)
quickly = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def transformed(name: str, value: bytes) -> bytes:
    return TRANSFORMATIONS[name].function(value, CONTEXT)


DAMAGES_MENDED = {
    "invalid UTF-8": ["decode_latin1"],
    "NaN": ["not_a_number_to_null"],
    "no id": ["id_from_content"],
    "empty id": ["id_from_content"],
    "id is a number": ["numbers_to_text"],
    "no timestamp": ["timestamp_from_arrival"],
    "timestamp is a number": ["timestamp_from_epoch", "timestamp_from_arrival"],
    "date that does not exist": ["timestamp_from_arrival"],
    "timestamp in words": ["timestamp_from_arrival"],
    "source is a number": ["numbers_to_text"],
    "source of 101 characters": ["truncate_too_long"],
    "user_id of 51 characters": ["truncate_too_long"],
    "address out of range": ["drop_invalid_ip_address"],
    "address with leading zeros": ["strip_leading_zeros_of_ip_address", "drop_invalid_ip_address"],
    "tags is text": ["tags_from_text"],
    "eleven tags": ["drop_invalid_tags"],
    "tag with a space": ["drop_invalid_tags"],
    "version is a number": ["numbers_to_text", "version_with_minor"],
    "version without minor": ["version_with_minor"],
}
"""Of the ways in which producers damage events: those that are mended, and by which of what is offered."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_what_is_offered_for_a_damage_the_named_ones_mend_it_and_the_others_refuse(damage: str) -> None:
    value = damaged(damage, "evt-1", "2026-11-23T08:00:00.123Z", random.Random(1))
    verdict = judge(value)
    assert isinstance(verdict, Rejected)
    mending = []
    for named in for_reason(verdict.reason, verdict.field):
        assert value is not None
        try:
            mended = named.function(value, CONTEXT)
        except RepairError:
            continue
        assert isinstance(judge(mended), Accepted), named.name
        mending.append(named.name)
    assert mending == DAMAGES_MENDED.get(damage, [])


def _in(field: str, before: str, after: str) -> tuple[bytes, bytes]:
    return message(**{field: before}), message(**{field: after})


MENDED: list[tuple[str, tuple[bytes, bytes]]] = [
    ("decode_latin1", (message().replace(b"svc", b"M\xfcnchen"), message(payload__source='"München"'))),
    ("strip_byte_order_mark", (b"\xef\xbb\xbf" + message(), message())),
    *(("not_a_number_to_null", _in("payload__data", before, after)) for before, after in [
        ('{"a":NaN,"b":[-Infinity, Infinity]}', '{"a":null,"b":[null, null]}'),
        ('{"NaN":"NaN \\" Infinity","b":NaN}', '{"NaN":"NaN \\" Infinity","b":null}'),
    ]),
    *(("numbers_to_text", _in(field, before, after)) for field, before, after in [
        ("id", "5", '"5"'), ("id", "-1.50", '"-1.50"'), ("id", "1e5", '"1e5"'), ("payload__source", "0", '"0"'),
        ("payload__user_id", "7", '"7"'), ("payload__session_id", "12345678901234567890", '"12345678901234567890"'),
        ("payload__version", "1.0", '"1.0"'), ("payload__version", "2.10", '"2.10"'),
    ]),
    *(("timestamp_from_epoch", _in("timestamp", before, quoted(after))) for before, after in [
        ("1795423135", "2026-11-23T08:38:55Z"), ('"1795423135"', "2026-11-23T08:38:55Z"),
        ("1795423135.25", "2026-11-23T08:38:55.25Z"), ("1795423135123", "2026-11-23T08:38:55.123Z"),
        ('"1795423135123.5"', "2026-11-23T08:38:55.1235Z"), ("999999999", "2001-09-09T01:46:39Z"),
        ("999999999999", "2001-09-09T01:46:39.999Z"), ("1795423135.00000000001", "2026-11-23T08:38:55.000000000Z"),
    ]),
    *(("timestamp_from_arrival", _in("timestamp", before, '"2026-11-23T08:00:00.005Z"')) for before in [
        "null", '""', '"now"', "5", "{}", '"2026-02-30T00:00:00Z"', '"2300-01-01T00:00:00Z"',
    ]),
    *(("truncate_too_long", _in(field, before, after)) for field, before, after in [
        ("payload__source", quoted("é" * 101), quoted("é" * 100)), ("payload__user_id", quoted("u" * 51), quoted("u" * 50)),
        ("payload__session_id", quoted("\U0001f600" * 101), quoted("\U0001f600" * 100)),
        ("payload__user_id", '"' + "\\u0041" * 51 + '"', quoted("A" * 50)),
    ]),
    *(("remove_control_characters", _in(field, before, after)) for field, before, after in [
        ("payload__source", '"a\\nb"', '"ab"'), ("payload__user_id", '"\\u0000u\x7f"', '"u"'), ("payload__session_id", '"\\t"', '""'),
    ]),
    *(("strip_leading_zeros_of_ip_address", _in("payload__ip_address", quoted(before), quoted(after))) for before, after in [
        ("192.000.002.017", "192.0.2.17"), ("00010.0.0.01", "10.0.0.1"), ("0000.0.0.0", "0.0.0.0"),
    ]),
    *(("drop_invalid_ip_address", _in("payload__ip_address", before, ABSENT)) for before in ['"::1"', '""', "5", "[]", '{"a":"}"}']),
    ("tags_from_text", _in("payload__tags", '" a, b-c,,"', '["a","b-c"]')),
    ("tags_from_text", _in("payload__tags", '""', "[]")),
    *(("drop_invalid_tags", _in("payload__tags", before, after)) for before, after in [
        ('["a b","c"]', '["c"]'), ('[5,null,"c",["d"]]', '["c"]'), ('["a b"]', "[]"),
        (json.dumps(["?", *"abcdefghijk"]), '["a","b","c","d","e","f","g","h","i","j"]'),
    ]),
    *(("version_with_minor", _in("payload__version", before, after)) for before, after in [
        ('"1"', '"1.0"'), ("2", '"2.0"'), ("1.0", '"1.0"'), ("0", '"0.0"'),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "pair"), MENDED, ids=short)
def test_mends_its_fault_and_leaves_all_other_bytes(name: str, pair: tuple[bytes, bytes]) -> None:
    before, after = pair
    assert isinstance(judge(before), Rejected)
    assert transformed(name, before) == after
    assert isinstance(judge(after), Accepted)


REFUSED: list[tuple[str, bytes, Refusal]] = [
    *((name, value, Refusal.NOT_JSON) for name in TRANSFORMATIONS if name != "decode_latin1"
      for value in (b"secret zq", b'{"id":"zq"')),
    *((name, value, refusal) for name in [*TRANSFORMATIONS][3:]
      for value, refusal in [
        (b'["zq"]', Refusal.DOES_NOT_APPLY), (message(id='5,"id":"zq"'), Refusal.DUPLICATE_KEY),
        (message(payload__data='{},"data":{}'), Refusal.DUPLICATE_KEY), (b"[" * 2000, Refusal.NESTING_TOO_DEEP),
    ]),
    ("decode_latin1", message(payload__source='"zqé"').replace(b"svc", b"\xfc") + b"\xfc", Refusal.DOES_NOT_APPLY),
    ("decode_latin1", message().replace(b"svc", b"zq\x80"), Refusal.DOES_NOT_APPLY),
    ("decode_latin1", message().decode().encode("utf-16"), Refusal.NOT_JSON),
    ("decode_latin1", b"zq\xfc", Refusal.NOT_JSON),
    *(("numbers_to_text", message(**{field: text}), Refusal.DOES_NOT_APPLY) for field in ["id", "payload__session_id"]
      for text in ["true", "[1]", '{"zq":1}']),
    *(("timestamp_from_epoch", message(timestamp=text), Refusal.DOES_NOT_APPLY) for text in [
        "null", ABSENT, "5", "-1795423135", "17954231351", "1795423135123456", "1e9", '"zq"', '""', "true", "{}",
        '"1795423135 "', '"\uff11795423135"', '"2026-02-30T00:00:00Z"',
    ]),
    ("id_from_content", message(id="5"), Refusal.DOES_NOT_APPLY),
    ("truncate_too_long", message(payload__user_id="5"), Refusal.DOES_NOT_APPLY),
    ("remove_control_characters", message(payload__source='["zq"]'), Refusal.DOES_NOT_APPLY),
    *(("strip_leading_zeros_of_ip_address", message(payload__ip_address=text), Refusal.DOES_NOT_APPLY) for text in [
        '"192.0.2.256"', '"::1"', '"zq"', '""', "5", '"192.0.2"', '"\u0661.2.3.4"',
    ]),
    *(("tags_from_text", message(payload__tags=text), Refusal.DOES_NOT_APPLY) for text in [
        '"a b"', "5", '{"zq":1}', quoted(",".join("abcdefghijk")),
    ]),
    *(("drop_invalid_tags", message(payload__tags=text), Refusal.DOES_NOT_APPLY) for text in ['"zq"', "{}"]),
    *(("version_with_minor", message(payload__version=text), Refusal.DOES_NOT_APPLY) for text in [
        '"v1"', '""', "-1", "1e0", '"01"', '"1.0.0"', "[]", '"123456"',
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "refusal"), REFUSED, ids=short)
def test_refuses_what_is_broken_in_another_way_without_repeating_it(
    name: str, value: bytes, refusal: Refusal
) -> None:
    with pytest.raises(RepairError) as refused:
        transformed(name, value)
    assert refused.value.refusal is refusal
    assert "zq" not in str(refused.value)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_leaves_a_good_event_as_it_is(name: str) -> None:
    for value in (
        message(),
        message(payload__user_id="null", payload__ip_address="null", payload__tags="null", payload__version="null"),
        b" " + message(payload__data='{"a":1.0,"a":"' + "7" * 400 + '"}', payload__ip_address='"192.0.2.1"') + b"\n",
        message(payload__data=nested(1000), payload__tags='["a"]', payload__version='"1.0"', payload__user_id='""'),
    ):  # fmt: skip
        assert transformed(name, value) == value


def test_all_that_an_edit_does_not_mean_stays_byte_for_byte() -> None:
    data = '{ "a":1.0,"b":1e2, "c":-0.0,"d":' + "7" * 400 + ',"e":"\\u00e9\\/","a":[[]] }'
    odd = message(payload__data=data, id="5").replace(b'"payload":', b'\n "p\\u0061yload" :\t')
    assert transformed("numbers_to_text", odd) == odd.replace(b'"id":5', b'"id":"5"')
    deep = message(payload__data=nested(1000), payload__ip_address='"::1"')
    assert transformed("drop_invalid_ip_address", deep) == deep.replace(b',"ip_address":"::1"', b"")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"ip_address":"x"}', "{}"),
        ('{ "ip_address" : "x" , "a":1}', '{ "a":1}'),
        ('{"a":1 ,  "ip_address":"x" }', '{"a":1  }'),
        ('{"a":1, "ip_address":"x", "b":2}', '{"a":1, "b":2}'),
    ],
)
def test_a_member_is_taken_out_with_one_comma(before: str, after: str) -> None:
    value = message(payload=before)
    assert transformed("drop_invalid_ip_address", value) == message(payload=after)


def test_an_id_made_of_the_content_is_the_same_for_the_same_bytes_and_no_other() -> None:
    value = message(id=ABSENT)
    mended = transformed("id_from_content", value)
    assert json.loads(mended)["id"] == "sha256-" + hashlib.sha256(value).hexdigest()
    assert mended.endswith(value[1:])
    assert transformed("id_from_content", value) == mended
    assert json.loads(transformed("id_from_content", value + b" "))["id"] != json.loads(mended)["id"]
    assert isinstance(judge(mended), Accepted)
    for empty in (b"{}", b" { } "):
        assert json.loads(transformed("id_from_content", empty))["id"].startswith("sha256-")
    for name in ("null", '""'):
        assert isinstance(judge(transformed("id_from_content", message(id=name))), Accepted)


def test_an_id_is_never_cut_or_cleaned() -> None:
    for value in (message(id=quoted("x" * 101)), message(id='"a\\n"')):
        verdict = judge(value)
        assert isinstance(verdict, Rejected)
        assert for_reason(verdict.reason, verdict.field) == ()
        assert transformed("truncate_too_long", value) == value
        assert transformed("remove_control_characters", value) == value


def test_every_transformation_is_offered_for_something_and_says_what_it_does() -> None:
    for name, named in TRANSFORMATIONS.items():
        assert named.name == name
        assert named.description.endswith(".")
        assert named.meant_for
        for reason, field in named.meant_for:
            assert named in for_reason(reason, field.replace("[]", "[3]"))
    assert for_reason(Reason.UNKNOWN_EVENT_TYPE, "payload.event_type") == ()


@quickly
@given(st.sampled_from(sorted(TRANSFORMATIONS)), messages.ANYTHING.filter(bool))
def test_twice_is_once_and_nothing_but_a_refusal_is_raised(name: str, value: bytes) -> None:
    try:
        once = transformed(name, value)
    except RepairError:
        return
    assert transformed(name, once) == once
    if isinstance(judge(value), Accepted):
        assert once == value
