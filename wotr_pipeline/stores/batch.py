"""What a batch is: a contiguous range of one Kafka partition's offsets, and how far it has come.

Belongs here: the frozen records that the ledger takes and gives, and the pure rule that names how a
planned range lies to what is planned already.
Does not belong here: SQL, connections, or the transitions between states (``ledger.py``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class BatchState(StrEnum):
    """How far a batch has come; ``ledger.py`` holds the table of transitions."""

    PLANNED = "PLANNED"
    LANDED = "LANDED"
    VALIDATED = "VALIDATED"
    LOADED = "LOADED"
    QUARANTINED = "QUARANTINED"

    @property
    def unfinished(self) -> bool:
        """Whether a run still has something to do for the batch."""
        return self in UNFINISHED


UNFINISHED = (BatchState.PLANNED, BatchState.LANDED, BatchState.VALIDATED)

RECOVERY = "recovery from raw objects"
"""The reopen reason of batches whose rows shall come back as they were, not be decided anew."""


@dataclass(frozen=True)
class PlannedRange:
    """Offsets ``first_offset`` to ``last_offset`` (both included), to be filed under ``hour``."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    hour: datetime

    def __post_init__(self) -> None:
        if not 0 <= self.first_offset <= self.last_offset:
            raise ValueError(f"{self.batch_id} is not a range of offsets")
        if self.hour.tzinfo is None or self.hour.timestamp() % 3600:
            raise ValueError(f"{self.batch_id}: {self.hour} is not a full hour with a time zone")

    @property
    def batch_id(self) -> str:
        """``topic:partition:first-last``."""
        return f"{self.topic}:{self.partition}:{self.first_offset}-{self.last_offset}"

    @property
    def offsets(self) -> int:
        """How many offsets the range spans; Kafka may hold fewer records."""
        return self.last_offset - self.first_offset + 1


@dataclass(frozen=True)
class RawObject:
    """A raw object whose bytes have the sum that was noted with them. ``sha256`` in hex, ``size`` in bytes."""

    range: PlannedRange
    key: str
    records: int
    sha256: str
    size: int


@dataclass(frozen=True)
class Batch:
    """One row of ``ingest_batches`` as it was when it was read. Times are aware, in UTC.

    Counts: ``records`` in the raw object = ``valid`` + ``rejected``; ``duplicate`` of the valid ones
    were there before. ``generation`` counts how often the batch was opened, and names its rows' version.
    """

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    hour: datetime
    state: BatchState = BatchState.PLANNED
    generation: int = 1
    records: int | None = None
    valid: int | None = None
    rejected: int | None = None
    duplicate: int | None = None
    raw_key: str | None = None
    raw_sha256: str | None = None
    raw_bytes: int | None = None
    validated_key: str | None = None
    dead_letters_key: str | None = None
    rules_version: str | None = None
    attempts: int = 0
    crashes: int = 0
    failures: int = 0
    last_error: str | None = None
    reopen_reason: str | None = None
    claimed_by: str | None = None
    claimed_at: datetime | None = None
    planned_at: datetime | None = None
    landed_at: datetime | None = None
    validated_at: datetime | None = None
    loaded_at: datetime | None = None
    not_before: datetime | None = None
    run_id: str | None = None
    """The run that worked on it last; ``claimed_by`` is only set while one does."""
    id: int = 0
    """The row's number: it stays when a split changes the batch's name, and it names the batch's lock."""

    @property
    def batch_id(self) -> str:
        """``topic:partition:first-last``."""
        return f"{self.topic}:{self.partition}:{self.first_offset}-{self.last_offset}"

    @property
    def offsets(self) -> int:
        """How many offsets the range spans; Kafka may hold fewer records."""
        return self.last_offset - self.first_offset + 1

    @property
    def recovering(self) -> bool:
        """Whether it was opened for a recovery: a load then leaves out the same duplicates as the one before."""
        return self.reopen_reason == RECOVERY


class Overlap(StrEnum):
    """How a planned range lies to the chain of its partition (all that is planned, without a gap).

    ===========  ===================================  ==================================================
    name         the range                            what ``plan`` does
    ===========  ===================================  ==================================================
    NEW          begins where the chain ends, or is   inserts it
                 the first of its partition
    SAME         is a batch of the chain              leaves it out and logs it: a replay
    CONTAINED    lies inside the chain, as a part of  leaves it out and logs it: a replay of what was
                 a batch or across several            split, or planned in other cuts
    OVERLAPPING  begins inside the chain, ends after  refuses the whole plan (TransientError): someone
                 it                                   planned meanwhile; its hour belongs to a first
                                                      offset that is taken, so trimming would guess.
                                                      Read ``planned_until`` and plan again
    EARLIER      begins before the chain              refuses the whole plan (PermanentError): planning
                                                      started later on purpose
    GAP          begins after the chain's end         refuses the whole plan (PermanentError): offsets
                                                      would be lost
    ===========  ===================================  ==================================================
    """

    NEW = "NEW"
    SAME = "SAME"
    CONTAINED = "CONTAINED"
    OVERLAPPING = "OVERLAPPING"
    EARLIER = "EARLIER"
    GAP = "GAP"


@dataclass(frozen=True)
class Chain:
    """What is planned of one partition: offsets ``first_offset`` to ``next_offset - 1``; both equal: nothing."""

    first_offset: int
    next_offset: int


def overlap(planned: PlannedRange, chain: Chain, batch_ids: Iterable[str] = ()) -> Overlap:
    """Name how ``planned`` lies to the chain of its partition; ``batch_ids`` are the chain's batches."""
    if planned.first_offset == chain.next_offset:
        return Overlap.NEW
    if planned.first_offset > chain.next_offset:
        return Overlap.GAP
    if planned.first_offset < chain.first_offset:
        return Overlap.EARLIER
    if planned.last_offset >= chain.next_offset:
        return Overlap.OVERLAPPING
    return Overlap.SAME if planned.batch_id in batch_ids else Overlap.CONTAINED


@dataclass(frozen=True)
class HourToRun:
    """An hour that has work and nobody at it. ``token`` changes with each plan, attempt and reopening."""

    hour: datetime
    token: str
    batches: int
    offsets: int
    oldest_planned_at: datetime


@dataclass(frozen=True)
class Gap:
    """Offsets between two batches of a partition that nobody planned. There must be none."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True)
class HourAccount:
    """Sums over the batches of an hour. Batches that are not judged or loaded yet add nothing to those counts."""

    hour: datetime
    batches: int
    unfinished: int
    quarantined: int
    records: int
    valid: int
    rejected: int
    duplicate: int

    @property
    def rows(self) -> int:
        """Rows of the hour that ClickHouse must hold once every batch is LOADED."""
        return self.valid - self.duplicate + self.rejected


@dataclass(frozen=True)
class StateSummary:
    """How many batches, offsets and (once landed) records are in one state."""

    state: BatchState
    batches: int
    offsets: int
    records: int


@dataclass(frozen=True)
class LedgerSummary:
    """A topic's batches by state (every state is listed), and how long the oldest unfinished one waits."""

    states: tuple[StateSummary, ...]
    oldest_unfinished_planned_at: datetime | None
    oldest_unprocessed_age: timedelta | None

    def of(self, state: BatchState) -> StateSummary:
        """The line of one state."""
        return next(line for line in self.states if line.state is state)

    @property
    def unfinished(self) -> int:
        """Batches that still have something to do."""
        return sum(line.batches for line in self.states if line.state.unfinished)
