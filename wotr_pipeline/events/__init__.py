"""What an event is, the verdict on one, and the repair of a rejected one. Pure: no I/O, no Dagster, no drivers.

- ``contract``   the contract's names, limits and patterns, and what they leave open, decided; RULES_VERSION
- ``reasons``    the closed sets of reason and warning codes, one line each
- ``document``   takes a JSON message apart without losing a byte
- ``members``    finds and replaces one member of a message, and leaves all other bytes alone
- ``verbatim``   JSON values whose numbers stay as they were written
- ``rules``      ``judge(bytes)``: ``Accepted`` or ``Rejected``; the final word
- ``columns``    the columns of a judged event, declared once; judged events as an Arrow table
- ``envelope``   dead letters: ``to_line`` and ``from_line``; JSON Schema in ``schemas/``
- ``schema_versions``  Avro schemas of every version of the contract in ``schemas/``, events as records and back
- ``avro_schemas``  which Avro schema can read which, and what differs between two
- ``masking``    ``masked(bytes)``: a message shown without its content
- ``repair``     ``attempt(repair, bytes, context)``: a patch, a replacement, a named transformation; judged anew
- ``transformations``  the closed registry of the named ones; ``for_reason`` lists what to offer for a class
- ``refusals``   the closed set of codes that say why a repair was not applied

Most events never reach Python: ``sql/judge.sql`` accepts what is right beyond doubt (``ok = 1``) with the very
columns that ``judge`` gives, and leaves the rest, bad or merely unusual, to ``judge``. Unusual are, for example,
escapes or non-ASCII letters in a text of the contract, unknown members, indented JSON. Within ``data`` nothing is
unusual. A property test holds the two together.

Belongs here: everything that can be said about an event by looking at it alone.
Does not belong here: where events come from and go to.
"""

from .columns import BatchContext, JudgedMessage, judged_rows
from .contract import RULES_VERSION
from .envelope import DeadLetter, dead_letter, from_line, to_line
from .masking import masked
from .reasons import EventWarning, Reason
from .refusals import Refusal, RepairError
from .repair import (
    AsIs,
    NotRepaired,
    Patch,
    Repair,
    Repaired,
    Replacement,
    Transformation,
    attempt,
    describe,
)
from .rules import Accepted, Rejected, Substitutes, judge
from .transformations import TRANSFORMATIONS, NamedTransformation, RepairContext, for_reason

__all__ = [
    "RULES_VERSION",
    "TRANSFORMATIONS",
    "Accepted",
    "AsIs",
    "BatchContext",
    "DeadLetter",
    "EventWarning",
    "JudgedMessage",
    "NamedTransformation",
    "NotRepaired",
    "Patch",
    "Reason",
    "Refusal",
    "Rejected",
    "Repair",
    "RepairContext",
    "RepairError",
    "Repaired",
    "Replacement",
    "Substitutes",
    "Transformation",
    "attempt",
    "dead_letter",
    "describe",
    "for_reason",
    "from_line",
    "judge",
    "judged_rows",
    "masked",
    "to_line",
]
