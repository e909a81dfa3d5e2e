"""Assets ``minio_backup``, ``postgres_backup`` (daily) and ``clickhouse_backup`` (weekly): backups that were restored.

In: the stores as they are now. Out: a signed backup in the bucket of the backups, a row in the register, and what the
restore drill measured. Promise: a materialization with a passing check has been restored and compared, whole.

Belongs here: what Dagster sees of a backup. Does not belong here: taking and restoring it (``backups/``).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_days, backup_weeks
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.taking import Taken, take_backup
from wotr_pipeline.backups.targets import target_of
from wotr_pipeline.checks.presentation import Line, moment, table
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.backup_notices import tell_of_drill, tell_of_failure
from wotr_pipeline.stores.errors import PermanentError, TransientError

FACTS_SHOWN = 50
TRIES = 3
FRESH_FOR = {
    Store.MINIO: timedelta(hours=26),
    Store.POSTGRES: timedelta(hours=26),
    Store.CLICKHOUSE: timedelta(days=7, hours=2),
}
"""A day or a week, and two hours for a run that is late."""
DEPENDS_ON = {
    Store.MINIO: ["raw_objects", "validated_batches", "dead_letters"],
    Store.POSTGRES: ["raw_objects", "open_dead_letters"],
    Store.CLICKHOUSE: ["ingested_data"],
}
WHAT = {
    Store.MINIO: "Every object of the bucket: what is new is copied, the rest is shared with earlier backups.",
    Store.POSTGRES: "The ledger's and Dagster's databases as pg_dump writes them, and the server's roles.",
    Store.CLICKHOUSE: "Every table of the events' database, by the engine's own BACKUP: full, or what changed since.",
}
RESTORES = "it_can_be_restored"


def asset_name(store: Store) -> str:
    """The name of a store's backup asset."""
    return f"{store}_backup"


def backup_partitions(settings: Settings, store: Store) -> dg.TimeWindowPartitionsDefinition:
    """Days, and weeks for ClickHouse."""
    return backup_weeks(settings) if store is Store.CLICKHOUSE else arrival_days(settings)


def backup_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The three assets, each with the check of its drill."""
    return [_backup_asset(settings, store) for store in Store]


def _backup_asset(settings: Settings, store: Store) -> dg.AssetsDefinition:
    partitions = backup_partitions(settings, store)

    @dg.asset(
        name=asset_name(store),
        partitions_def=partitions,
        deps=[
            dg.AssetDep(
                name, partition_mapping=dg.LastPartitionMapping() if name != "open_dead_letters" else None
            )
            for name in DEPENDS_ON[store]
        ],
        check_specs=[
            dg.AssetCheckSpec(
                RESTORES,
                asset=asset_name(store),
                partitions_def=partitions,
                description="The backup was restored into a scratch place, read whole, and is what its manifest says.",
            )
        ],
        group_name="backups",
        kinds={"s3", {"minio": "s3"}.get(store, store.value)},
        owners=["team:platform"],
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=FRESH_FOR[store]),
        description=f"{WHAT[store]} Taken, then restored into a scratch place and compared: only then it counts. "
        f"It holds the state of the moment it is taken, so only the partition of now can be materialized. "
        f"To bring it back: wotr restore, or the job restore_{store}.",
        tags={"store": store.value},
    )
    def backup(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        window = context.partition_time_window
        if not window.start <= datetime.now(UTC) < window.end:
            raise dg.Failure(
                f"A backup holds the state of now, and the partition {context.partition_key} is another time: what "
                f"was then cannot be backed up any more. Materialize the newest partition of {asset_name(store)}.",
                allow_retries=False,
            )
        try:
            taken = take_backup(settings, target_of(settings, store), f"run {context.run_id}", context.log)
        except TransientError as error:
            if context.retry_number >= TRIES:
                tell_of_failure(settings, store, context.run_id, error)
            raise dg.RetryRequested(max_retries=TRIES, seconds_to_wait=30) from error
        except PermanentError as error:
            tell_of_failure(settings, store, context.run_id, error)
            raise dg.Failure(str(error), allow_retries=False) from error
        tell_of_drill(settings, taken, context.run_id)
        yield check_result(settings, taken)
        yield dg.MaterializeResult(metadata=backup_metadata(settings, taken))

    return backup


def check_result(settings: Settings, taken: Taken) -> dg.AssetCheckResult:
    """What the drill found, as a check of the backup's asset."""
    manifest, found = taken.manifest, taken.verification
    if found.problem:
        text = (
            f"{manifest.backup_id} does not count: {found.problem} The newest verified backup is an older one. "
            "Find the cause, then materialize this asset again."
        )
    else:
        text = (
            f"{manifest.backup_id} was restored: {found.items:,} items in {found.restore_seconds:,.1f} s "
            "(restored groups, extrapolated to the whole)."
            if found.items != manifest.items
            else f"{manifest.backup_id} was restored whole: {found.items:,} items in {found.restore_seconds:,.1f} s."
        )
    return dg.AssetCheckResult(
        asset_key=asset_name(manifest.store),
        check_name=RESTORES,
        passed=not found.problem,
        severity=dg.AssetCheckSeverity.ERROR,
        description=text,
        metadata={
            "items restored": found.items,
            "bytes restored": found.bytes,
            "RTO, seconds": found.restore_seconds,
            "what to do": dg.MetadataValue.url(settings.runbook("runbook/restore.md")),
        },
    )


def backup_metadata(settings: Settings, taken: Taken) -> dict[str, dg.MetadataValue]:
    """What the asset's page shows of a backup."""
    manifest, found = taken.manifest, taken.verification
    facts: list[Line] = [
        {"name": fact.name, "partition": fact.partition, "items": fact.items, "checksum": fact.checksum[:16]}
        for fact in manifest.facts
    ]
    return {
        "backup": dg.MetadataValue.text(manifest.backup_id),
        "where": dg.MetadataValue.text(taken.location),
        "state of": dg.MetadataValue.text(moment(manifest.taken_at)),
        "builds upon": dg.MetadataValue.text(manifest.base_id or "nothing: it stands alone"),
        "encrypted for": dg.MetadataValue.text(manifest.recipient or "nobody: it is not encrypted"),
        "verified": dg.MetadataValue.bool(not found.problem),
        "items": dg.MetadataValue.int(manifest.items),
        "new bytes": dg.MetadataValue.int(manifest.bytes),
        "seconds to take": dg.MetadataValue.float((manifest.finished_at - manifest.taken_at).total_seconds()),
        "RTO, seconds": dg.MetadataValue.float(found.restore_seconds),
        "RPO when verified, seconds": dg.MetadataValue.float((found.at - manifest.taken_at).total_seconds()),
        "what it holds": table(facts[:FACTS_SHOWN]),
        **{name: dg.MetadataValue.text(value) for name, value in manifest.details.items()},
        "how to restore": dg.MetadataValue.url(settings.runbook("runbook/restore.md")),
    }
