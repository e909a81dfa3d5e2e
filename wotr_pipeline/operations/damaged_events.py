"""Events that break the contract, each in one way: what producers really send on bad days.

Belongs here: one function a way. Every one is refused by the rules, whatever else is in the event.
Does not belong here: why it is refused (``events/``), how many there are (``sample_events.py``).
"""

import json
import random
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]


def damaged(name: str, event_id: str, timestamp: str, chance: random.Random) -> bytes | None:
    """The value of a record that is damaged in the way ``name`` (a key of ``DAMAGES``)."""
    event: Event = {
        "id": event_id,
        "timestamp": timestamp,
        "payload": {
            "event_type": "user_action",
            "source": "web-frontend",
            "user_id": f"user-{chance.randrange(100_000)}",
            "ip_address": "192.0.2.17",
            "data": {"action": "click", "page": "/cart", "trace_id": f"{chance.getrandbits(128):032x}"},
            "tags": ["beta", "eu-west"],
            "version": "1.0",
        },
    }
    return DAMAGES[name](event)


def _with(**fields: object) -> Callable[[Event], bytes]:
    return lambda event: _bytes(event | fields)


def _without(name: str) -> Callable[[Event], bytes]:
    return lambda event: _bytes({field: value for field, value in event.items() if field != name})


def _payload(**fields: object) -> Callable[[Event], bytes]:
    return lambda event: _bytes(event | {"payload": event["payload"] | fields})


def _payload_without(name: str) -> Callable[[Event], bytes]:
    return lambda event: _bytes(
        event | {"payload": {field: value for field, value in event["payload"].items() if field != name}}
    )


def _text(old: bytes, new: bytes) -> Callable[[Event], bytes]:
    return lambda event: _bytes(event).replace(old, new, 1)


def _bytes(event: object) -> bytes:
    return json.dumps(event).encode()


DAMAGES: dict[str, Callable[[Event], bytes | None]] = {
    "tombstone": lambda _: None,
    "empty value": lambda _: b"",
    "not JSON": lambda event: b"event " + _bytes(event),
    "cut short": lambda event: _bytes(event)[:-40],
    "text after the end": lambda event: _bytes(event) + b"}",
    "not an object": lambda event: _bytes([event]),
    "invalid UTF-8": _text(b"/cart", b"/c\xe4rt"),
    "NaN": _text(b'"click"', b"NaN"),
    "nested 1500 deep": _text(b'"click"', b"[" * 1500 + b"]" * 1500),
    "no id": _without("id"),
    "empty id": _with(id=""),
    "id is a number": _with(id=4711),
    "id of 101 characters": _with(id="x" * 101),
    "no timestamp": _without("timestamp"),
    "timestamp is a number": _with(timestamp=1795423135),
    "date that does not exist": _with(timestamp="2026-02-30T12:00:00Z"),
    "timestamp in words": _with(timestamp="yesterday at noon"),
    "no payload": _without("payload"),
    "payload is null": _with(payload=None),
    "no event_type": _payload_without("event_type"),
    "unknown event_type": _payload(event_type="user_actoin"),
    "no source": _payload_without("source"),
    "empty source": _payload(source=""),
    "source is a number": _payload(source=7),
    "source of 101 characters": _payload(source="s" * 101),
    "user_id of 51 characters": _payload(user_id="u" * 51),
    "session_id is an object": _payload(session_id={"id": "abc"}),
    "address out of range": _payload(ip_address="192.0.2.256"),
    "address with leading zeros": _payload(ip_address="192.000.002.017"),
    "data is text": _payload(data="action=click"),
    "data of 110 KB": _payload(data={"blob": "b" * 110_000}),
    "tags is text": _payload(tags="beta,eu-west"),
    "eleven tags": _payload(tags=[f"tag-{number}" for number in range(11)]),
    "tag with a space": _payload(tags=["eu west"]),
    "version is a number": _payload(version=1.0),
    "version without minor": _payload(version="1"),
    "metric without a value": _payload(event_type="metric", data={"metric_name": "cpu.load"}),
}
