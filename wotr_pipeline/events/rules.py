"""The precise rules: one message in, one verdict out. Their word is final.

Belongs here: deciding whether an event keeps the contract, and why not. Pure, and it never raises.
Does not belong here: the contract's numbers (``contract.py``), taking bytes apart (``document.py``), what
becomes of a verdict (``columns.py``, ``envelope.py``). Most events are judged by ``sql/judge.sql``; the
doubtful ones come here.

Rules are applied in the order of the contract, those on the bytes (repeated keys, size of data) last, and the
first one broken gives the reason. Messages state lengths, types and limits,
never the value's content.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

from . import contract
from .document import Document, DocumentError, lay_out, plain_payload, read_document
from .reasons import EventWarning, Reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that keeps the contract. Absent optional texts are ''."""

    id: str
    timestamp: datetime
    """Aware, UTC, microseconds."""
    event_type: str
    source: str
    user_id: str
    session_id: str
    ip_address: str
    tags: tuple[str, ...]
    version: str
    payload: str
    """JSON text of the payload object, as it was written."""
    warnings: tuple[EventWarning, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that breaks the contract, with what could be read of it safely."""

    reason: Reason
    field: str
    """Path such as ``payload.tags[3]``; '' is the whole message. Only names of the contract."""
    message: str
    id: str | None = None
    event_type: str | None = None
    source: str | None = None
    timestamp: datetime | None = None
    version: str | None = None
    """None also when the event says none: what holds then is decided only for an event that is accepted."""


@dataclass(frozen=True, slots=True)
class Substitutes:
    """What an edge that may complete an event puts in for an absent id or timestamp."""

    id: str
    timestamp: datetime


class _BrokenRuleError(Exception):
    def __init__(self, reason: Reason, field: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.field, self.message = reason, field, message


def judge(value: bytes | None, substitutes: Substitutes | None = None) -> Accepted | Rejected:
    """Judge the bytes of one message; None is a Kafka tombstone. Never raises, whatever the bytes.

    The pipeline requires id and timestamp; the gateway passes ``substitutes`` for absent ones.
    """
    try:
        document = read_document(value or b"")
    except DocumentError as error:
        return Rejected(error.reason, error.path, error.message)
    return judge_document(document, substitutes)


def judge_document(document: Document, substitutes: Substitutes | None = None) -> Accepted | Rejected:
    """Judge a message that ``read_document`` took apart. Never raises."""
    try:
        return _accept(document, substitutes)
    except _BrokenRuleError as broken:
        return _reject(document.root, broken)


def parse_timestamp(text: str) -> datetime:
    """The moment that an ISO 8601 text of the contract's grammar names, in UTC.

    Raises:
        ValueError: it is not of that grammar, or does not exist.
        OverflowError: it lies outside FIRST_YEAR to LAST_YEAR in UTC.
    """
    match = contract.TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError("not ISO 8601 such as 2026-01-31T23:59:59.999Z")
    year, month, day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = match.groups()
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    offset = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0))
    if int(zone_hours or 0) > 23 or int(zone_minutes or 0) > 59:
        raise ValueError("its zone offset does not exist")
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second or 0), microsecond, UTC
        )
    except ValueError:
        raise ValueError("its day or time does not exist") from None
    moment = local + offset if sign == "-" else local - offset
    if not contract.FIRST_YEAR <= moment.year <= contract.LAST_YEAR:
        raise OverflowError(f"outside the years {contract.FIRST_YEAR} to {contract.LAST_YEAR}")
    return moment


def _accept(document: Document, substitutes: Substitutes | None) -> Accepted:
    root = _object(document.root, "")
    if substitutes is not None:
        root = _completed(root, substitutes)
    event_id = _id(_required(root, "id", ""))
    timestamp = _timestamp(_required(root, "timestamp", ""))
    payload = _object(_required(root, "payload", ""), "payload")
    event_type = _event_type(_required(payload, "event_type", "payload."))
    source = _source(_required(payload, "source", "payload."))
    user_id = _optional_text(payload.get("user_id"), "payload.user_id", contract.MAX_USER_ID_LENGTH)
    session_id = _optional_text(
        payload.get("session_id"), "payload.session_id", contract.MAX_SESSION_ID_LENGTH
    )
    ip_address = _ip_address(payload.get("ip_address"))
    data = _object(_required(payload, "data", "payload."), "payload.data")
    tags = _tags(payload.get("tags"))
    version = _version(payload.get("version"))
    if event_type == "metric":
        for name in contract.METRIC_FIELDS:
            if data.get(name) is None:
                raise _BrokenRuleError(
                    Reason.INCOMPLETE_METRIC, f"payload.data.{name}", "a metric must carry it"
                )
    warnings: tuple[EventWarning, ...] = ()
    if event_type == "user_action" and not user_id:
        warnings = (EventWarning.USER_ACTION_WITHOUT_USER_ID,)
    elif event_type == "error" and data.get(contract.ERROR_MESSAGE_FIELD) is None:
        warnings = (EventWarning.ERROR_WITHOUT_ERROR_MESSAGE,)
    return Accepted(
        id=event_id,
        timestamp=timestamp,
        event_type=event_type,
        source=source,
        user_id=user_id,
        session_id=session_id,
        ip_address=ip_address,
        tags=tags,
        version=version,
        payload=_payload_text(document),
        warnings=warnings,
    )


def _payload_text(document: Document) -> str:
    """The payload as it was written, after the rules that need the bytes and not the values.

    They come last because they are the dear ones: most rejected events never get here.
    """
    if len(document.text) <= contract.MAX_DATA_BYTES and (place := plain_payload(document)) is not None:
        return document.text[slice(*place)].decode()
    try:
        layout = lay_out(document.text)
    except DocumentError as error:
        raise _BrokenRuleError(error.reason, error.path, error.message) from None
    if layout.repeated_key is not None:
        raise _BrokenRuleError(Reason.DUPLICATE_KEY, layout.repeated_key, "a key is there more than once")
    if layout.payload is None or layout.data is None:
        raise AssertionError("a JSON document with payload and data objects has a place for both")
    data_bytes = layout.data[1] - layout.data[0]
    if data_bytes > contract.MAX_DATA_BYTES:
        message = f"{data_bytes} bytes, at most {contract.MAX_DATA_BYTES} are allowed"
        raise _BrokenRuleError(Reason.DATA_TOO_LARGE, "payload.data", message)
    return document.text[slice(*layout.payload)].decode()


def _completed(root: dict[str, object], substitutes: Substitutes) -> dict[str, object]:
    completed = dict(root)
    if root.get("id") is None:
        completed["id"] = substitutes.id
    if root.get("timestamp") is None:
        completed["timestamp"] = substitutes.timestamp.isoformat()
    return completed


def _reject(root: object, broken: _BrokenRuleError) -> Rejected:
    """The verdict, with those of the event's own fields that keep their rule."""
    members = root if isinstance(root, dict) else {}
    payload = members.get("payload")
    if not isinstance(payload, dict):
        payload = {}
    return Rejected(
        broken.reason,
        broken.field,
        broken.message,
        id=_if_readable(_id, members.get("id")),
        event_type=_if_readable(_event_type, payload.get("event_type")),
        source=_if_readable(_source, payload.get("source")),
        timestamp=_if_readable(_timestamp, members.get("timestamp")),
        version=None if payload.get("version") is None else _if_readable(_version, payload["version"]),
    )


def _if_readable(rule: Callable[[object], T], value: object) -> T | None:
    try:
        return rule(value)
    except _BrokenRuleError:
        return None


def type_name(value: object) -> str:
    """What JSON calls the type of a parsed value."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return "null" if value is None else names.get(type(value), "an object")


def _required(parent: dict[str, object], name: str, path: str) -> object:
    if parent.get(name) is None:
        raise _BrokenRuleError(Reason.MISSING_FIELD, path + name, "null" if name in parent else "absent")
    return parent[name]


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _BrokenRuleError(Reason.WRONG_TYPE, path, f"{type_name(value)}, must be an object")
    return cast(dict[str, object], value)


def _string(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise _BrokenRuleError(Reason.WRONG_TYPE, path, f"{type_name(value)}, must be a string")
    return value


def _text(value: object, path: str, longest: int) -> str:
    text = _string(value, path)
    if not text:
        raise _BrokenRuleError(Reason.EMPTY_VALUE, path, "empty, must have at least one character")
    return _bounded(text, path, longest)


def _optional_text(value: object, path: str, longest: int) -> str:
    return "" if value is None else _bounded(_string(value, path), path, longest)


def _bounded(text: str, path: str, longest: int) -> str:
    if len(text) > longest:
        raise _BrokenRuleError(
            Reason.TOO_LONG, path, f"{len(text)} characters, at most {longest} are allowed"
        )
    if (control := contract.CONTROL_CHARACTER.search(text)) is not None:
        raise _BrokenRuleError(
            Reason.CONTROL_CHARACTER, path, f"character {control.start() + 1} is a control character"
        )
    return text


def _id(value: object) -> str:
    return _text(value, "id", contract.MAX_ID_LENGTH)


def _source(value: object) -> str:
    return _text(value, "payload.source", contract.MAX_SOURCE_LENGTH)


def _timestamp(value: object) -> datetime:
    text = _string(value, "timestamp")
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise _BrokenRuleError(Reason.INVALID_TIMESTAMP, "timestamp", str(error)) from None
    except OverflowError:
        message = f"outside the years {contract.FIRST_YEAR} to {contract.LAST_YEAR}"
        raise _BrokenRuleError(Reason.TIMESTAMP_OUT_OF_RANGE, "timestamp", message) from None


def _event_type(value: object) -> str:
    text = _string(value, "payload.event_type")
    if text not in contract.EVENT_TYPES:
        allowed = ", ".join(sorted(contract.EVENT_TYPES))
        raise _BrokenRuleError(Reason.UNKNOWN_EVENT_TYPE, "payload.event_type", f"must be one of {allowed}")
    return text


def _ip_address(value: object) -> str:
    if value is None:
        return ""
    text = _string(value, "payload.ip_address")
    if contract.IPV4.fullmatch(text) is None:
        message = "must be four numbers 0 to 255 without leading zeros, such as 192.0.2.1"
        raise _BrokenRuleError(Reason.INVALID_IP_ADDRESS, "payload.ip_address", message)
    return text


def _tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _BrokenRuleError(Reason.WRONG_TYPE, "payload.tags", f"{type_name(value)}, must be an array")
    if len(value) > contract.MAX_TAGS:
        message = f"{len(value)} tags, at most {contract.MAX_TAGS} are allowed"
        raise _BrokenRuleError(Reason.TOO_MANY_TAGS, "payload.tags", message)
    for index, tag in enumerate(value):
        path = f"payload.tags[{index}]"
        if contract.TAG.fullmatch(_string(tag, path)) is None:
            raise _BrokenRuleError(Reason.INVALID_TAG, path, "must be letters, digits, _ and -, at least one")
    return tuple(value)


def _version(value: object) -> str:
    if value is None:
        return contract.DEFAULT_VERSION
    text = _string(value, "payload.version")
    if contract.VERSION.fullmatch(text) is None:
        raise _BrokenRuleError(Reason.INVALID_VERSION, "payload.version", "must be MAJOR.MINOR, such as 1.0")
    return text
