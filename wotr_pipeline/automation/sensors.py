"""The sensor that turns Kafka offsets into planned batches, and planned batches into runs.

Belongs here: when to plan, which hours to run, what a tick says. The plan is in the ledger before a
run is asked for, so a tick that is killed half way has lost nothing and doubled nothing.
Does not belong here: how offsets are cut into batches (``planning.py``).
Concept: https://docs.dagster.io/guides/automate/sensors
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.assets.partitions import hour_key
from wotr_pipeline.automation.maintenance import reason_to_skip
from wotr_pipeline.automation.planning import Plan, plan_batches
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import HourToRun
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger

INTERVAL_SECONDS = 3
"""Below the daemon's own 5 s: a tick that ends a moment late must not cost a whole round."""
FOLLOW_SECONDS = 120
HOUR_TAG = "wotr/hour"
LEDGER_TAG = "wotr/ledger_token"
MAX_WAIT = timedelta(minutes=5)

DESCRIPTION = (
    "Plans batches from Kafka's offsets (the ledger first), then asks for a run of each hour that has "
    "unfinished batches. Skips quietly while Kafka or PostgreSQL is away, and during maintenance. A failed tick means that "
    "Kafka's offsets contradict the ledger: read its message, it names partition and offsets."
)


class OffsetsContradictLedgerError(Exception):
    """Kafka dropped offsets that were not landed, or a topic was made anew. Loud on purpose."""


def kafka_offsets_sensor(settings: Settings, job_name: str) -> dg.SensorDefinition:
    """The sensor that requests runs of ``job_name``, running by default, every ``INTERVAL_SECONDS``."""

    @dg.sensor(
        name="kafka_offsets",
        job_name=job_name,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=DESCRIPTION,
    )
    def kafka_offsets(
        context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[Ledger]
    ) -> dg.SensorResult | dg.SkipReason:
        paused = reason_to_skip(settings)
        if paused is not None:
            return paused
        now = datetime.now(UTC)
        try:
            with KafkaOffsets(settings) as offsets:
                plan = plan_batches(offsets, ledger, settings, now)
        except TransientError as error:
            # Batches that are planned already can still be worked off: they may need no Kafka at all.
            context.log.warning("Nothing new is planned: %s", error)
            problems: tuple[str, ...] = ()
            reason = f"Nothing new is planned: {error}"
        else:
            problems = plan.problems
            reason = _describe(plan)
            context.log.info("%s", reason)
        try:
            waiting = ledger.hours_to_run(settings.kafka_topic, now)
            asked = [request_for(context.instance, hour, now) for hour in waiting]
        except TransientError as error:
            return dg.SkipReason(f"The ledger is away, so no run is asked for: {error}")
        requests = [request for request in asked if request is not None]
        context.log.info("%s", _describe_waiting(waiting, now))
        if problems:
            context.log.error("%s", "; ".join(problems))
            if not requests:
                raise OffsetsContradictLedgerError("; ".join(problems))
        if not requests:
            return dg.SkipReason(f"{reason} {_describe_waiting(waiting, now)}")
        return dg.SensorResult(run_requests=requests)

    return kafka_offsets


def request_for(instance: dg.DagsterInstance, hour: HourToRun, now: datetime) -> dg.RunRequest | None:
    """The request for a run of ``hour``, or None while an earlier one of the same plan is to be waited for."""
    key = hour_key(hour.hour)
    # The token stands still when a run dies before its first claim; a run key used once blocks its
    # hour for ever, so the number of earlier runs of the same token is part of it.
    earlier = instance.get_run_records(dg.RunsFilter(tags={HOUR_TAG: key, LEDGER_TAG: hour.token}), limit=20)
    if not _due(earlier, now):
        return None
    follow = FOLLOW_SECONDS if hour.hour + timedelta(hours=1) > now else 0
    return dg.RunRequest(
        run_key=f"{key}/{hour.token}/{len(earlier)}",
        partition_key=key,
        run_config={"ops": {"ingest": {"config": {"reprocess": False, "follow_seconds": follow}}}},
        tags={HOUR_TAG: key, LEDGER_TAG: hour.token},
    )


def _due(earlier: Sequence[dg.RunRecord], now: datetime) -> bool:
    if not earlier:
        return True
    newest = max(earlier, key=lambda record: record.create_timestamp)
    if not newest.dagster_run.is_finished:
        return False
    wait = min(timedelta(seconds=INTERVAL_SECONDS * 2 ** len(earlier)), MAX_WAIT)
    return now - newest.create_timestamp >= wait


def _describe_waiting(waiting: Sequence[HourToRun], now: datetime) -> str:
    if not waiting:
        return "No planned batch waits for a run."
    oldest = min(hour.oldest_planned_at for hour in waiting)
    return (
        f"{sum(hour.batches for hour in waiting)} batches ({sum(hour.offsets for hour in waiting)} offsets) of "
        f"{len(waiting)} hours wait for a run, the oldest for {(now - oldest).total_seconds():.0f} s."
    )


def _describe(plan: Plan) -> str:
    lag = ", ".join(f"{partition}: {count}" for partition, count in sorted(plan.lag.items()))
    return (
        f"Planned {sum(planned.offsets for planned in plan.ranges)} offsets in {len(plan.ranges)} batches. "
        f"Offsets not yet planned, by partition: {lag or 'none'}."
    )
