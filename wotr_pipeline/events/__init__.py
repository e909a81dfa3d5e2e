"""What an event is, and the verdict on one. Pure: no I/O, no Dagster, no drivers.

- ``contract``   the contract's names, limits and patterns, and what they leave open, decided; RULES_VERSION
- ``reasons``    the closed sets of reason and warning codes, one line each
- ``document``   takes a JSON message apart without losing a byte
- ``rules``      ``judge(bytes)``: ``Accepted`` or ``Rejected``; the final word
- ``columns``    the columns of a judged event, declared once; judged events as an Arrow table
- ``envelope``   dead letters: ``to_line`` and ``from_line``; JSON Schema in ``schemas/``

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
from .reasons import EventWarning, Reason
from .rules import Accepted, Rejected, Substitutes, judge

__all__ = [
    "RULES_VERSION",
    "Accepted",
    "BatchContext",
    "DeadLetter",
    "EventWarning",
    "JudgedMessage",
    "Reason",
    "Rejected",
    "Substitutes",
    "dead_letter",
    "from_line",
    "judge",
    "judged_rows",
    "to_line",
]
