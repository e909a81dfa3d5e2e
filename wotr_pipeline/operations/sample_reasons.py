"""Why each way of damaging an event must be refused: written down by hand, so that the demo's account
compares the rules with something that is not the rules.

Belongs here: that table. Does not belong here: the damages (``damaged_events.py``), the rules (``events/``).
"""

from collections import Counter
from collections.abc import Mapping

from wotr_pipeline.events.reasons import Reason

REASONS: Mapping[str, Reason] = {
    "tombstone": Reason.EMPTY_MESSAGE,
    "empty value": Reason.EMPTY_MESSAGE,
    "not JSON": Reason.MALFORMED_JSON,
    "cut short": Reason.MALFORMED_JSON,
    "text after the end": Reason.MALFORMED_JSON,
    "not an object": Reason.WRONG_TYPE,
    "invalid UTF-8": Reason.INVALID_ENCODING,
    "NaN": Reason.MALFORMED_JSON,
    "nested 1500 deep": Reason.NESTING_TOO_DEEP,
    "no id": Reason.MISSING_FIELD,
    "empty id": Reason.EMPTY_VALUE,
    "id is a number": Reason.WRONG_TYPE,
    "id of 101 characters": Reason.TOO_LONG,
    "no timestamp": Reason.MISSING_FIELD,
    "timestamp is a number": Reason.WRONG_TYPE,
    "date that does not exist": Reason.INVALID_TIMESTAMP,
    "timestamp in words": Reason.INVALID_TIMESTAMP,
    "no payload": Reason.MISSING_FIELD,
    "payload is null": Reason.MISSING_FIELD,
    "no event_type": Reason.MISSING_FIELD,
    "unknown event_type": Reason.UNKNOWN_EVENT_TYPE,
    "no source": Reason.MISSING_FIELD,
    "empty source": Reason.EMPTY_VALUE,
    "source is a number": Reason.WRONG_TYPE,
    "source of 101 characters": Reason.TOO_LONG,
    "user_id of 51 characters": Reason.TOO_LONG,
    "session_id is an object": Reason.WRONG_TYPE,
    "address out of range": Reason.INVALID_IP_ADDRESS,
    "address with leading zeros": Reason.INVALID_IP_ADDRESS,
    "data is text": Reason.WRONG_TYPE,
    "data of 110 KB": Reason.DATA_TOO_LARGE,
    "tags is text": Reason.WRONG_TYPE,
    "eleven tags": Reason.TOO_MANY_TAGS,
    "tag with a space": Reason.INVALID_TAG,
    "version is a number": Reason.WRONG_TYPE,
    "version without minor": Reason.INVALID_VERSION,
    "metric without a value": Reason.INCOMPLETE_METRIC,
}


def expected_reasons(damages: Mapping[str, int]) -> dict[str, int]:
    """How many events must be refused for each reason code, given how many were damaged in each way."""
    expected: Counter[str] = Counter()
    for damage, count in damages.items():
        expected[str(REASONS[damage])] += count
    return dict(expected)
