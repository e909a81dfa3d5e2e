"""Hypothesis strategies for messages: well-formed, odd, malformed and hostile.

Belongs here: how to make messages up. Members are made as *text*, because parsers and serialisers would tidy up
the very things that matter: escapes, spaces, repeated keys, 1.0 and 1e400.
Does not belong here: what should be said about them.
"""

import json
from datetime import UTC, datetime

from hypothesis import strategies as st

GRAPHIC = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\{}:')
NAME = st.text(GRAPHIC, min_size=1, max_size=40)

TIMESTAMP = st.builds(
    lambda moment, digits, zone: (
        datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S") + digits + zone
    ),
    st.integers(946_771_200, 4_102_358_400),  # one day within the years 2000 to 2099
    st.sampled_from(["", ".5", ".123", ".123456", ".000001", ".123456789", ".9999999"]),
    st.sampled_from(["Z", "", "+00:00", "-05:30", "+14:00"]),
)
IP_ADDRESS = st.lists(st.integers(0, 255), min_size=4, max_size=4).map(
    lambda parts: ".".join(map(str, parts))
)
TAG = st.text(st.sampled_from("azAZ09_-"), min_size=1, max_size=12)
VERSION = st.builds("{}.{}".format, st.integers(0, 99), st.integers(0, 99))
# A text that ends in a backslash misleads the engine's scanner for data's end: such an event is doubtful.
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\"), max_size=12)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=5,
)
SPACING = st.sampled_from([(",", ":"), (", ", ": ")])


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """An event as a decent producer writes it: the contract's members in any order, compact or json.dumps style."""
    event_type = draw(st.sampled_from(["user_action", "system_event", "api_call", "error", "metric"]))
    data = draw(st.dictionaries(TEXT, ANY_JSON, max_size=2))
    if event_type == "metric":
        data = {key: value for key, value in data.items() if value is not None} | {
            "metric_name": draw(NAME),
            "metric_value": draw(st.integers() | st.floats(allow_nan=False, allow_infinity=False)),
        }
    elif event_type == "error" and draw(st.booleans()):
        data["error_message"] = draw(TEXT)
    payload: dict[str, object] = {"event_type": event_type, "source": draw(NAME), "data": data}
    optional = {"user_id": NAME, "session_id": NAME, "ip_address": IP_ADDRESS, "version": VERSION}
    for name in draw(st.lists(st.sampled_from(sorted(optional)), unique=True)):
        payload[name] = draw(optional[name] | st.none())
    if draw(st.booleans()):
        payload["tags"] = draw(st.lists(TAG, max_size=10))
    event = {"id": draw(st.uuids().map(str) | NAME), "timestamp": draw(TIMESTAMP), "payload": payload}
    item_separator, key_separator = draw(SPACING)
    shuffled = dict(draw(st.permutations(sorted(event.items()))))
    shuffled["payload"] = dict(draw(st.permutations(sorted(payload.items()))))
    text = json.dumps(shuffled, separators=(item_separator, key_separator), ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "replace")


def _deep(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "1" + closing * depth


STRINGS = st.sampled_from(
    [
        '"a"', '"5"', '""', '" "', '" a"', '"a "', '": a"', '":a"', '"a, "', '"a,"', '"[a"', '"a]"', '"{"', '"}"',
        '"a{}"', '"\\""', '"\\\\"', '"\\u0041"', '"\\u0000"', '"\x00"', '"\n"', '"\x7f"', '"\\n"', '"é"', '"\\ud800"',
        '"\\udc00"', '"\\ud83d\\ude00"', '"\\x"', '"null"', '"true"', '"data"', '"payload"', '"\\"data\\":"',
        '"1.0"', '"01.0"', '"1"', '"2.10"', '"1.0.0"', '"123456.0"', '"192.0.2.1"', '"192.0.2.01"', '"256.0.0.1"',
        '"1.2.3"', '"::1"', '"metric"', '"error"', '"user_action"', '"api_call"', '"Metric"', '"metric "',
        '"2026-11-23T08:00:00Z"', '"2026-02-29T08:00:00Z"', '"2024-02-29T08:00:00+01:00"', '"2026-02-30T08:00:00Z"',
        '"2026-04-31T08:00:00Z"', '"2026-11-23T24:00:00Z"', '"2026-11-23T23:59:60Z"', '"2026-11-23 08:00:00Z"',
        '"2026-11-23"', '"1795420800"', '"2026-11-23T08:00Z"', '"2026-11-23T08:00:00,5Z"', '"20261123T080000Z"',
        '"2026-11-23T08:00:00.1234567899Z"', '"2026-11-23T08:00:00+24:00"', '"2026-11-23T08:00:00+15:00"',
        '"1899-12-31T23:59:59Z"', '"2300-01-01T00:00:00Z"', '"9999-12-31T23:59:59-12:00"', '"2099-12-31T23:59:59-14:00"',
        '"2000-01-01T00:00:00+14:00"', '"2100-02-29T00:00:00Z"', '"2000-02-29T00:00:00Z"', '"\uff12026-11-23T08:00:00Z"',
        '"' + "a" * 50 + '"', '"' + "a" * 51 + '"', '"' + "a" * 100 + '"', '"' + "a" * 101 + '"', '"' + "é" * 100 + '"',
    ]
)  # fmt: skip
SCALARS = st.sampled_from(
    [
        "null", "true", "false", "0", "5", "-0", "-0.0", "1.0", "1e2", "1e400", "-1e400", "1e-400", "01", "1.", "+1", ".5",
        "18446744073709551615", "18446744073709551616", "-9223372036854775809", "1" * 400, "-" + "9" * 310, "1" * 400 + ".5",
        "0.30000000000000004", "NaN", "Infinity", "-Infinity", "nul", "undefined", "'a'", "", "/**/1",
    ]
)  # fmt: skip
CONTAINERS = st.sampled_from(
    [
        "[]", "{}", "[1,2]", '["a"]', '["a", "b"]', '["a","a"]', '["a b"]', '["é"]', '[""]', '[null]', '[5]', "[,]", '["a",]',
        '["a"', '{"a":1}', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"b":{"a":1,"a":2}}', '{"a":1,}', "{a:1}", '{"a":"{"}',
        '{"a":"}"}', '{"a":"\\\\"}', '{"a":"\\\\\\""}', '{"a":"]"}', '{"a":"\\"}"}', '{"a":[{"b":"},{"}]}', '{ "a" : 1 }',
        '{"metric_name":"m","metric_value":1}', '{"metric_name":"m"}', '{"metric_name":null,"metric_value":1}',
        '{"metric_name":"m","metric_value":1,"metric_name":null}', '{"metric_name":"m","metric\\u005fvalue":1.0}',
        '{"x":{"metric_name":"m","metric_value":1}}', '{"error_message":"m"}', '{"error_message":null}',
        '{"error_message":""}', '{"error_message":5}', '{"error_message":[]}', '{"error_message" : null}',
        '{"error_message":\n\tnull}', '{"error_message": null, "a": null}', '{"error_message":"m","a":null}', '{"a":{"error_message":"m"}}',
        '{"metric_name":"m", "metric_value":  null}', '{"metric_name":"m","metric_value":0,"a":null}', '{"metric_valu\\u0065":null,"metric_name":1}', '{"error\\u005fmessage":"x","error_message":null}', '{"data":{"data":{}}}',
        '{"payload":{"source":"x"}}', '{"id":"x","timestamp":"y"}', '{"a":1},"source":"x"', '{"a":1}}', '{"a":"\x00"}',
        '{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"a":1e400}', '{"a":' + "7" * 330 + "}", '{"a":NaN}', '{"":0}',
        '{"a":' + _deep("[", "]", 1020) + "}", '{"a":' + _deep("[", "]", 1022) + "}", '{"a":' + _deep("[", "]", 1023) + "}",
        '{"a":' + _deep("[", "]", 1500) + "}", _deep('{"a":', "}", 1023), _deep('{"a":', "}", 1024), "[" * 1500, "[" * 3 + "]" * 3,
        '["' + '","'.join("abcdefghij") + '"]', '["' + '","'.join("abcdefghijk") + '"]', '{"a":"' + "x" * 102_392 + '"}',
        '{"a":"' + "x" * 102_393 + '"}',
    ]
)  # fmt: skip
FRAGMENT = st.one_of(STRINGS, STRINGS, SCALARS, CONTAINERS, ANY_JSON.map(json.dumps))

GOOD = {
    "id": '"e-1"', "timestamp": '"2026-11-23T08:00:00Z"', "event_type": '"api_call"', "source": '"svc"', "data": '{"a":1}',
    "user_id": '"u"', "session_id": '"s"', "ip_address": '"192.0.2.1"', "tags": '["a"]', "version": '"1.0"',
}  # fmt: skip
PAYLOAD_NAMES = ("event_type", "source", "data", "user_id", "session_id", "ip_address", "tags", "version")
ODD_KEYS = st.sampled_from(
    [
        '"extra"',
        '"ID"',
        '"i\\u0064"',
        '"\\u0064ata"',
        '"data"',
        '"payload"',
        '"id"',
        '"source"',
        '"tags"',
        '"user_id"',
        "id",
        '"',
        "5",
    ]
)
SPACE = st.sampled_from(["", "", "", " ", " ", "  ", "\n", "\t", "\x0b"])


@st.composite
def odd(draw: st.DrawFn) -> bytes:
    """Nearly an event: some members replaced, missing, repeated or unknown, with any spacing."""

    def members(names: tuple[str, ...], known: dict[str, str]) -> str:
        present = [name for name in names if draw(st.integers(0, 30)) > 0 and (name in known)]
        pieces = [
            (f'"{name}"', draw(FRAGMENT) if draw(st.integers(0, 9)) == 0 else known[name]) for name in present
        ]
        if draw(st.integers(0, 3)) == 0 and pieces:
            pieces.append(draw(st.sampled_from(pieces)))
        if draw(st.integers(0, 5)) == 0:
            pieces.append((draw(ODD_KEYS), draw(FRAGMENT)))
        pieces = draw(st.permutations(pieces))
        after_colon, after_comma = (draw(SPACE), draw(SPACE)) if draw(st.booleans()) else ("", "")
        before_colon = draw(SPACE) if draw(st.integers(0, 9)) == 0 else ""
        return (
            "{"
            + f",{after_comma}".join(f"{key}{before_colon}:{after_colon}{value}" for key, value in pieces)
            + "}"
        )

    kept = tuple(name for name in PAYLOAD_NAMES if name in PAYLOAD_NAMES[:3] or draw(st.booleans()))
    known = dict(GOOD)
    if draw(st.integers(0, 2)) == 0:
        known["event_type"] = draw(st.sampled_from(['"metric"', '"error"', '"user_action"']))
    for name in ("user_id", "session_id", "ip_address", "tags", "version"):
        if draw(st.integers(0, 5)) == 0:
            known[name] = "null"
    if draw(st.integers(0, 2)) == 0:
        known["data"] = draw(CONTAINERS)
    known["payload"] = members(kept, known)
    text = members(("id", "timestamp", "payload"), known)
    return text.encode("utf-8", "surrogatepass")


INSERTS = st.sampled_from(
    [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n",
     b'"data":{}', b'"data":', b',"id":"x"', b'"payload":{', b"null", b"\\u0041", b"1"]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message with bytes put in, taken out or doubled."""
    value = draw(st.one_of(well_formed(), odd()))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(value)))
        end = min(len(value), start + draw(st.integers(0, 12)))
        replacement = draw(st.one_of(INSERTS, st.just(b""), st.just(value[start:end] * 2)))
        value = value[:start] + replacement + value[end:]
    return value


ANYTHING = st.one_of(well_formed(), odd(), odd(), damaged(), damaged(), st.binary(max_size=40), st.none())
