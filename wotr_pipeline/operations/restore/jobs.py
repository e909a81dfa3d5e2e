"""The jobs ``restore_minio``, ``restore_postgres``, ``restore_clickhouse`` and ``drill_backups``.

Belongs here: config, metadata, errors as Dagster wants them. Does not belong here: restoring (``restoring.py``).
Concept: https://docs.dagster.io/guides/build/ops
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from wotr_pipeline.assets.backups import asset_name, backup_metadata, check_result
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.taking import drill_newest
from wotr_pipeline.backups.target import Restored, Selection
from wotr_pipeline.backups.targets import target_of
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.backup_notices import tell_of_drill
from wotr_pipeline.operations.restore import restoring
from wotr_pipeline.operations.restore.guard import confirmation
from wotr_pipeline.operations.restore.restoring import Plan, Wanted
from wotr_pipeline.stores.errors import StoreError

DRILL_JOB = "drill_backups"
NEVER_AGAIN = {"dagster/max_retries": "0"}


class RestoreConfig(dg.Config):
    """What is restored, and where to. As it stands, the run only shows the plan."""

    backup_id: str = Field(
        default="", description="Which backup, as `wotr restore list` names it. Empty: by `at`."
    )
    at: str = Field(
        default="",
        description="Restore the newest verified backup of this moment or before, UTC: 2026-11-25T08:00. Empty: now.",
    )
    table: str = Field(default="", description="Only this table. Empty: all. Not for minio.")
    partition: str = Field(
        default="", description="Only this partition of the table, such as 202611. ClickHouse only."
    )
    prefix: str = Field(
        default="", description="Only objects whose keys begin so, such as raw/date=2026-11-25/."
    )
    place: str = Field(
        default="",
        description="Name of a scratch bucket or database to restore into; it is made, or emptied first. Empty: none.",
    )
    in_place_confirmation: str = Field(
        default="",
        description="To replace what is live, type the words that the plan names. Ingestion must not run.",
    )


def restore_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """A job a store."""
    return [_restore_job(settings, store) for store in Store]


def _restore_job(settings: Settings, store: Store) -> dg.JobDefinition:
    @dg.op(name=f"restore_{store}_backup", description=f"Bring {store} back from a backup. Dry by default.")
    def restore(context: dg.OpExecutionContext, config: RestoreConfig) -> dg.Output[None]:
        if config.place and config.in_place_confirmation:
            raise dg.Failure("Choose one: a scratch place, or in place.", allow_retries=False)
        with _told():
            wanted = Wanted(
                store,
                config.backup_id,
                _moment(config.at),
                Selection(config.table, config.partition, config.prefix),
            )
            holder = f"run {context.run_id}"
            plan = restoring.plan(settings, wanted, in_place=not config.place)
            context.log.info("%s", "\n".join(plan.steps))
            done: Restored | None = None
            if config.place:
                done = restoring.into_scratch(settings, wanted, config.place, holder, context.log)
            elif config.in_place_confirmation:
                done = restoring.in_place(settings, wanted, config.in_place_confirmation, holder, context.log)
        return dg.Output(None, metadata=_metadata(settings, store, plan, done))

    @dg.job(
        name=f"restore_{store}",
        description=f"Bring {store} back from a backup: as configured by default, the run shows what it would do. Into "
        "a scratch place, or in place of what is live: then ingestion must not run. Afterwards: wotr restore reconcile.",
        tags=NEVER_AGAIN,
    )
    def job() -> None:
        restore()

    return job


def drill_job(settings: Settings) -> dg.JobDefinition:
    """The weekly drill: the newest backup of each store, whole; one that fails does not hold up the others."""

    def drill_of(store: Store) -> dg.OpDefinition:
        @dg.op(
            name=f"drill_{store}",
            description=f"Restore the newest backup of {store} whole into a scratch place, read it, compare.",
        )
        def drill(context: dg.OpExecutionContext) -> Iterator[dg.AssetObservation | dg.Output[None]]:
            with _told():
                taken = drill_newest(
                    settings, target_of(settings, store), f"run {context.run_id}", context.log
                )
            result = check_result(settings, taken)
            yield dg.AssetObservation(asset_name(store), metadata=backup_metadata(settings, taken))
            tell_of_drill(settings, taken, context.run_id)
            if not result.passed:
                raise dg.Failure(result.description, allow_retries=False)
            context.log.info("%s", result.description)
            yield dg.Output(None)

        return drill

    @dg.job(
        name=DRILL_JOB,
        description="Restore the newest backup of each store whole into scratch places, read every byte and column, and "
        "compare with the manifests. What it finds is in the register: the admin page, metrics and alerts see it.",
        tags=NEVER_AGAIN,
    )
    def job() -> None:
        for store in Store:
            drill_of(store)()

    return job


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise dg.Failure(
            f"at: {text!r} is no moment; write it as 2026-11-25T08:00, in UTC.", allow_retries=False
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _metadata(
    settings: Settings, store: Store, plan: Plan, done: Restored | None
) -> dict[str, dg.MetadataValue]:
    told: dict[str, dg.MetadataValue] = {
        "backup": dg.MetadataValue.text(plan.manifest.backup_id),
        "state of": dg.MetadataValue.text(f"{plan.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC"),
        "plan": dg.MetadataValue.md("\n".join(f"- {step}" for step in plan.steps)),
        "what to do": dg.MetadataValue.url(settings.runbook("runbook/restore.md")),
    }
    if done is None:
        words = confirmation(settings, store)
        told["to do it"] = dg.MetadataValue.text(
            f'Nothing was restored. Give a place, or set in_place_confirmation to "{words}".'
        )
        return told
    return told | {
        "restored into": dg.MetadataValue.text(done.place),
        "items": dg.MetadataValue.int(done.items),
        "bytes": dg.MetadataValue.int(done.bytes),
        "notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in done.notes) or "none"),
    }
