"""What a recovery found and did, in the words of the one who has to decide.

Belongs here: the reports and their text. Does not belong here: finding or doing anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from wotr_pipeline.operations.adoption import Adoption

EVENTS_A_SECOND = 50_000
"""For the estimate: about what one recovery rebuilds on two cores; docs/performance.md has the measurement."""

HEADINGS = f"{'hour (UTC)':<16} {'batches':>8} {'rebuilt':>8} {'adopted':>8} {'records':>12} {'bytes':>15}"


@dataclass(frozen=True)
class HourReport:
    """One arrival hour, before it is rebuilt. ``records`` and ``bytes`` are those of the rebuilt batches.

    ``adopted``: of the rebuilt, those that the ledger had lost. ``quarantined``: batches that are left to
    their own error. ``other_rules``: rebuilt batches that were judged by other rules than today's.
    """

    hour: datetime
    batches: int
    adopted: int
    rebuilt: int
    records: int
    bytes: int
    unfinished: int
    quarantined: int
    other_rules: int
    problems: tuple[str, ...]

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to say of the hour."""
        return not (self.rebuilt or self.problems)

    def line(self) -> str:
        """The hour as a line below ``HEADINGS``."""
        return (
            f"{self.hour:%Y-%m-%dT%H:%M} {self.batches:>8,} {self.rebuilt:>8,} {self.adopted:>8,} "
            f"{self.records:>12,} {self.bytes:>15,}"
        )


@dataclass(frozen=True)
class Recovered:
    """A whole recovery, or its dry run. ``stopped``: why it ended early; running it again goes on."""

    applied: bool
    missing_tables: tuple[str, ...]
    adoption: Adoption
    hours: tuple[HourReport, ...]
    seconds: float
    stopped: str | None

    @property
    def rebuilt(self) -> int:
        """Batches, all hours together."""
        return sum(hour.rebuilt for hour in self.hours)

    @property
    def records(self) -> int:
        """Records of those batches."""
        return sum(hour.records for hour in self.hours)

    @property
    def bytes(self) -> int:
        """Size of their raw objects."""
        return sum(hour.bytes for hour in self.hours)

    @property
    def problems(self) -> list[str]:
        """What cannot be rebuilt, or was not, and why: one line each."""
        return [
            *self.adoption.problems,
            *self.adoption.lost.values(),
            *(problem for hour in self.hours for problem in hour.problems),
        ]

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there, or would be."""
        return not (self.problems or self.stopped)

    def lines(self) -> Iterator[str]:
        """The sum of it, after the lines of the hours."""
        would = "" if self.applied else "would be "
        quiet = sum(hour.quiet for hour in self.hours)
        if self.missing_tables:
            yield f"Tables that were missing and {would or 'are '}made again: {', '.join(self.missing_tables)}"
        if not self.adoption.empty:
            yield (
                f"The ledger lacks batches: {len(self.adoption.objects):,} {would}adopted from raw objects, "
                f"{len(self.adoption.planned):,} {would}planned again and read from Kafka, "
                f"{len(self.adoption.lost):,} entered as lost"
            )
        yield (
            f"{len(self.hours):,} hours, {quiet:,} of them as they should be. {self.rebuilt:,} batches "
            f"{would}rebuilt: {self.records:,} records, {self.bytes:,} bytes of raw objects"
        )
        other_rules = sum(hour.other_rules for hour in self.hours)
        if other_rules:
            yield (
                f"{other_rules:,} of them were judged by other rules than today's; they are judged by today's now, so "
                "verdicts may differ"
            )
        quarantined = sum(hour.quarantined for hour in self.hours)
        if quarantined:
            yield f"{quarantined:,} batches are quarantined and left as they are: wotr batches --state QUARANTINED"
        problems = self.problems
        if problems:
            yield f"Not rebuilt, or not as it was ({len(problems):,}):"
            yield from (f"  - {problem}" for problem in problems)
        yield from self._last_words()

    def _last_words(self) -> Iterator[str]:
        if self.stopped:
            yield f"STOPPED, a store is away: {self.stopped}. Mend it and run the same command again: it goes on."
        elif self.applied:
            yield f"Done in {self.seconds:.0f} s. Look now at: wotr account"
        elif self.rebuilt or self.missing_tables or not self.adoption.empty:
            if self.adoption.lost:
                yield "Is there a backup of the bucket with the lost offsets? Restore their raw objects first."
            minutes = max(1, round(self.records / EVENTS_A_SECOND / 60))
            yield (
                f"Nothing was changed. With --apply it takes about {minutes:,} min on a machine of two cores; "
                "sums of the objects are verified then, and ingestion may go on"
            )
        else:
            yield "Nothing was changed, and nothing is to be rebuilt."
