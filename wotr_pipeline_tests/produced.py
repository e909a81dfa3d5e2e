"""Events for tests: good ones by id, and a few bad ones.

Belongs here: the smallest events that keep or break the contract.
Does not belong here: realistic streams (``operations/sample_events.py``).
"""

import json
from datetime import UTC, datetime

HAPPENED = datetime(2026, 11, 23, 8, tzinfo=UTC)
BAD = [
    b"not json at all",
    (
        b'{"id": "bad-nan", "timestamp": "2026-11-23T08:00:00Z", "payload": {"event_type": "metric", '
        b'"source": "s", "data": {"metric_name": "m", "metric_value": NaN}}}'
    ),
    (
        b'{"id": "bad-type", "timestamp": "2026-11-23T08:00:00Z", "payload": {"event_type": "nonsense", '
        b'"source": "s", "data": {}}}'
    ),
    b"\xff\xfe",
]


def event(name: str, happened: datetime = HAPPENED, **payload: object) -> bytes:
    """A good event with this id."""
    return json.dumps(
        {
            "id": name,
            "timestamp": f"{happened:%Y-%m-%dT%H:%M:%S}.000Z",
            "payload": {"event_type": "api_call", "source": "tests", "data": {"path": "/"}, **payload},
        }
    ).encode()
