"""The sensors that notice dead letters: those of batches, of the prefix, of the topic; and retries to be settled.

Belongs here: noticing, cheaply. The work is a run of the triage job.
Does not belong here: reading any dead letter (``operations/dead_letters/triage.py``).
Concept: https://docs.dagster.io/guides/automate/sensors
"""

import logging
import time
from itertools import islice

import dagster as dg

from wotr_pipeline.automation.maintenance import reason_to_skip
from wotr_pipeline.checks.dead_letters import ASSET
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.dead_letters.triage import Triage
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.errors import StoreError
from wotr_pipeline.stores.object_keys import DEAD_LETTERS, RECEIVED, REPAIRED, batch_of_dead_letters
from wotr_pipeline.stores.objects import ObjectStore

TRIAGE_SECONDS = 60
"""A triage is a run of its own, some seconds of a core; nobody waits for it: a retry settles its own letters."""
SHOWN_SECONDS = 3600
"""What the asset's page shows is at most so old: people work on letters without any triage."""
SWEEP_SECONDS = 60
SWEPT_OBJECTS = 20_000
"""Objects listed by one tick: some seconds of an object store's time, well below a tick's limit."""
PAGE = 1_000


def sweep(
    objects: ObjectStore, register: DeadLetterRegister, cursor: str, most: int = SWEPT_OBJECTS
) -> tuple[str, int]:
    """List the next ``most`` objects below ``dead-letters/`` and note those that no batch wrote.

    Returns where the next sweep begins ('' after the last object) and how many were new.

    Raises:
        TransientError, PermanentError: a store is away or refuses; the sweep begins at ``cursor`` again.
    """
    infos = list(islice(objects.list(DEAD_LETTERS, after=cursor), most))
    noted = sum(
        _note(register, [(info.key, info.size) for info in infos[start : start + PAGE]])
        for start in range(0, len(infos), PAGE)
    )
    return infos[-1].key if len(infos) == most else "", noted


def _note(register: DeadLetterRegister, page: list[tuple[str, int]]) -> int:
    batch_ids = {key: batch_of_dead_letters(key) for key, _ in page}
    known, planned = register.known_objects(
        [key for key, _ in page], [name for name in batch_ids.values() if name]
    )
    return register.note_objects(
        (key, size)
        for key, size in page
        if key not in known and batch_ids[key] not in planned and not key.startswith((REPAIRED, RECEIVED))
    )


def dead_letter_sensors(settings: Settings, job_name: str) -> list[dg.SensorDefinition]:
    """``dead_letters``, which asks for a triage, and ``dead_letter_objects``, which sweeps the prefix."""

    @dg.sensor(
        name="dead_letters",
        job_name=job_name,
        minimum_interval_seconds=TRIAGE_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a triage when there are rejected records, retries without a verdict, or records of "
        "the dead-letter topic that are not in the register yet, and once an hour. Skips quietly while a store is away, and during maintenance.",
    )
    def dead_letters(
        context: dg.SensorEvaluationContext, objects: dg.ResourceParam[ObjectStore]
    ) -> dg.SensorResult | dg.SkipReason:
        paused = reason_to_skip(settings)
        if paused is not None:
            return paused
        under_way = dg.RunsFilter(job_name=job_name, statuses=UNDER_WAY)
        if context.instance.get_runs(under_way, limit=1):
            return dg.SkipReason("A triage is under way.")
        try:
            with DeadLetterRegister(settings) as register:
                waiting = Triage(settings, register, objects, "sensor", logging.getLogger(__name__)).waiting()
        except StoreError as error:
            return dg.SkipReason(f"It cannot be told whether there are dead letters to enter: {error}")
        shown = context.instance.get_latest_materialization_event(dg.AssetKey(ASSET))
        is_old = shown is None or time.time() - shown.timestamp > SHOWN_SECONDS
        if not (waiting.anything or is_old):
            return dg.SkipReason("Every dead letter is in the register, and every retry has its verdict.")
        context.log.info("To be triaged: %s.", waiting.describe())
        return dg.SensorResult(run_requests=[dg.RunRequest()])

    @dg.sensor(
        name="dead_letter_objects",
        minimum_interval_seconds=SWEEP_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        job_name=job_name,
        description="Lists the objects below dead-letters/, some thousands a tick, and notes those that others put "
        "there. The cursor is the last key it has seen; after the last object it begins anew.",
    )
    def dead_letter_objects(
        context: dg.SensorEvaluationContext, objects: dg.ResourceParam[ObjectStore]
    ) -> dg.SensorResult:
        cursor = context.cursor or ""
        paused = reason_to_skip(settings)
        if paused is not None:
            return dg.SensorResult(skip_reason=paused, cursor=cursor)
        try:
            with DeadLetterRegister(settings) as register:
                after, noted = sweep(objects, register, cursor)
        except StoreError as error:
            return dg.SensorResult(skip_reason=f"The prefix cannot be listed: {error}", cursor=cursor)
        where = f"up to {after}" if after else "to the end"
        return dg.SensorResult(
            skip_reason=f"Listed {where}: {noted:,} new objects of others, which the next triage enters.",
            cursor=after,
        )

    return [dead_letters, dead_letter_objects]


UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
