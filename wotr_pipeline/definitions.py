"""The one ``Definitions`` object: wiring only.

Belongs here: which assets, checks, jobs, sensors and resources there are. Tests use the same door,
with other settings or resources.
Does not belong here: what any of them does.
"""

import gc
import warnings
from collections.abc import Mapping

import dagster as dg

from wotr_pipeline.assets.backups import backup_assets
from wotr_pipeline.assets.curated import HOURLY, curated_assets
from wotr_pipeline.assets.ingestion import ingestion_assets
from wotr_pipeline.assets.open_dead_letters import open_dead_letters_asset
from wotr_pipeline.assets.reports import report_assets
from wotr_pipeline.automation.backup_schedules import backup_automation
from wotr_pipeline.automation.dead_letter_sensors import dead_letter_sensors
from wotr_pipeline.automation.executor import executor_of
from wotr_pipeline.automation.maintenance_window import maintenance_automation
from wotr_pipeline.automation.report_schedules import report_schedules
from wotr_pipeline.automation.sensors import kafka_offsets_sensor
from wotr_pipeline.backups.verified import VerifiedBackups
from wotr_pipeline.checks.definitions import standing_checks, standing_checks_schedule
from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.operations.dead_letters.jobs import dead_letter_jobs
from wotr_pipeline.operations.maintenance.job import maintenance_job
from wotr_pipeline.operations.recovery_job import recovery_job
from wotr_pipeline.operations.restore.jobs import drill_job, restore_jobs
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

INGEST_JOB = "ingest_hour"
TRIAGE_JOB = "triage_dead_letters"


def build_definitions(
    settings: Settings, *, resource_overrides: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Everything that Dagster shows and runs, for these settings. Opens no connection."""
    with warnings.catch_warnings():
        # Partitions on asset checks, a day without its later hours: new in Dagster, pinned by the lock file.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _build(settings, resource_overrides or {})


def _build(settings: Settings, resource_overrides: Mapping[str, object]) -> dg.Definitions:
    ingestion = ingestion_assets(settings)
    curated = curated_assets(settings)
    checks = standing_checks(settings)
    ingest_hour = dg.define_asset_job(
        INGEST_JOB,
        # The standing checks have schedules of their own: they would cost each small run seconds.
        selection=(dg.AssetSelection.assets(ingestion) | dg.AssetSelection.assets(*HOURLY))
        - dg.AssetSelection.checks(*checks),
        description="Bring every unfinished batch of an arrival hour to ClickHouse and rebuild the hour's "
        "aggregates. The sensor launches it; launched by hand it also judges the hour anew.",
    )
    open_dead_letters = open_dead_letters_asset(settings)
    triage = dg.define_asset_job(
        TRIAGE_JOB,
        selection=dg.AssetSelection.assets(open_dead_letters),
        description="Enter what was rejected into the register of dead letters, and give retries their verdict. The "
        "sensor dead_letters launches it; launching it by hand is safe at any time.",
        tags={"dagster/max_retries": "0"},
    )
    drill = drill_job(settings)
    backups = backup_automation(settings, drill)
    window = maintenance_job(settings, VerifiedBackups(settings))
    maintenance = maintenance_automation(settings, window)
    automation = dg.AutomationConditionSensorDefinition(
        "curated_automation",
        target=dg.AssetSelection.assets("events_daily"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
    )
    assets = [ingestion, *curated, open_dead_letters, *backup_assets(settings)]
    reported = {key for defined in (*assets, *checks) for key in defined.check_keys}
    return dg.Definitions(
        assets=[*assets, *report_assets(settings, reported)],
        asset_checks=checks,
        jobs=[
            ingest_hour,
            triage,
            *dead_letter_jobs(settings),
            recovery_job(settings),
            *backups.jobs,
            *restore_jobs(settings),
            drill,
            window,
        ],
        sensors=[
            kafka_offsets_sensor(settings, INGEST_JOB),
            *dead_letter_sensors(settings, TRIAGE_JOB),
            *maintenance.sensors,
            automation,
        ],
        schedules=[
            *standing_checks_schedule(settings, checks),
            *backups.schedules,
            *maintenance.schedules,
            *report_schedules(settings),
        ],
        resources={
            "ledger": Ledger(settings),
            "objects": ObjectStore(settings),
            "warehouse": Warehouse(settings),
            **resource_overrides,
        },
        executor=executor_of(settings),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What the code server and each run load. Raises SettingsError when the environment cannot be used."""
    definitions = build_definitions(load_settings())
    # What is there now stays: the garbage collector need not look at it again and again in every run.
    gc.freeze()
    return definitions
