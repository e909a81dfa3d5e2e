"""A repair makes one message of another: exactly what was asked for, or a refusal that says why."""

import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.reasons import Reason
from wotr_pipeline.events.refusals import Refusal, RepairError
from wotr_pipeline.events.repair import (
    MAX_OPERATIONS,
    MAX_REPAIRED_BYTES,
    AsIs,
    NotRepaired,
    Patch,
    Repair,
    Repaired,
    Replacement,
    Transformation,
    apply,
    attempt,
    describe,
)
from wotr_pipeline.events.rules import Accepted, Rejected
from wotr_pipeline.events.transformations import RepairContext

from . import messages
from .test_rules import message, nested, quoted, short

CONTEXT = RepairContext(datetime(2026, 11, 23, 8, tzinfo=UTC), "ingest-events", 0, 7)
quickly = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def patch(*operations: str) -> Patch:
    """Operations as short texts: ``add /id "a"``, ``move /a /b``."""
    items = []
    for operation in operations:
        name, path, rest = [*operation.split(" ", 2), ""][:3]
        if name in ("move", "copy"):
            items.append(f'{{"op":"{name}","from":"{path}","path":"{rest}"}}')
        else:
            value = f',"value":{rest}' if rest else ""
            items.append(f'{{"op":"{name}","path":"{path}"{value}}}')
    return Patch("[" + ",".join(items) + "]")


def refused(repair: Repair, value: bytes | None) -> RepairError:
    with pytest.raises(RepairError) as caught:
        apply(repair, value, CONTEXT)
    return caught.value


@pytest.mark.parametrize(
    ("repair", "before", "after"),
    [
        (patch('add /id "e-1"'), message(id=""), None),
        (patch('replace /payload/event_type "api_call"'), message(payload__event_type='"api-call"'), message()),
        (patch("remove /payload/user_id"), message(payload__user_id="{}"), message()),
        (patch("move /payload/user_id /payload/data/user_id"), message(payload__user_id="5"), None),
        (patch("copy /timestamp /id"), message(id="5"), None),
        (patch('test /payload/source "svc"', "remove /payload/tags/0"), message(payload__tags='["?"]'), None),
        (patch('add /payload/tags/- "c"', "remove /payload/tags/0"), message(payload__tags='["?","b"]'), None),
        (patch("add /payload/data {}", "add /payload/data/a 1"), message(payload__data="[]"), message()),
        (patch("replace /payload/data/a null"), message(payload__data='{"a":NaN,"b":1.0}'), None),
        (patch("replace /payload/data/a 0"), message(payload__data='{"a":1e400}'), None),
        (patch("replace /id 5", 'replace /id "e-1"'), message(id="true"), message()),
        (Transformation("numbers_to_text"), message(id="5"), message(id='"5"')),
        (Replacement(message()), b"no event", message()),
        (Replacement(message()), None, message()),
    ],
    ids=short,
)  # fmt: skip
def test_a_repaired_message_is_judged_anew(repair: Repair, before: bytes, after: bytes | None) -> None:
    result = attempt(repair, before, CONTEXT)
    assert isinstance(result, Repaired)
    assert isinstance(result.verdict, Accepted), result.verdict
    assert result.changed
    assert result.value == apply(repair, before, CONTEXT)
    assert after is None or result.value == after


def test_a_repair_that_is_not_enough_says_what_is_still_wrong() -> None:
    result = attempt(patch('replace /id "e-1"'), message(id="5", payload__source="7"), CONTEXT)
    assert isinstance(result, Repaired)
    assert isinstance(result.verdict, Rejected)
    assert (result.verdict.reason, result.verdict.field) == (Reason.WRONG_TYPE, "payload.source")


def test_a_message_that_comes_out_as_it_was_is_told() -> None:
    for repair in (
        AsIs(),
        Transformation("numbers_to_text"),
        Replacement(message()),
        patch('test /id "e-1"'),
    ):
        result = attempt(repair, message(), CONTEXT)
        assert isinstance(result, Repaired)
        assert (result.changed, result.value) == (False, message())
    same_value_other_bytes = attempt(patch('test /id "e-1"'), message() + b" ", CONTEXT)
    assert isinstance(same_value_other_bytes, Repaired)
    assert same_value_other_bytes.changed


NUMBERS = [
    "0", "-0", "1.0", "-0.0", "1e2", "1E+02", "1.50", "0.1000000000000000055511151231257827", "1e-400", "18446744073709551616",
    "-9223372036854775809", "7" * 400, "-" + "7" * 5000, "123456789012345678901234567890.123456789",
]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=short)
def test_a_patch_writes_numbers_as_they_were_written(number: str) -> None:
    value = message(id="5", payload__data=f'{{"a":[{number},{{"b":{number}}}]}}')
    repaired = apply(patch('replace /id "e-1"', f"add /payload/data/c {number}"), value, CONTEXT)
    assert repaired == message(payload__data=f'{{"a":[{number},{{"b":{number}}}],"c":{number}}}')
    moved = patch("move /payload/data/a /payload/data/d", "copy /payload/data/d /payload/data/e")
    assert apply(moved, value, CONTEXT).count(number.encode()) >= 4


def test_a_test_compares_numbers_by_value_and_nothing_with_anything_else() -> None:
    value = message(payload__data='{"a":1.0,"b":true,"c":"1","d":[1],"e":1e99999999999999999999}')
    for holds in ("a 1", "a 1e0", "a 10e-1", "b true", 'c "1"', "d [1.00]", "e 1e99999999999999999999"):
        apply(patch(f"test /payload/data/{holds}"), value, CONTEXT)
    for holds_not in ("a 2", "a true", 'a "1"', "b 1", "c 1", "d [true]", "d {}", "e 1", "f null", "a null"):
        error = refused(patch(f"test /payload/data/{holds_not}"), value)
        assert (error.refusal, str(error)) == (Refusal.TEST_FAILED, "operation 1 of 1 (test) does not hold")


def test_a_patch_writes_compact_utf8() -> None:
    value = b'{ "id" : "\\u00e9\\/", "a" : [ 1 , { } ] }'
    assert apply(patch('add /b "ü"'), value, CONTEXT) == '{"id":"é/","a":[1,{}],"b":"ü"}'.encode()


def test_a_patch_leaves_no_trace_in_the_next_message() -> None:
    repair = patch('add /payload/data {"a":[]}', "copy /id /payload/data/a/-")
    first = apply(repair, message(id='"one"'), CONTEXT)
    second = apply(repair, message(id='"two"'), CONTEXT)
    assert second == first.replace(b"one", b"two")


@pytest.mark.parametrize(
    ("repair", "value", "refusal", "text"),
    [
        (AsIs(), None, Refusal.EMPTY_MESSAGE, "no value"),
        (AsIs(), b"", Refusal.EMPTY_MESSAGE, "no value"),
        (patch('add /id "a"'), None, Refusal.EMPTY_MESSAGE, "no value"),
        (patch('add /id "a"'), b"zq", Refusal.NOT_JSON, "not JSON, near character 1"),
        (patch('add /id "a"'), b"\xff", Refusal.NOT_JSON, "not UTF-8"),
        (patch('add /id "a"'), b"[" * 200 + b"\xff", Refusal.NOT_JSON, "not UTF-8"),
        (patch('add /id "a"'), b"\xef\xbb\xbf{}", Refusal.NOT_JSON, "not JSON, near character 1"),
        (patch('add /id "a"'), message(payload__data='{"zq":1,"zq":2}'), Refusal.DUPLICATE_KEY, "more than once"),
        (patch('add /id "a"'), message(payload__data='{"a":[{"zq":1,"z\\u0071":2}]}'), Refusal.DUPLICATE_KEY, "more"),
        (patch('add /id "a"'), message(payload__data=nested(200)), Refusal.NESTING_TOO_DEEP, "100 levels"),
        (patch('add /id "a"'), b"[" * 5000, Refusal.NESTING_TOO_DEEP, "100 levels"),
        (patch('add /id "a"'), message(payload__data='{"a":"\\ud800"}'), Refusal.NOT_JSON, "cannot be written"),
        (patch("remove /payload/zq"), message(), Refusal.PATH_NOT_FOUND, "operation 1 of 1 (remove)"),
        (patch('test /id "e-1"', "remove /payload/tags/0"), message(), Refusal.PATH_NOT_FOUND, "operation 2 of 2"),
        (patch("add /payload/tags/5 1"), message(payload__tags='["zq"]'), Refusal.PATH_NOT_FOUND, "(add)"),
        (patch("add /payload/tags/-/a 1"), message(payload__tags='["zq"]'), Refusal.PATH_NOT_FOUND, "(add)"),
        (patch("replace /payload/tags/- 1"), message(payload__tags='["zq"]'), Refusal.PATH_NOT_FOUND, "(replace)"),
        (patch("add /id/a 1"), message(), Refusal.PATH_NOT_FOUND, "(add)"),
        (patch("add /payload/data/a/b 1"), message(), Refusal.PATH_NOT_FOUND, "(add)"),
        (patch("move /payload /payload/data"), message(), Refusal.PATH_NOT_FOUND, "(move)"),
        (patch("remove "), message(), Refusal.PATH_NOT_FOUND, "(remove)"),
        (patch('test /id "x"'), message(id='"zq"'), Refusal.TEST_FAILED, "operation 1 of 1 (test)"),
        (patch(*(f"copy /payload /payload/data/x{number}" for number in range(40))), message(), Refusal.TOO_LARGE, "can be sent"),
        (patch('add /payload/zq "' + "x" * 999_900 + '"'), message(), Refusal.TOO_LARGE, "can be sent"),
        (Replacement(b"x" * (MAX_REPAIRED_BYTES + 1)), message(), Refusal.TOO_LARGE, "1,000,001 bytes"),
        (Transformation("tags_from_text"), None, Refusal.EMPTY_MESSAGE, "no value"),
        (Transformation("tags_from_text"), message(payload__tags="5"), Refusal.DOES_NOT_APPLY, "payload.tags is a number"),
    ],
    ids=short,
)  # fmt: skip
def test_a_repair_that_cannot_be_applied_says_why_and_not_what_the_message_holds(
    repair: Repair, value: bytes | None, refusal: Refusal, text: str
) -> None:
    error = refused(repair, value)
    assert error.refusal is refusal
    assert text in str(error)
    assert "zq" not in str(error)
    assert attempt(repair, value, CONTEXT) == NotRepaired(refusal, str(error))


def test_a_large_message_may_become_smaller_or_stay() -> None:
    large = message(payload__data='{"a":"' + "x" * MAX_REPAIRED_BYTES + '"}')
    assert apply(AsIs(), large, CONTEXT) == large
    assert apply(patch("replace /payload/data/a 1"), large, CONTEXT) == message()


@pytest.mark.parametrize(
    ("operations", "text"),
    [
        ("", "the patch: not JSON, near character 1"),
        ("[,]", "the patch: not JSON, near character 2"),
        ("[" * 200 + "]" * 200, "the patch: nested deeper than 100 levels"),
        ('[{"op":"test","op":"add","path":""}]', "the patch: an object has a key more than once"),
        ("[]", "a patch is an array of 1 to 100 operations"),
        ('{"op":"remove","path":"/a"}', "a patch is an array of 1 to 100 operations"),
        ("5", "a patch is an array of 1 to 100 operations"),
        (json.dumps([{"op": "remove", "path": "/a"}] * (MAX_OPERATIONS + 1)), "1 to 100 operations"),
        ('[{"op":"remove","path":"/a"},5]', "operation 2 of 2 is not an object"),
        ('[{"path":"/a"}]', "operation 1 of 1: its op is none of add, remove"),
        ('[{"op":"append","path":"/a","value":"b"}]', "operation 1 of 1: its op is none of add, remove"),
        ('[{"op":["add"],"path":"/a","value":"b"}]', "operation 1 of 1: its op is none of add, remove"),
        ('[{"op":"remove"}]', "operation 1 of 1 (remove) has no path"),
        ('[{"op":"add","path":"/a"}]', "operation 1 of 1 (add) has no value"),
        ('[{"op":"test","path":"/a","vale":1}]', "operation 1 of 1 (test) has no value"),
        ('[{"op":"copy","path":"/a"}]', "operation 1 of 1 (copy) has no from"),
        ('[{"op":"remove","path":"a"}]', "operation 1 of 1 (remove): its path is not a JSON Pointer"),
        ('[{"op":"remove","path":"/a~2"}]', "operation 1 of 1 (remove): its path is not a JSON Pointer"),
        ('[{"op":"remove","path":5}]', "operation 1 of 1 (remove): its path is not a JSON Pointer"),
        (
            '[{"op":"move","from":null,"path":"/a"}]',
            "operation 1 of 1 (move): its from is not a JSON Pointer",
        ),
        ("\ud800", "the patch: not UTF-8"),
        ('[{"op":"add","path":"/a","value":"\\ud800"}]', "the patch: it cannot be written"),
        ('[{"op":"add","path":"/a","value":[NaN]}]', "the patch: NaN and Infinity are no numbers of JSON"),
        (" " * (MAX_REPAIRED_BYTES + 1), "the patch is longer than"),
    ],
    ids=short,
)
def test_a_patch_that_is_none_is_refused_at_once_naming_the_operation(operations: str, text: str) -> None:
    with pytest.raises(RepairError) as caught:
        Patch(operations)
    assert caught.value.refusal is Refusal.INVALID_REPAIR
    assert text in str(caught.value)


def test_a_transformation_must_be_one_of_the_registry() -> None:
    with pytest.raises(RepairError, match="there are decode_latin1") as caught:
        Transformation("event_type_alias")
    assert caught.value.refusal is Refusal.INVALID_REPAIR


def test_a_repair_is_described_by_its_parameters_and_never_by_a_messages_bytes() -> None:
    edited = message(id='"zq"')
    described = describe(Replacement(edited))
    assert described == {
        "kind": "replacement",
        "size_bytes": len(edited),
        "sha256": hashlib.sha256(edited).hexdigest(),
    }
    assert describe(Transformation("tags_from_text")) == {"kind": "transformation", "name": "tags_from_text"}
    assert describe(AsIs()) == {"kind": "as_is"}
    long = "7" * 5000
    described = describe(patch(f'add /payload/data {{"a":1.0,"b":1e2,"c":{long},"d":5,"e":[null,"é"]}}'))
    operation = {"op": "add", "path": "/payload/data"}
    value = {"a": 1.0, "b": "1e2", "c": long, "d": 5, "e": [None, "é"]}
    assert described == {"kind": "patch", "operations": [operation | {"value": value}]}
    json.dumps(described)


POINTERS = st.lists(
    st.sampled_from(["payload", "data", "tags", "id", "a", "0", "-", "~0", "extra", "01", "99999999999999999999"]),
    max_size=4,
).map(lambda parts: "".join("/" + part for part in parts))  # fmt: skip
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": POINTERS,
        "from": POINTERS,
        "value": messages.ANY_JSON,
    }
)


@quickly
@given(st.lists(OPERATIONS, min_size=1, max_size=4), messages.ANYTHING)
def test_any_patch_of_any_message_gives_a_result_or_a_refusal(
    operations: list[dict[str, object]], value: bytes | None
) -> None:
    repair = Patch(json.dumps(operations))
    result = attempt(repair, value, CONTEXT)
    assert result == attempt(repair, value, CONTEXT)
    if isinstance(result, Repaired):
        json.loads(result.value, parse_int=str)
    json.dumps(describe(repair))


@quickly
@given(messages.ANYTHING.filter(bool))
def test_a_patch_that_changes_nothing_keeps_the_verdict(value: bytes) -> None:
    """The same columns too: only the text of the payload is written anew."""
    before, after = attempt(AsIs(), value, CONTEXT), attempt(patch("add /zq 1", "remove /zq"), value, CONTEXT)
    assert isinstance(before, Repaired)
    if isinstance(after, Repaired) and isinstance(before.verdict, Accepted):
        assert isinstance(after.verdict, Accepted)
        assert json.loads(after.verdict.payload, parse_int=str, parse_float=str) == json.loads(
            before.verdict.payload, parse_int=str, parse_float=str
        )


def test_a_whole_message_can_be_put_in_by_a_patch() -> None:
    assert apply(patch("add  " + message().decode()), b"[]", CONTEXT) == message()
    assert apply(patch("replace  " + quoted("a")), b"[]", CONTEXT) == b'"a"'
