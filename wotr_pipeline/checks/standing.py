"""What is broken now, whatever the hour: gaps in the plan, batches that are stuck or quarantined.

Each check answers with an exact count, since when, the first three batches and the next step.

Belongs here: checks of the whole ledger of the topic.
Does not belong here: comparing an hour with the stores (``reconciliation.py``), or how late data is
(``freshness.py``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.checks.presentation import first_three, moment, runbook, table
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch, BatchState, Gap
from wotr_pipeline.stores.ledger import Ledger

SEARCHED_DAYS = 31
"""Quarantined batches are counted without bound; they are named when they are of these last days."""


@dataclass(frozen=True)
class Stuck:
    """Batches that do not get on: how many (exactly), since when, and those that can be named, oldest first."""

    count: int
    since: datetime | None
    batches: tuple[Batch, ...]

    @property
    def batch_ids(self) -> list[str]:
        """Names of the batches."""
        return [batch.batch_id for batch in self.batches]


def late_batches(ledger: Ledger, topic: str, limit: timedelta, now: datetime) -> Stuck:
    """Unfinished batches that were planned longer than ``limit`` ago.

    A reopened batch was planned long ago by nature: while a run has it, it counts from its claim.

    Raises:
        TransientError, PermanentError: the ledger is away or refuses.
    """
    late = [batch for batch in ledger.unfinished(topic) if now - _waiting_since(batch) > limit]
    return _stuck(late, len(late))


def quarantined_batches(ledger: Ledger, topic: str, now: datetime) -> Stuck:
    """Batches that need someone: they are not tried again by themselves.

    Raises:
        TransientError, PermanentError: the ledger is away or refuses.
    """
    count = ledger.summary(topic).of(BatchState.QUARANTINED).batches
    if not count:
        return _stuck([], 0)
    recent = ledger.batches_between(now - timedelta(days=SEARCHED_DAYS), now + timedelta(hours=1))
    return _stuck((b for b in recent if b.topic == topic and b.state is BatchState.QUARANTINED), count)


def _waiting_since(batch: Batch) -> datetime:
    if batch.generation > 1 and batch.claimed_at is not None:
        return batch.claimed_at
    # The database sets it for every row.
    return batch.planned_at or batch.hour


def _stuck(batches: Iterable[Batch], count: int) -> Stuck:
    oldest_first = sorted(batches, key=_waiting_since)
    return Stuck(count, _waiting_since(oldest_first[0]) if oldest_first else None, tuple(oldest_first))


def standing_ledger_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Asset checks ``no_late_batches``, ``no_quarantined_batches`` and ``no_gap_in_the_plan``."""
    limit = timedelta(minutes=settings.wotr_fresh_minutes)
    topic = settings.kafka_topic

    @dg.asset_check(
        asset="ingested_data",
        description=f"No planned batch waits longer than {settings.wotr_fresh_minutes} minutes for its rows.",
    )
    def no_late_batches(ledger: dg.ResourceParam[Ledger]) -> dg.AssetCheckResult:
        return _result(
            settings,
            "no_late_batches",
            late_batches(ledger, topic, limit, datetime.now(UTC)),
            f"not finished {settings.wotr_fresh_minutes} minutes after they were planned",
            "Nothing is lost. See the last run of their hour; if there is none, is the sensor kafka_offsets on?",
        )

    @dg.asset_check(
        asset="ingested_data",
        description="No batch is quarantined: such a batch is not tried again until someone reopens it.",
    )
    def no_quarantined_batches(ledger: dg.ResourceParam[Ledger]) -> dg.AssetCheckResult:
        return _result(
            settings,
            "no_quarantined_batches",
            quarantined_batches(ledger, topic, datetime.now(UTC)),
            "quarantined",
            "Mend what their last error names, then reopen them.",
        )

    @dg.asset_check(
        asset="raw_objects",
        description="The planned offsets of each Kafka partition follow each other without a gap.",
    )
    def no_gap_in_the_plan(ledger: dg.ResourceParam[Ledger]) -> dg.AssetCheckResult:
        return _gap_result(settings, ledger.contiguity_gaps(topic))

    return [no_late_batches, no_quarantined_batches, no_gap_in_the_plan]


def _result(settings: Settings, check: str, stuck: Stuck, what: str, next_step: str) -> dg.AssetCheckResult:
    text = f"No batch is {what}."
    if stuck.count:
        since = f" since {moment(stuck.since)}" if stuck.since else ""
        names = f": {first_three(stuck.batch_ids)}" if stuck.batches else ""
        text = f"{stuck.count:,} batches are {what}{since}{names}. {next_step}"
    return dg.AssetCheckResult(
        passed=stuck.count == 0,
        description=text,
        metadata={
            "batches": stuck.count,
            "offsets": sum(batch.offsets for batch in stuck.batches),
            "oldest first": table(
                [
                    {
                        "batch": batch.batch_id,
                        "hour": f"{batch.hour:%Y-%m-%d %H}h",
                        "state": batch.state.value,
                        "attempts": batch.attempts,
                        "since": moment(_waiting_since(batch)),
                        "last error": batch.last_error or "",
                    }
                    for batch in stuck.batches
                ]
            ),
            "what to do": dg.MetadataValue.url(runbook(settings, check)),
        },
    )


def _gap_result(settings: Settings, gaps: list[Gap]) -> dg.AssetCheckResult:
    offsets = sum(gap.last_offset - gap.first_offset + 1 for gap in gaps)
    names = [f"{gap.topic}:{gap.partition}:{gap.first_offset}-{gap.last_offset}" for gap in gaps]
    text = "Planned offsets are contiguous in every partition."
    if gaps:
        text = (
            f"{offsets:,} offsets in {len(gaps):,} gaps were never planned: {first_three(names)}. Rows of the "
            "ledger were deleted. Restore them from a backup of PostgreSQL; the events are in Kafka as long as "
            "its retention lasts, or in their raw objects."
        )
    return dg.AssetCheckResult(
        passed=not gaps,
        description=text,
        metadata={
            "gaps": len(gaps),
            "offsets": offsets,
            "ranges": table([{"range": name} for name in names]),
            "what to do": dg.MetadataValue.url(runbook(settings, "no_gap_in_the_plan")),
        },
    )
