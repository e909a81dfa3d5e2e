"""Dagster's own runs past their time, with their event logs. Ticks are purged by dagster.yaml.

HAZARD: a run that goes takes its events along, and materializations are events. A partition whose newest
materialization went would look as if it had never been made, and automation would make it again, out of rows that may
be gone by then. So a run that holds the newest materialization of anything stays, however old it is.

Belongs here: that choice. Does not belong here: the runs' compute logs (``log_files.py``).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.operations.maintenance.retention import Removed
from wotr_pipeline.operations.maintenance.window import Window

KEEP_DAYS = 90
PAGE = 1_000
FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def old_runs(window: Window, instance: dg.DagsterInstance) -> Removed:
    """Delete the finished runs older than ``KEEP_DAYS`` whose materializations are all superseded, or count them."""
    before = datetime.now(UTC) - timedelta(days=KEEP_DAYS)
    wanted = dg.RunsFilter(statuses=FINISHED, created_before=before)
    gone = kept = 0
    for run_id in _ids(instance, wanted):
        if _holds_the_newest(instance, run_id):
            kept += 1
            continue
        if not window.dry_run:
            if not window.go_on():
                break
            # Dagster deletes the run first: a kill in between would leave events that nobody finds any more.
            instance.event_log_storage.delete_events(run_id)
            instance.delete_run(run_id)
        gone += 1
    return Removed("Dagster's runs", gone, 0, kept, "they hold the newest materialization of something")


def _ids(instance: dg.DagsterInstance, wanted: dg.RunsFilter) -> list[str]:
    """All of them before the first one goes: a page's cursor is a run, and must still be there."""
    found: list[str] = []
    while page := instance.get_run_ids(wanted, limit=PAGE, cursor=found[-1] if found else None):
        found += page
    return found


def _holds_the_newest(instance: dg.DagsterInstance, run_id: str) -> bool:
    made = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    for record in made:
        event = record.event_log_entry.dagster_event
        if event is None or event.asset_key is None:
            continue
        if event.partition is None:
            newest = instance.get_latest_materialization_event(event.asset_key)
            if newest is not None and newest.run_id == run_id:
                return True
            continue
        by_partition = instance.event_log_storage.get_latest_storage_id_by_partition(
            event.asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION, {event.partition}
        )
        if by_partition.get(event.partition) == record.storage_id:
            return True
    return False
