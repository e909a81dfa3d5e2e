"""When backups are taken and drilled.

PostgreSQL before the bucket, and ClickHouse before both: what an earlier one remembers, a later one has. So the three
of one evening belong together (``operations/restore/platform.py``), and all are fresh for the window of Sunday 02:00.

Belongs here: the times. Does not belong here: taking backups (``assets/backups.py``).
"""

from dataclasses import dataclass
from typing import Any

import dagster as dg

from wotr_pipeline.assets.backups import asset_name, backup_partitions
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.config import Settings

TIMES = {Store.CLICKHOUSE: "30 21 * * 6", Store.POSTGRES: "0 22 * * *", Store.MINIO: "20 22 * * *"}
DRILL_TIME = "0 6 * * 0"


@dataclass(frozen=True)
class BackupAutomation:
    """What launches backups."""

    jobs: tuple[Any, ...]
    """Dagster's type of a job that selects assets has no public name."""
    schedules: tuple[dg.ScheduleDefinition, ...]


def backup_automation(settings: Settings, drill: dg.JobDefinition) -> BackupAutomation:
    """A job and a schedule a store, and the whole drill every Sunday after the window."""
    jobs = {
        store: dg.define_asset_job(
            f"backup_{store}",
            selection=dg.AssetSelection.assets(asset_name(store)),
            description=f"Take a backup of {store} and restore it into a scratch place. Launch it with the newest "
            "partition.",
            tags={"dagster/max_retries": "0"},
        )
        for store in Store
    }

    def schedule_of(store: Store) -> dg.ScheduleDefinition:
        partitions = backup_partitions(settings, store)

        @dg.schedule(
            name=f"backup_{store}_schedule",
            job=jobs[store],
            cron_schedule=TIMES[store],
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"A backup of {store}, of the partition of now.",
        )
        def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
            now = context.scheduled_execution_time.timestamp()
            return dg.RunRequest(partition_key=partitions.get_partition_key_for_timestamp(now))

        return schedule

    weekly = dg.ScheduleDefinition(
        name="drill_backups_schedule",
        job=drill,
        cron_schedule=DRILL_TIME,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="The newest backup of each store, restored whole.",
    )
    return BackupAutomation(tuple(jobs.values()), (*(schedule_of(store) for store in Store), weekly))
