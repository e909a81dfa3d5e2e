"""``wotr check``: the checks that stand on their own, now instead of at their schedule.

A triage has checks too, and enters what was rejected: it belongs to what is looked at.

Belongs here: executing those jobs and telling what failed.
Does not belong here: the checks (``checks/``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.assets.partitions import hour_key
from wotr_pipeline.checks.definitions import HOUR_JOB, STANDING_JOB
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import TRIAGE_JOB, build_definitions
from wotr_pipeline.operations.run_etl import QUIET
from wotr_pipeline.stores.ledger import Ledger


@dataclass(frozen=True)
class Checked:
    """What became of the checks. ``not_run``: jobs that failed before their checks were evaluated."""

    evaluations: tuple[dg.AssetCheckEvaluation, ...]
    not_run: tuple[str, ...]

    @property
    def failed(self) -> tuple[dg.AssetCheckEvaluation, ...]:
        """Checks that did not pass, warnings included."""
        return tuple(evaluation for evaluation in self.evaluations if not evaluation.passed)

    def lines(self) -> Iterator[str]:
        """One line that sums up, then one for each that failed."""
        yield f"{len(self.evaluations) - len(self.failed)} of {len(self.evaluations)} checks passed."
        for evaluation in self.failed:
            asset = evaluation.asset_key.to_user_string()
            yield f"  {evaluation.severity.value}  {asset}: {evaluation.check_name}: {evaluation.description}"
        for job in self.not_run:
            yield f"  ERROR  {job} failed: see its run in the Dagster UI"


def newest_hours(ledger: Ledger, number: int) -> list[datetime]:
    """The newest ``number`` arrival hours of the last day that have batches, oldest first."""
    now = datetime.now(UTC)
    batches = ledger.batches_between(now - timedelta(days=1), now + timedelta(hours=1))
    hours = sorted({batch.hour for batch in batches})
    return hours[len(hours) - min(number, len(hours)) :]


def run_checks(settings: Settings, instance: dg.DagsterInstance, hours: Iterable[datetime]) -> Checked:
    """Execute the standing checks, those of a triage, and those of each of ``hours``; ``instance`` records the runs."""
    definitions = build_definitions(settings)
    evaluations: list[dg.AssetCheckEvaluation] = []
    not_run = []
    jobs = [(STANDING_JOB, None), (TRIAGE_JOB, None), *((HOUR_JOB, hour_key(hour)) for hour in hours)]
    for name, partition in jobs:
        result = definitions.resolve_job_def(name).execute_in_process(
            partition_key=partition, instance=instance, raise_on_error=False, run_config=QUIET
        )
        evaluations += result.get_asset_check_evaluations()
        if not result.success:
            not_run.append(f"{name} {partition or ''}".strip())
    return Checked(tuple(evaluations), tuple(not_run))
