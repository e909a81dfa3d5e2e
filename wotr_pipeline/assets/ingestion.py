"""The op that materializes ``raw_objects``, ``validated_batches``, ``dead_letters`` and ``ingested_data``.

One op, because the three steps of successive batches overlap: land the next while the engine judges
this one. What a step does is in the asset's own module; ``hour_run.py`` orders them.

Belongs here: what Dagster sees of an ingest run: specs, config, check results, metadata, retries.
Does not belong here: any step of the path.
Concept: https://docs.dagster.io/api/dagster/assets#dagster.multi_asset
"""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from wotr_pipeline import telemetry
from wotr_pipeline.assets.hour_run import HourRun, Outcome
from wotr_pipeline.assets.partitions import arrival_hours, hour_of
from wotr_pipeline.assets.presentation import change_table, ingest_metadata
from wotr_pipeline.checks import expectations, quality
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

OWNERS = ["team:platform"]
SERVICE = "wotr-pipeline"
"""Name of the runs' processes in traces."""
MAX_RETRIES = 3
RETRY_SECONDS = 10

DESCRIPTIONS = {
    "raw_objects": "Kafka's records as Parquet objects, byte for byte, one object a batch of offsets. Never "
    "written again once landed: everything downstream can be rebuilt from here.",
    "validated_batches": "Every landed record with a verdict. The valid ones' typed columns lie below "
    "validated/ with the position of their raw row; the payload stays in the raw object.",
    "dead_letters": "Every rejected record as a typed envelope: reason, field, message, original bytes and "
    "position in Kafka. One object of JSON lines a batch, below dead-letters/.",
    "ingested_data": "The table analysts query: valid events once each, and failed ones with error_message. "
    "A plain count() is exact; repeated ids are counted in the ledger, not loaded.",
}
KINDS = {
    "raw_objects": {"kafka", "s3", "parquet"},
    "validated_batches": {"clickhouse", "s3", "parquet"},
    "dead_letters": {"python", "s3", "json"},
    "ingested_data": {"clickhouse", "table"},
}
DEPENDENCIES = {
    "raw_objects": [],
    "validated_batches": ["raw_objects"],
    "dead_letters": ["raw_objects"],
    "ingested_data": ["validated_batches", "dead_letters"],
}


class IngestConfig(dg.Config):
    """What a run does with its hour. The sensor's runs only catch up; yours also reprocess."""

    reprocess: bool = Field(
        default=True,
        description="Judge the hour's finished batches again with today's rules and replace their rows at "
        "once. Unfinished batches are brought to the end in any case. Raw objects are never changed.",
    )
    follow_seconds: int = Field(
        default=0,
        ge=0,
        le=600,
        description="For so long, go on with batches that are planned while the run is at work. The sensor "
        "sets it for the hour that is running: an event then waits for a tick, not for a run to start.",
    )
    dry_run: bool = Field(
        default=False,
        description="Only show which rows would change their verdict. Nothing is written.",
    )


def ingestion_assets(settings: Settings) -> dg.AssetsDefinition:
    """The four assets of the path, hourly by arrival, with their checks."""
    specs = [
        dg.AssetSpec(
            name,
            deps=DEPENDENCIES[name],
            description=description,
            kinds=KINDS[name],
            owners=OWNERS,
            group_name="ingestion",
            skippable=True,
        )
        for name, description in DESCRIPTIONS.items()
    ]

    @dg.multi_asset(
        name="ingest",
        specs=specs,
        check_specs=quality.check_specs(settings),
        partitions_def=arrival_hours(settings),
        # Whatever is selected, the whole path is walked; only so may a run without work report nothing.
        can_subset=True,
    )
    def ingest(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        ledger: dg.ResourceParam[Ledger],
        objects: dg.ResourceParam[ObjectStore],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult | dg.AssetObservation]:
        hour = hour_of(context.partition_key)
        telemetry.configure_tracing(settings, SERVICE)
        expectations.warm_in_background()
        run = HourRun(settings, ledger, objects, warehouse, expectations.gate, context.run_id, context.log)
        if config.dry_run:
            yield _preview(run, context)
            return
        try:
            with telemetry.span(
                "run", run_id=context.run_id, job=context.job_name, hour=context.partition_key
            ):
                outcomes = list(
                    run.reprocess(hour) if config.reprocess else run.catch_up(hour, config.follow_seconds)
                )
        except TransientError as error:
            # The ledger itself was away: no batch could be told, so there is nothing to show.
            raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=RETRY_SECONDS) from error
        transient = [o for o in outcomes if isinstance(o.error, TransientError)]
        if transient and context.retry_number < MAX_RETRIES:
            raise dg.RetryRequested(
                max_retries=MAX_RETRIES, seconds_to_wait=RETRY_SECONDS * 2**context.retry_number
            ) from transient[0].error
        selected_checks = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
        for result in quality.check_results(settings, [o.gate for o in outcomes if o.gate is not None]):
            if (result.asset_key, result.check_name) in selected_checks:
                yield result
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        if failed:
            raise _failure(settings, outcomes, failed)
        if not outcomes:
            context.log.info("Nothing to do: every batch of %s is loaded.", context.partition_key)
            return
        _commit(settings, ledger, context)
        batches = [outcome.batch for outcome in outcomes]
        metadata = ingest_metadata(settings, batches, ledger.hour_account(hour), warehouse)
        for name in DESCRIPTIONS:
            if dg.AssetKey(name) in context.selected_asset_keys:
                yield dg.MaterializeResult(asset_key=name, metadata=metadata[name])

    return ingest


def _preview(run: HourRun, context: dg.AssetExecutionContext) -> dg.AssetObservation:
    batches, changes = 0, []
    for batch, found in run.preview(hour_of(context.partition_key)):
        batches += 1
        changes += [(batch, change) for change in found]
    rows = sum(change.rows for _, change in changes)
    context.log.info(
        "Dry run: a reprocess of %s would judge %d batches and change the verdict of %d rows.",
        context.partition_key,
        batches,
        rows,
    )
    return dg.AssetObservation(
        asset_key="ingested_data",
        partition=context.partition_key,
        description="Dry run of a reprocess: what would change. Launch it with dry_run: false to apply it.",
        metadata={
            "rows that would change their verdict": rows,
            "batches judged": batches,
            "changes": change_table(changes),
        },
    )


def _failure(settings: Settings, outcomes: list[Outcome], failed: list[Outcome]) -> dg.Failure:
    loaded = len(outcomes) - len(failed)
    first = ", ".join(outcome.batch.batch_id for outcome in failed[:3])
    return dg.Failure(
        description=(
            f"{len(failed)} of {len(outcomes)} batches could not be loaded ({first}); {loaded} were. Nothing is "
            f"lost: their records are in Kafka or in their raw objects. First error: {failed[0].error}"
        ),
        metadata={
            "errors": dg.MetadataValue.md(
                "\n".join(f"- `{outcome.batch.batch_id}`: {outcome.error}" for outcome in failed[:20])
            ),
            "what to do": dg.MetadataValue.url(settings.runbook("operating.md#a-batch-does-not-load")),
        },
        allow_retries=False,
    )


def _commit(settings: Settings, ledger: Ledger, context: dg.AssetExecutionContext) -> None:
    """Commit the consumer group up to what is landed, for lag tools; the ledger stays the truth."""
    landed = ledger.landed_until(settings.kafka_topic)
    try:
        with KafkaOffsets(settings) as offsets:
            offsets.commit(settings.kafka_topic, landed)
    except TransientError as error:
        context.log.warning("Lag tools show an old lag until the next run: %s", error)
