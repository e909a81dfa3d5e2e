"""Why an event is rejected, or accepted with a warning: two closed sets of codes.

Belongs here: the codes (stored in ``error_code``, ``warnings`` and dead letters, never renamed) and one
line each for operators; the documentation derives from them.
Does not belong here: the rules that give them, or texts about one particular event.
"""

from enum import StrEnum


class Described(StrEnum):
    """A code with the line that explains it."""

    description: str

    def __new__(cls, code: str, description: str = "") -> "Described":
        member = str.__new__(cls, code)
        member._value_ = code
        member.description = description
        return member


class Reason(Described):
    """Why an event is rejected."""

    EMPTY_MESSAGE = "empty_message", "The Kafka message has no value (a tombstone) or an empty one."
    INVALID_ENCODING = "invalid_encoding", "The message is not UTF-8."
    MALFORMED_JSON = "malformed_json", "The message is not JSON (RFC 8259)."
    NESTING_TOO_DEEP = (
        "nesting_too_deep",
        "Arrays and objects are nested deeper than any reader should follow.",
    )
    DUPLICATE_KEY = "duplicate_key", "An object names one member twice, so readers disagree on its value."
    MISSING_FIELD = "missing_field", "A required field is absent or null."
    WRONG_TYPE = "wrong_type", "A field has another JSON type than the contract says."
    EMPTY_VALUE = "empty_value", "A required text is empty."
    TOO_LONG = "too_long", "A text is longer than the contract allows."
    CONTROL_CHARACTER = "control_character", "A text holds a control character, such as NUL or a line break."
    INVALID_TIMESTAMP = (
        "invalid_timestamp",
        "The timestamp is not ISO 8601 or names a moment that does not exist.",
    )
    TIMESTAMP_OUT_OF_RANGE = (
        "timestamp_out_of_range",
        "The timestamp lies outside the years that can be stored.",
    )
    UNKNOWN_EVENT_TYPE = "unknown_event_type", "The event_type is none of the contract's."
    INVALID_IP_ADDRESS = "invalid_ip_address", "The ip_address is not a dotted IPv4 address."
    DATA_TOO_LARGE = "data_too_large", "The data object takes more bytes than the contract allows."
    TOO_MANY_TAGS = "too_many_tags", "There are more tags than the contract allows."
    INVALID_TAG = "invalid_tag", "A tag has characters other than letters, digits, _ and -, or none."
    INVALID_VERSION = "invalid_version", "The version is not MAJOR.MINOR."
    INCOMPLETE_METRIC = "incomplete_metric", "A metric lacks data.metric_name or data.metric_value."
    REFUSED_ELSEWHERE = (
        "refused_elsewhere",
        "Another service put it among the dead letters; the rules here accept it.",
    )


class EventWarning(Described):
    """What is odd about an accepted event."""

    USER_ACTION_WITHOUT_USER_ID = "user_action_without_user_id", "A user_action does not say whose."
    ERROR_WITHOUT_ERROR_MESSAGE = "error_without_error_message", "An error carries no data.error_message."
