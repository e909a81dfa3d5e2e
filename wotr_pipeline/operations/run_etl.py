"""``wotr run-etl``: one pass over everything that is in Kafka now, without waiting for the sensor.

Plans what is not planned, then executes the job of the sensor's runs, in this process, for every hour
with unfinished work. The runs are in the Dagster UI like any other.

Belongs here: the order of planning and running, and when to stop. Does not belong here: any step of
the path (``assets/``), how offsets are cut into batches (``automation/planning.py``).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from wotr_pipeline.assets.partitions import hour_key
from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.automation.sensors import HOUR_TAG
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import INGEST_JOB, build_definitions
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger

# Every event of a run is in the UI; here only what went wrong is of interest.
QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
RUN_CONFIG = {"ops": {"ingest": {"config": {"reprocess": False}}}, **QUIET}


@dataclass(frozen=True)
class EtlPass:
    """What one pass did."""

    planned_offsets: int
    runs: int
    failed_runs: int
    unfinished: int
    """Batches that are still unfinished: their runs failed, or another living run is at work on them."""
    problems: tuple[str, ...]
    """Where Kafka's offsets contradict the ledger; each names partition and offsets."""

    @property
    def complete(self) -> bool:
        """Whether everything that Kafka holds is LOADED (or quarantined by name)."""
        return not (self.failed_runs or self.unfinished or self.problems)

    def lines(self) -> Iterator[str]:
        """What was done, and what is left to do for whom."""
        yield f"Planned {self.planned_offsets:,} offsets, made {self.runs} runs, {self.failed_runs} of them failed."
        if self.unfinished:
            yield (
                f"{self.unfinished} batches are unfinished: their run failed, or another one is at work on them. "
                "Look at the runs in the Dagster UI, then run this again."
            )
        yield from self.problems


@contextmanager
def instance_of(environment: Mapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of a data directory, so that the runs are in its UI.

    ``environment``: what ``wotr up`` left; variables that are set already win (dagster.yaml reads them).

    Raises:
        PermanentError: Dagster was never started there.
    """
    os.environ.update({name: value for name, value in environment.items() if name not in os.environ})
    home = os.environ.get("DAGSTER_HOME")
    if home is not None and not Path(home).is_dir():
        raise PermanentError(
            f"Dagster's home {home} is not there: it was never started. Start it with: wotr up"
        )
    with dg.DagsterInstance.get() as instance:
        yield instance


def run_etl(
    settings: Settings,
    ledger: Ledger,
    instance: dg.DagsterInstance,
    report: Callable[[str], None] = lambda _: None,
) -> EtlPass:
    """Bring everything that Kafka holds now to LOADED. ``instance`` records the runs.

    What is planned while it runs (by the sensor) is taken too. Each batch is tried once.

    Raises:
        TransientError: Kafka or PostgreSQL is away. PermanentError: it refuses.
    """
    planned, problems = plan_everything(settings, ledger, report)
    job = build_definitions(settings).resolve_job_def(INGEST_JOB)
    runs = failed = 0
    tried: set[str] = set()
    while True:
        unfinished = ledger.unfinished(settings.kafka_topic)
        hours = sorted({batch.hour for batch in unfinished if batch.batch_id not in tried})
        if not hours:
            return EtlPass(planned, runs, failed, len(unfinished), problems)
        tried.update(batch.batch_id for batch in unfinished)
        for hour in hours:
            key = hour_key(hour)
            result = run_hour(job, hour, instance)
            runs += 1
            failed += not result.success
            outcome = "done" if result.success else f"failed; see run {result.run_id} in the Dagster UI"
            report(f"Hour {key}: {outcome}")


def run_hour(
    job: dg.JobDefinition, hour: datetime, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    """Execute the ingest job for an hour in this process; the result says whether it succeeded."""
    key = hour_key(hour)
    return job.execute_in_process(
        instance=instance,
        partition_key=key,
        run_config=RUN_CONFIG,
        tags={HOUR_TAG: key},
        raise_on_error=False,
    )


def plan_everything(
    settings: Settings, ledger: Ledger, report: Callable[[str], None] = lambda _: None
) -> tuple[int, tuple[str, ...]]:
    """Plan what Kafka holds now: how many offsets, and where they contradict the ledger. Raises as ``run_etl``."""
    planned = 0
    with KafkaOffsets(settings) as offsets:
        while True:
            plan = plan_batches(offsets, ledger, settings, datetime.now(UTC))
            count = sum(range_.offsets for range_ in plan.ranges)
            if not count:
                return planned, tuple(plan.problems)
            planned += count
            report(f"Planned {count:,} offsets in {len(plan.ranges)} batches")
