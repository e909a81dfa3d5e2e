"""JSON values whose numbers stay as they were written, for edits that move whole values about.

Belongs here: reading and writing such values. ``1.0``, ``1e2``, an integer of a thousand digits and even ``NaN``
come out as they came in.
Does not belong here: what is edited (``repair.py``); whether the result is an event (``rules.py``). Python's
parser reads here what the contract's refuses (NaN, numbers beyond a double), because that may be what is repaired.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import orjson

from .document import DocumentError, lay_out
from .refusals import Refusal, RepairError

MAX_NESTING = 100
"""Deeper values would exhaust the stack of those who copy and compare them."""


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A number as it was written. Equal to numbers of the same value."""

    text: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Number):
            return NotImplemented
        try:
            return self.text == other.text or Decimal(self.text) == Decimal(other.text)
        except InvalidOperation:  # An exponent of twenty digits.
            return False

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, _: object) -> "Number":
        return self


def is_deep(text: bytes) -> bool:
    """Whether a text is nested deeper than MAX_NESTING."""
    if text.count(b"{") + text.count(b"[") <= MAX_NESTING:
        return False
    try:
        return lay_out(text).depth > MAX_NESTING
    except DocumentError:
        return True


def read(text: bytes, *, only_json: bool = False) -> object:
    """The value of a JSON text: Number for each number, and dict, list, str, bool or None.

    With ``only_json``, NaN and Infinity are refused, as JSON does.

    Raises:
        RepairError: NOT_JSON, DUPLICATE_KEY or NESTING_TOO_DEEP.
    """
    try:
        characters = text.decode()
    except UnicodeDecodeError:
        raise RepairError(Refusal.NOT_JSON, "not UTF-8") from None
    if is_deep(text):
        raise RepairError(Refusal.NESTING_TOO_DEEP, f"nested deeper than {MAX_NESTING} levels")
    try:
        return (_STRICT_DECODER if only_json else _DECODER).decode(characters)
    except json.JSONDecodeError as error:
        raise RepairError(Refusal.NOT_JSON, f"not JSON, near character {error.pos + 1}") from None
    except RecursionError:  # The caller's own stack is nearly full.
        raise RepairError(Refusal.NESTING_TOO_DEEP, "nested too deep for this place") from None


def write(value: object) -> bytes:
    """The compact JSON text of a value that was read.

    Raises:
        RepairError: NOT_JSON.
    """
    try:
        return orjson.dumps(value, _as_written, orjson.OPT_PASSTHROUGH_DATACLASS)
    except orjson.JSONEncodeError:
        problem = "a text with half a character, or nested too deep"
        raise RepairError(Refusal.NOT_JSON, f"it cannot be written: {problem}") from None


def _as_written(value: object) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise RepairError(Refusal.DUPLICATE_KEY, "an object has a key more than once, writing would lose one")
    return members


def _no_constant(_: str) -> object:
    raise RepairError(Refusal.NOT_JSON, "NaN and Infinity are no numbers of JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=Number
)
_STRICT_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_no_constant
)
