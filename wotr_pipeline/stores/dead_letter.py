"""What the register knows of a dead letter: frozen records, and the filter that chooses some of them.

Belongs here: the records that the register takes and gives.
Does not belong here: SQL (``dead_letter_register.py`` and its neighbours), the envelope itself
(``events/envelope.py``), or what is done with a dead letter (``operations/dead_letters/``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LetterState(StrEnum):
    """How far the repair of a dead letter has come; ``dead_letter_register.py`` holds the transitions."""

    NEW = "NEW"
    RETRYING = "RETRYING"
    RESOLVED = "RESOLVED"
    DISCARDED = "DISCARDED"
    QUARANTINED = "QUARANTINED"


OPEN = (LetterState.NEW, LetterState.RETRYING, LetterState.QUARANTINED)
"""Somebody or something still has to act."""


class Origin(StrEnum):
    """Who wrote the envelope."""

    BATCH = "batch"
    TOPIC = "topic"
    OBJECT = "object"


@dataclass(frozen=True)
class Found:
    """A dead letter as it is found in an object, before it is in the register."""

    name: str
    line: int
    reason: str
    field: str
    message: str
    rules_version: str
    source: str
    event_type: str
    version: str
    event_id: str
    size: int
    arrived_at: datetime
    retry_of: str = ""
    """Name of the dead letter of which this record was a retry; '' if it was none."""
    retry_attempt: int = 0


@dataclass(frozen=True)
class Letter:
    """One row of ``dead_letters`` as it was when it was read. Times are aware, in UTC."""

    id: int
    name: str
    origin: Origin
    batch: int | None
    generation: int | None
    object_key: str
    line: int
    reason: str
    field: str
    message: str
    rules_version: str
    source: str
    event_type: str
    version: str
    event_id: str
    size: int
    arrived_at: datetime
    state: LetterState
    since: datetime
    tries: int
    attempts: int
    fix_version: int
    fix_key: str | None
    fix_line: int | None
    pruned_at: datetime | None

    @property
    def content_key(self) -> str:
        """The object that holds its newest version."""
        return self.fix_key or self.object_key

    @property
    def content_line(self) -> int:
        """The line of its newest version there, from 0."""
        return self.line if self.fix_line is None else self.fix_line


@dataclass(frozen=True)
class Change:
    """One entry of a dead letter's history. ``from_state`` is None for its first one."""

    at: datetime
    who: str
    from_state: LetterState | None
    to_state: LetterState
    why: str


@dataclass(frozen=True)
class Attempt:
    """One retry. ``partition`` and ``offset`` are None while Kafka's acknowledgement is not on record."""

    letter_id: int
    attempt: int
    fix_version: int
    who: str
    begun_at: datetime
    topic: str | None
    partition: int | None
    offset: int | None
    outcome: str | None
    outcome_at: datetime | None


@dataclass(frozen=True)
class LetterFilter:
    """Which dead letters: all conditions must hold, an empty one holds for every letter."""

    names: tuple[str, ...] = ()
    states: tuple[LetterState, ...] = ()
    reasons: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    since: datetime | None = None
    """Arrived at this time or later."""
    until: datetime | None = None
    """Arrived before this time."""

    def describe(self) -> str:
        """In words, for reports and the log of changes."""
        told = [
            f"{what} {', '.join(values[:3])}{' …' if len(values) > 3 else ''}"
            for what, values in (
                ("name", self.names),
                ("state", self.states),
                ("reason", self.reasons),
                ("field", self.fields),
                ("source", self.sources),
                ("event type", self.event_types),
                ("version", self.versions),
            )
            if values
        ]
        told += [f"since {self.since:%Y-%m-%d %H:%M:%S}"] if self.since else []
        told += [f"until {self.until:%Y-%m-%d %H:%M:%S}"] if self.until else []
        return "; ".join(told) or "all"


@dataclass(frozen=True)
class Group:
    """Open dead letters of one kind. ``examples`` are names of letters, never content."""

    reason: str
    field: str
    source: str
    version: str
    letters: int
    states: Mapping[LetterState, int]
    first_seen: datetime
    last_seen: datetime
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Switch:
    """Whether retries are stopped, and by whom."""

    stopped: bool
    who: str
    why: str
    at: datetime | None


@dataclass(frozen=True)
class Settled:
    """What became of attempts whose verdict is known since the last look, and of letters judged anew."""

    passed: int = 0
    rejected: int = 0
    quarantined: int = 0
    judged_anew: int = 0

    def __add__(self, other: "Settled") -> "Settled":
        return Settled(
            self.passed + other.passed,
            self.rejected + other.rejected,
            self.quarantined + other.quarantined,
            self.judged_anew + other.judged_anew,
        )
