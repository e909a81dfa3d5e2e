"""The repair of one dead letter: what it can be, applying it, and what the rules say of the result.

Belongs here: the four kinds of repair and ``attempt``. Pure: the caller sends the result and keeps the account.
Does not belong here: the transformations that are offered by name (``transformations.py``); which letters are
repaired, by whom, and what becomes of them.

The original bytes are never changed: a repair makes new ones. What it does depends on the message, its arrival and
the repair alone, so a repair that is repeated after a crash gives the same bytes.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

from jsonpatch import (
    JsonPatch,
    JsonPatchException,
    JsonPatchTestFailed,
    JsonPointer,
    JsonPointerException,
)

from . import verbatim
from .refusals import Refusal, RepairError
from .rules import Accepted, Rejected, judge
from .transformations import TRANSFORMATIONS, RepairContext

MAX_OPERATIONS = 100
MAX_REPAIRED_BYTES = 1_000_000
"""No repair makes a message larger than this: a little below what Kafka takes unless it is told otherwise."""

_MEMBERS = {
    "add": ("path", "value"),
    "remove": ("path",),
    "replace": ("path", "value"),
    "move": ("from", "path"),
    "copy": ("from", "path"),
    "test": ("path", "value"),
}


@dataclass(frozen=True, slots=True)
class Patch:
    """Operations of a JSON Patch (RFC 6902), as JSON text. The result is compact JSON; numbers that it does not
    touch are written as they were.

    Raises:
        RepairError: INVALID_REPAIR; the text names the operation.
    """

    operations: str

    def __post_init__(self) -> None:
        _compiled(self.operations)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Another message in its place: one that a person has edited."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Transformation:
    """A transformation of the registry, by its name.

    Raises:
        RepairError: INVALID_REPAIR; there is none of this name.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in TRANSFORMATIONS:
            names = ", ".join(TRANSFORMATIONS)
            raise RepairError(Refusal.INVALID_REPAIR, f"no such transformation; there are {names}")


@dataclass(frozen=True, slots=True)
class AsIs:
    """The message as it is: the rules have changed, or what was wrong was not the message."""


Repair = Patch | Replacement | Transformation | AsIs


@dataclass(frozen=True, slots=True)
class Repaired:
    """A message after a repair that could be applied, with the verdict of today's rules."""

    value: bytes
    verdict: Accepted | Rejected
    changed: bool
    """Whether a byte is another."""


@dataclass(frozen=True, slots=True)
class NotRepaired:
    """Why a repair could not be applied, without the message's content."""

    refusal: Refusal
    message: str


def attempt(repair: Repair, value: bytes | None, context: RepairContext) -> Repaired | NotRepaired:
    """Apply a repair to one message and judge the result. Never raises, whatever the bytes."""
    try:
        repaired = apply(repair, value, context)
    except RepairError as error:
        return NotRepaired(error.refusal, error.message)
    return Repaired(repaired, judge(repaired), repaired != value)


def apply(repair: Repair, value: bytes | None, context: RepairContext) -> bytes:
    """The message that a repair makes of a message; None is a Kafka tombstone.

    Raises:
        RepairError: the repair cannot be applied to this message. Nothing else, whatever the bytes.
    """
    if isinstance(repair, Replacement):
        repaired = repair.value
    elif not value:
        raise RepairError(Refusal.EMPTY_MESSAGE, "the message has no value")
    elif isinstance(repair, Transformation):
        repaired = TRANSFORMATIONS[repair.name].function(value, context)
    elif isinstance(repair, Patch):
        repaired = _patched(repair, value)
    else:
        repaired = value
    if len(repaired) > max(MAX_REPAIRED_BYTES, len(value or b"")):
        _refuse_size(len(repaired))
    return repaired


def describe(repair: Repair) -> dict[str, object]:
    """A repair for the account of repairs, as plain JSON: its kind and its parameters, never a message's bytes.

    The operations of a patch are there in full: they are what a person has asked for. A number that Python would
    write otherwise is there as text.
    """
    if isinstance(repair, Patch):
        operations = json.loads(repair.operations, parse_float=_plain_float, parse_int=_plain_integer)
        return {"kind": "patch", "operations": operations}
    if isinstance(repair, Replacement):
        digest = hashlib.sha256(repair.value).hexdigest()
        return {"kind": "replacement", "size_bytes": len(repair.value), "sha256": digest}
    if isinstance(repair, Transformation):
        return {"kind": "transformation", "name": repair.name}
    return {"kind": "as_is"}


@dataclass(frozen=True, slots=True)
class _Operation:
    name: str
    place: str
    patch: JsonPatch


@lru_cache(maxsize=16)
def _compiled(operations: str) -> tuple[_Operation, ...]:
    """The operations of a patch, one by one, so that an error can name the one that is wrong."""
    if len(operations) > MAX_REPAIRED_BYTES:
        raise RepairError(
            Refusal.INVALID_REPAIR, f"the patch is longer than {MAX_REPAIRED_BYTES:,} characters"
        )
    try:
        items = verbatim.read(operations.encode("utf-8", "surrogatepass"), only_json=True)
        verbatim.write(items)  # Now, and not at the first message.
    except RepairError as error:
        raise RepairError(Refusal.INVALID_REPAIR, f"the patch: {error.message}") from None
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_OPERATIONS:
        message = f"a patch is an array of 1 to {MAX_OPERATIONS} operations"
        raise RepairError(Refusal.INVALID_REPAIR, message)
    places = (f"operation {number} of {len(items)}" for number in range(1, len(items) + 1))
    return tuple(_operation(item, place) for item, place in zip(items, places, strict=True))


def _operation(item: object, place: str) -> _Operation:
    if not isinstance(item, dict):
        raise RepairError(Refusal.INVALID_REPAIR, f"{place} is not an object")
    name = item.get("op")
    if not isinstance(name, str) or name not in _MEMBERS:
        raise RepairError(Refusal.INVALID_REPAIR, f"{place}: its op is none of {', '.join(_MEMBERS)}")
    place = f"{place} ({name})"
    for member in _MEMBERS[name]:
        if member not in item:
            raise RepairError(Refusal.INVALID_REPAIR, f"{place} has no {member}")
        if member != "value":
            _check_pointer(item[member], f"{place}: its {member}")
    return _Operation(name, place, JsonPatch([item]))


def _check_pointer(pointer: object, place: str) -> None:
    try:
        if isinstance(pointer, str):
            JsonPointer(pointer)
            return
    except JsonPointerException:
        pass
    raise RepairError(Refusal.INVALID_REPAIR, f"{place} is not a JSON Pointer such as /payload/user_id")


def _patched(patch: Patch, value: bytes) -> bytes:
    document = verbatim.read(value)
    for operation in _compiled(patch.operations):
        try:
            document = operation.patch.apply(document, in_place=True)
        except JsonPatchTestFailed:
            raise RepairError(Refusal.TEST_FAILED, f"{operation.place} does not hold") from None
        except (JsonPatchException, JsonPointerException):
            message = f"{operation.place}: the message has no such place, or nothing can be put there"
            raise RepairError(Refusal.PATH_NOT_FOUND, message) from None
        except RecursionError:
            raise RepairError(Refusal.NESTING_TOO_DEEP, f"{operation.place} nests too deep") from None
        if operation.name == "copy" and (size := len(verbatim.write(document))) > MAX_REPAIRED_BYTES:
            # Thirty copies into each other would be a thousand million times as large.
            _refuse_size(size)
    return verbatim.write(document)


def _refuse_size(size: int) -> None:
    message = f"the repaired message has {size:,} bytes, at most {MAX_REPAIRED_BYTES:,} can be sent"
    raise RepairError(Refusal.TOO_LARGE, message)


def _plain_float(text: str) -> float | str:
    number = float(text)
    return number if repr(number) == text else text


def _plain_integer(text: str) -> int | str:
    return int(text) if len(text) < 16 and text != "-0" else text
