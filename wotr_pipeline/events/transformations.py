"""The named transformations: repairs of one fault wherever it occurs, for a whole class of dead letters.

Belongs here: the closed registry, and the functions in it. Each mends one fault and leaves all other bytes of the
message as they were. A message that does not have the fault comes back unchanged, so that applying one twice is
applying it once; a message that is broken in the same place in another way is refused with ``RepairError``.
Does not belong here: guesses. What a producer meant by ``user_actoin`` a person decides, with a patch
(``repair.py``). Whether the result is an event is for ``rules.py`` to say.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import orjson

from . import contract
from .document import Path
from .members import Members, members_of, read_json
from .reasons import Reason
from .refusals import Refusal, RepairError
from .rules import parse_timestamp, type_name

_ID: Path = ("id",)
_TIMESTAMP: Path = ("timestamp",)
_SOURCE: Path = ("payload", "source")
_USER_ID: Path = ("payload", "user_id")
_SESSION_ID: Path = ("payload", "session_id")
_IP_ADDRESS: Path = ("payload", "ip_address")
_TAGS: Path = ("payload", "tags")
_VERSION: Path = ("payload", "version")

_LIMITS: Mapping[Path, int] = {
    _SOURCE: contract.MAX_SOURCE_LENGTH,
    _USER_ID: contract.MAX_USER_ID_LENGTH,
    _SESSION_ID: contract.MAX_SESSION_ID_LENGTH,
}
"""Texts that may be cut or cleaned. Never the id: of two ids that become one, one event is lost as a duplicate."""

_EPOCH = re.compile(r"([0-9]{9,10}|[0-9]{12,13})(?:\.([0-9]+))?")
_FOUR_NUMBERS = re.compile(r"0*[0-9]{1,3}(?:\.0*[0-9]{1,3}){3}")
_MAJOR = re.compile(r"0|[1-9][0-9]{0,4}")
_STRING_OR_NO_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?Infinity|NaN', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_PRINTED_BY_LATIN_1 = re.compile(rb"[\x80-\x9f]")
_MULTIBYTE_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


@dataclass(frozen=True, slots=True)
class RepairContext:
    """How a message arrived, for repairs that need to know."""

    arrived_at: datetime
    """Aware: Kafka's timestamp."""
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class NamedTransformation:
    """One transformation: what operators choose by its name."""

    name: str
    description: str
    meant_for: tuple[tuple[Reason, str], ...]
    """Reasons with their fields; ``[]`` stands for any element."""
    function: Callable[[bytes, RepairContext], bytes]
    """Raises RepairError if the message cannot be mended in this way."""


def for_reason(reason: Reason, field: str) -> tuple[NamedTransformation, ...]:
    """The transformations to offer for a class of dead letters, the one that keeps most first."""
    place = (reason, re.sub(r"\[[0-9]+\]", "[]", field))
    return tuple(named for named in TRANSFORMATIONS.values() if place in named.meant_for)


def _decode_latin1(value: bytes, _: RepairContext) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        pass
    else:
        return value
    if _NOT_PRINTED_BY_LATIN_1.search(value) or _MULTIBYTE_UTF8.search(value):
        message = "its bytes are not all Latin-1: some are UTF-8 or of another encoding"
        raise RepairError(Refusal.DOES_NOT_APPLY, message)
    decoded = value.decode("latin-1").encode()
    read_json(decoded)
    return decoded


def _strip_byte_order_mark(value: bytes, _: RepairContext) -> bytes:
    stripped = value.removeprefix(_BYTE_ORDER_MARK)
    read_json(stripped)
    return stripped


def _not_a_number_to_null(value: bytes, _: RepairContext) -> bytes:
    mended = _STRING_OR_NO_NUMBER.sub(lambda token: token[0] if token[0][0] == ord('"') else b"null", value)
    read_json(mended)
    return mended


def _id_from_content(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    if _text(members, _ID):
        return value
    return members.with_value("id", b'"sha256-%s"' % hashlib.sha256(value).hexdigest().encode())


def _numbers_to_text(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    changes = {}
    for path in (_ID, _SOURCE, _USER_ID, _SESSION_ID, _VERSION):
        if _is_number(token := members.token(path)):
            changes[path] = b'"' + token + b'"'
        else:
            _text(members, path)
    return members.replaced(changes)


def _timestamp_from_epoch(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    if _has_timestamp(members):
        return value
    token = members.token(_TIMESTAMP)
    text = token.decode() if _is_number(token) else _text(members, _TIMESTAMP)
    match = _EPOCH.fullmatch(text or "")
    if match is None:
        message = "the timestamp is not a number of seconds (9 or 10 digits) or milliseconds (12 or 13)"
        raise RepairError(Refusal.DOES_NOT_APPLY, message)
    whole, fraction = match[1], match[2] or ""
    if len(whole) > 10:
        whole, fraction = whole[:-3], whole[-3:] + fraction
    moment = datetime.fromtimestamp(int(whole), UTC).isoformat().removesuffix("+00:00")
    fraction = "." + fraction[:9] if fraction else ""
    return members.replaced({_TIMESTAMP: f'"{moment}{fraction}Z"'.encode()})


def _timestamp_from_arrival(value: bytes, context: RepairContext) -> bytes:
    members = members_of(value)
    if _has_timestamp(members):
        return value
    moment = context.arrived_at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return members.with_value("timestamp", f'"{moment}Z"'.encode())


def _truncate_too_long(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    texts = ((path, _text(members, path) or "", limit) for path, limit in _LIMITS.items())
    return members.replaced({path: orjson.dumps(text[:limit]) for path, text, limit in texts if text[limit:]})


def _remove_control_characters(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    changes = {}
    for path in _LIMITS:
        text = _text(members, path) or ""
        cleaned = contract.CONTROL_CHARACTER.sub("", text)
        if cleaned != text:
            changes[path] = orjson.dumps(cleaned)
    return members.replaced(changes)


def _strip_leading_zeros_of_ip_address(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    text = _text(members, _IP_ADDRESS)
    if text is None or contract.IPV4.fullmatch(text):
        return value
    stripped = ""
    if _FOUR_NUMBERS.fullmatch(text):
        stripped = ".".join(number.lstrip("0") or "0" for number in text.split("."))
    if contract.IPV4.fullmatch(stripped) is None:
        message = "the ip_address is not four numbers 0 to 255, with or without leading zeros"
        raise RepairError(Refusal.DOES_NOT_APPLY, message)
    return members.replaced({_IP_ADDRESS: b'"%s"' % stripped.encode()})


def _drop_invalid_ip_address(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    address = members.value(_IP_ADDRESS)
    if address is None or (isinstance(address, str) and contract.IPV4.fullmatch(address)):
        return value
    return members.removed(_IP_ADDRESS)


def _tags_from_text(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    tags = members.value(_TAGS)
    if tags is None or isinstance(tags, list):
        return value
    names = [name.strip() for name in (_text(members, _TAGS) or "").split(",") if name.strip()]
    if len(names) > contract.MAX_TAGS or not all(map(contract.TAG.fullmatch, names)):
        message = f"the tags are not at most {contract.MAX_TAGS} words with commas between them"
        raise RepairError(Refusal.DOES_NOT_APPLY, message)
    return members.replaced({_TAGS: orjson.dumps(names)})


def _drop_invalid_tags(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    tags = members.value(_TAGS)
    if tags is None:
        return value
    if not isinstance(tags, list):
        raise RepairError(Refusal.DOES_NOT_APPLY, f"the tags are {type_name(tags)}, not an array")
    kept = [tag for tag in tags if isinstance(tag, str) and contract.TAG.fullmatch(tag)][: contract.MAX_TAGS]
    return value if kept == tags else members.replaced({_TAGS: orjson.dumps(kept)})


def _version_with_minor(value: bytes, _: RepairContext) -> bytes:
    members = members_of(value)
    token = members.token(_VERSION)
    text = token.decode() if _is_number(token) else _text(members, _VERSION)
    if text is None:
        return value
    if _MAJOR.fullmatch(text):
        text += ".0"
    if contract.VERSION.fullmatch(text) is None:
        raise RepairError(Refusal.DOES_NOT_APPLY, "the version is not one number, or two with a dot")
    return value if members.value(_VERSION) == text else members.replaced({_VERSION: f'"{text}"'.encode()})


def _is_number(token: bytes) -> bool:
    return token[:1] in b"-0123456789" and token != b""


def _text(members: Members, path: Path) -> str | None:
    """A member's text; None if it is null or absent."""
    value = members.value(path)
    if value is None or isinstance(value, str):
        return value
    raise RepairError(Refusal.DOES_NOT_APPLY, f"{'.'.join(path)} is {type_name(value)}")


def _has_timestamp(members: Members) -> bool:
    """Whether the timestamp keeps its rule."""
    text = members.value(_TIMESTAMP)
    try:
        return isinstance(text, str) and bool(parse_timestamp(text))
    except (ValueError, OverflowError):
        return False


def _at(reason: Reason, *fields: str) -> tuple[tuple[Reason, str], ...]:
    return tuple((reason, field) for field in fields)


_CLEANED = ("payload.source", "payload.user_id", "payload.session_id")

_ALL = (
    NamedTransformation(
        "decode_latin1",
        "Reads a message that is not UTF-8 as Latin-1, if all its bytes are printed by Latin-1.",
        _at(Reason.INVALID_ENCODING, ""),
        _decode_latin1,
    ),
    NamedTransformation(
        "not_a_number_to_null",
        "Writes null for NaN, Infinity and -Infinity, which JSON does not have.",
        _at(Reason.MALFORMED_JSON, ""),
        _not_a_number_to_null,
    ),
    NamedTransformation(
        "strip_byte_order_mark",
        "Takes away the byte order mark that some Windows programs write before the text.",
        _at(Reason.MALFORMED_JSON, ""),
        _strip_byte_order_mark,
    ),
    NamedTransformation(
        "numbers_to_text",
        "Puts id, source, user_id, session_id and version that are numbers into quotes, digits as written.",
        _at(Reason.WRONG_TYPE, "id", *_CLEANED, "payload.version"),
        _numbers_to_text,
    ),
    NamedTransformation(
        "id_from_content",
        "Gives an event without id one made of its bytes: the same bytes, so a repetition too, get the same id.",
        (*_at(Reason.MISSING_FIELD, "id"), *_at(Reason.EMPTY_VALUE, "id")),
        _id_from_content,
    ),
    NamedTransformation(
        "timestamp_from_epoch",
        "Writes a timestamp that counts seconds or milliseconds since 1970 as ISO 8601 in UTC.",
        (*_at(Reason.WRONG_TYPE, "timestamp"), *_at(Reason.INVALID_TIMESTAMP, "timestamp")),
        _timestamp_from_epoch,
    ),
    NamedTransformation(
        "timestamp_from_arrival",
        "Puts the time of arrival for a timestamp that is absent or unreadable; what it said is lost.",
        tuple(
            (reason, "timestamp")
            for reason in (
                Reason.MISSING_FIELD,
                Reason.WRONG_TYPE,
                Reason.INVALID_TIMESTAMP,
                Reason.TIMESTAMP_OUT_OF_RANGE,
            )
        ),
        _timestamp_from_arrival,
    ),
    NamedTransformation(
        "truncate_too_long",
        "Cuts source, user_id and session_id at the contract's length. Never the id: two could become one.",
        _at(Reason.TOO_LONG, *_CLEANED),
        _truncate_too_long,
    ),
    NamedTransformation(
        "remove_control_characters",
        "Takes control characters out of source, user_id and session_id. Never the id: two could become one.",
        _at(Reason.CONTROL_CHARACTER, *_CLEANED),
        _remove_control_characters,
    ),
    NamedTransformation(
        "strip_leading_zeros_of_ip_address",
        "Reads 192.000.002.017 as 192.0.2.17: decimal, as people write it, not octal, as some programs read it.",
        _at(Reason.INVALID_IP_ADDRESS, "payload.ip_address"),
        _strip_leading_zeros_of_ip_address,
    ),
    NamedTransformation(
        "drop_invalid_ip_address",
        "Takes away an ip_address that is none.",
        (
            *_at(Reason.INVALID_IP_ADDRESS, "payload.ip_address"),
            *_at(Reason.WRONG_TYPE, "payload.ip_address"),
        ),
        _drop_invalid_ip_address,
    ),
    NamedTransformation(
        "tags_from_text",
        "Makes an array of tags that are one text with commas.",
        _at(Reason.WRONG_TYPE, "payload.tags"),
        _tags_from_text,
    ),
    NamedTransformation(
        "drop_invalid_tags",
        "Takes away tags that are none, and of the others all beyond the tenth.",
        (
            *_at(Reason.TOO_MANY_TAGS, "payload.tags"),
            *_at(Reason.INVALID_TAG, "payload.tags[]"),
            *_at(Reason.WRONG_TYPE, "payload.tags[]"),
        ),
        _drop_invalid_tags,
    ),
    NamedTransformation(
        "version_with_minor",
        'Completes a version of one number: "1" and 1 become "1.0".',
        (*_at(Reason.INVALID_VERSION, "payload.version"), *_at(Reason.WRONG_TYPE, "payload.version")),
        _version_with_minor,
    ),
)

TRANSFORMATIONS: Mapping[str, NamedTransformation] = MappingProxyType({named.name: named for named in _ALL})
"""All there are, by name."""
