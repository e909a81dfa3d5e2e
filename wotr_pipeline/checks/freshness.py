"""How old is the oldest event that cannot be queried yet?

Counted from what Kafka and the ledger still have to deliver, not from the newest row: a quiet topic
is fresh, and a busy partition does not hide a stuck one.

Belongs here: that age and the check on it.
Does not belong here: which batches are late (``standing.py``).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.checks.presentation import moment, runbook
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.warehouse import Warehouse

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Freshness:
    """What is on its way. ``newest_row``: arrival of the newest row, None for an empty table.
    ``oldest_waiting``: arrival of the oldest event not planned yet or planning of the oldest unfinished
    batch, whichever is earlier; None if nothing waits. ``kafka_answered``: else only the ledger is known."""

    newest_row: datetime | None
    oldest_waiting: datetime | None
    unplanned_offsets: int
    unfinished_batches: int
    kafka_answered: bool = True

    def age(self, now: datetime) -> timedelta:
        """How long the oldest event waits; zero if nothing does."""
        return max(now - self.oldest_waiting, timedelta()) if self.oldest_waiting else timedelta()


def freshness(warehouse: Warehouse, ledger: Ledger, settings: Settings) -> Freshness:
    """Ask the table, the ledger and Kafka.

    Raises:
        TransientError, PermanentError: the engine or the ledger is away, or Kafka has no such topic.
    """
    (row,) = warehouse.select("check_newest_row").to_pylist()
    newest = EPOCH + timedelta(milliseconds=row["newest"]) if row["newest"] else None
    summary = ledger.summary(settings.kafka_topic)
    waiting = [summary.oldest_unfinished_planned_at] if summary.oldest_unfinished_planned_at else []
    unplanned, answered = 0, True
    try:
        count, arrivals = _unplanned(ledger, settings)
        unplanned = count
        waiting += arrivals
    except TransientError:
        answered = False
    return Freshness(newest, min(waiting, default=None), unplanned, summary.unfinished, answered)


def _unplanned(ledger: Ledger, settings: Settings) -> tuple[int, list[datetime]]:
    planned = ledger.planned_until(settings.kafka_topic)
    count, arrivals = 0, []
    with KafkaOffsets(settings) as kafka:
        for partition, held in kafka.watermarks(settings.kafka_topic).items():
            following = max(planned.get(partition, held.low), held.low)
            if following < held.high:
                count += held.high - following
                arrival = kafka.arrival_of(settings.kafka_topic, partition, following)
                if arrival is not None:
                    arrivals.append(arrival)
    return count, arrivals


def freshness_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``events_are_queryable_in_time`` of ``ingested_data``."""

    @dg.asset_check(
        asset="ingested_data",
        description=f"Every event that arrived more than {settings.wotr_fresh_minutes} minutes ago can be queried.",
    )
    def events_are_queryable_in_time(
        context: dg.AssetCheckExecutionContext,
        ledger: dg.ResourceParam[Ledger],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.AssetCheckResult:
        found = freshness(warehouse.for_run(context.run.run_id), ledger, settings)
        return _result(settings, found, datetime.now(UTC))

    return events_are_queryable_in_time


def _result(settings: Settings, found: Freshness, now: datetime) -> dg.AssetCheckResult:
    age = found.age(now)
    late = age > timedelta(minutes=settings.wotr_fresh_minutes)
    minutes = age.total_seconds() / 60
    if late and found.oldest_waiting:
        text = (
            f"The oldest event that cannot be queried waits since {moment(found.oldest_waiting)} ({minutes:,.0f} "
            f"minutes): {found.unplanned_offsets:,} offsets are not planned, {found.unfinished_batches:,} batches "
            "not finished. Is the sensor kafka_offsets on, and do its runs succeed?"
        )
    else:
        text = f"The oldest event that cannot be queried waits for {minutes:,.1f} minutes."
    if not found.kafka_answered:
        text = f"Kafka did not answer, so what it holds beyond the plan is not known. By the ledger: {text}"
    return dg.AssetCheckResult(
        passed=not late and found.kafka_answered,
        severity=dg.AssetCheckSeverity.ERROR if late else dg.AssetCheckSeverity.WARN,
        description=text,
        metadata={
            "minutes waited by the oldest event": minutes,
            "offsets not planned": found.unplanned_offsets,
            "batches not finished": found.unfinished_batches,
            "newest row": moment(found.newest_row) if found.newest_row else "none",
            "what to do": dg.MetadataValue.url(runbook(settings, "events_are_queryable_in_time")),
        },
    )
