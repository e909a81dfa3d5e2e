"""What an event is: names, closed sets, lengths and patterns of the event contract.

Belongs here: constants only. ``rules.py`` applies them precisely, ``sql/judge.sql`` applies a stricter
form of them to whole batches (SQL cannot import them: the property test holds the two together).
Does not belong here: anything that decides.

    {"id": str 1..100, "timestamp": ISO 8601, "payload": {
       "event_type": one of EVENT_TYPES, "source": str 1..100,
       "user_id": str ≤ 50?, "session_id": str ≤ 100?, "ip_address": IPv4?,
       "data": object ≤ 100 KB, "tags": ≤ 10 of [A-Za-z0-9_-]+?, "version": "MAJOR.MINOR"?}}

What the contract leaves open is decided so:

- **JSON** is RFC 8259 in UTF-8: no NaN, no comments, no trailing commas, no byte order mark, no lone
  surrogates, also as escapes. A number beyond a double's range is malformed; an integer may have any
  number of digits, because the payload is stored as it was written.
- **Nesting**: at most MAX_NESTING levels in the whole message, MAX_NESTING - 2 of them in ``data``.
- **A key twice** in the document or in the payload is an error, and so is metric_name, metric_value or
  error_message twice in ``data``: readers disagree on which one counts. What else ``data`` repeats is its
  producer's business, and is stored as it was written.
- **Unknown members** of document and payload are allowed (newer producers) and kept in the payload's text.
- **null** in an optional member means that it is absent, in a required one that it is missing. An empty
  user_id or session_id means absent as well.
- **Types are strict**: 5 is not "5", true is not "true".
- **Lengths** count Unicode code points; control characters (C0, DEL, C1), so also NUL, are not allowed
  in id, source, user_id and session_id. ``data`` may hold them as escapes.
- **data's size** is that of its bytes in the message, as written.
- **Timestamps**: date and time with ``T``; seconds and fraction (``.`` or ``,``, 1 to 9 digits, cut to
  microseconds) may be missing; ``Z``, ``±hh:mm``, ``±hhmm`` or ``±hh``, and without a zone UTC is meant. The
  day and the time must exist (no second 60, no hour 24); years FIRST_YEAR to LAST_YEAR in UTC. No epochs, no
  bare dates.
- **IPv4** is four decimal numbers 0..255 without leading zeros.
- **version** is two numbers of at most five digits without leading zeros.
- A **metric** must carry data.metric_name and data.metric_value, neither of them null.
"""

import re

RULES_VERSION = "2026-11-24.1"
"""Changes whenever a verdict, a reason or a column of some event may change. Dead letters record it."""

EVENT_TYPES = frozenset({"user_action", "system_event", "api_call", "error", "metric"})
METRIC_FIELDS = ("metric_name", "metric_value")
ERROR_MESSAGE_FIELD = "error_message"

KNOWN_PATHS = frozenset(
    {("id",), ("timestamp",), ("payload",)}
    | {("payload", name) for name in ("event_type", "source", "user_id", "session_id", "ip_address")}
    | {("payload", name) for name in ("data", "tags", "version")}
    | {("payload", "data", name) for name in (*METRIC_FIELDS, ERROR_MESSAGE_FIELD)}
)
"""Members that the contract names. Errors name no others: a key can hold anything."""

MAX_ID_LENGTH = 100
MAX_SOURCE_LENGTH = 100
MAX_USER_ID_LENGTH = 50
MAX_SESSION_ID_LENGTH = 100
MAX_DATA_BYTES = 100 * 1024
MAX_TAGS = 10
MAX_NESTING = 1026
"""1,024 levels of data, which is as far as the parsers follow, and two around it."""
DEFAULT_VERSION = "1.0"
FIRST_YEAR, LAST_YEAR = 1900, 2299
"""What ClickHouse's DateTime64 can hold."""

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
TAG = re.compile(r"[A-Za-z0-9_-]+")
VERSION = re.compile(r"(?:0|[1-9][0-9]{0,4})\.(?:0|[1-9][0-9]{0,4})")
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)?"
)
"""Groups: year, month, day, hour, minute, second, fraction, sign, zone's hours and minutes. Use fullmatch."""
