"""The work on dead letters as Dagster jobs, for people who stay in the UI: repair, retry, judge again.

All are dry by default: a first launch shows what would happen, a second one with ``dry_run: false`` does it. They are
never retried by themselves; launching one again is safe.

Belongs here: op configs, and what a run shows. Does not belong here: the work (the modules beside this one).
"""

from collections.abc import Callable, Iterable
from datetime import datetime

import dagster as dg
from pydantic import Field

from wotr_pipeline.config import Settings
from wotr_pipeline.events.refusals import RepairError
from wotr_pipeline.events.repair import Patch, Repair, Transformation
from wotr_pipeline.events.transformations import TRANSFORMATIONS
from wotr_pipeline.operations.dead_letters import presentation
from wotr_pipeline.operations.dead_letters.repairing import Repairs
from wotr_pipeline.operations.dead_letters.retrying import Retry
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.objects import ObjectStore

NEVER_TWICE = {"dagster/max_retries": "0"}


class LetterChoice(dg.Config):
    """Which dead letters. All conditions must hold; an empty one holds for every letter."""

    names: list[str] = Field(default=[], description="Names of letters, topic:partition:offset.")
    reasons: list[str] = Field(default=[], description="Reason codes, such as wrong_type.")
    fields_: list[str] = Field(
        default=[], alias="fields", description="Fields that broke the contract, such as timestamp."
    )
    sources: list[str] = Field(default=[], description="Services that sent them.")
    event_types: list[str] = Field(default=[], description="Kinds of event.")
    versions: list[str] = Field(default=[], description="Schema versions.")
    since: str = Field(default="", description="Arrived then or later, ISO 8601, UTC without a zone.")
    until: str = Field(default="", description="Arrived before then, ISO 8601, UTC without a zone.")
    who: str = Field(default="", description="Who you are: kept in each letter's history, beside the run.")
    why: str = Field(default="", description="Your reason: kept in each letter's history. Needed to apply.")
    dry_run: bool = Field(default=True, description="Only show what would happen. False: do it.")


class RepairChoice(LetterChoice):
    """Which dead letters, and how they are repaired: by one of the two."""

    transformation: str = Field(
        default="",
        description=f"A named transformation: {', '.join(TRANSFORMATIONS)}. `wotr dlq transformations` explains them.",
    )
    json_patch: str = Field(
        default="", description="A JSON Patch (RFC 6902) as text, applied to each chosen message."
    )


class RetryChoice(LetterChoice):
    """Which dead letters are sent again."""

    force: bool = Field(
        default=False, description="Send those too that today's rules reject: they will come back."
    )


def dead_letter_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """``repair_dead_letters``, ``retry_dead_letters`` and ``rejudge_dead_letters``."""

    @dg.op(name="repair", description="Make a new version of each chosen letter that the rules then accept.")
    def repair(
        context: dg.OpExecutionContext, config: RepairChoice, objects: dg.ResourceParam[ObjectStore]
    ) -> None:
        how = _repair(config)
        with DeadLetterRegister(settings) as register:
            done = Repairs(register, objects, _who(context, config)).run(
                _wanted(config), how, _why(config), apply=not config.dry_run
            )
        _show(context, presentation.repair_lines(done), passing=done.passing, kept=done.kept)

    @dg.op(name="retry", description="Send the chosen letters that today's rules accept through Kafka again.")
    def retry(
        context: dg.OpExecutionContext, config: RetryChoice, objects: dg.ResourceParam[ObjectStore]
    ) -> None:
        with DeadLetterRegister(settings) as register:
            work = Retry(settings, register, objects, _who(context, config), context.log)
            if config.dry_run:
                done = work.preview(_wanted(config), force=config.force)
            else:
                done = work.run(_wanted(config), _why(config), force=config.force)
        _show(context, presentation.retry_lines(done), passing=done.passing, sent=done.sent)
        if done.stopped:
            raise dg.Failure(done.stopped, allow_retries=False)

    @dg.op(name="rejudge", description="Judge the open letters by today's rules. Nothing is changed.")
    def rejudge(
        context: dg.OpExecutionContext, config: LetterChoice, objects: dg.ResourceParam[ObjectStore]
    ) -> None:
        with DeadLetterRegister(settings) as register:
            done = Repairs(register, objects, _who(context, config)).rejudge(_wanted(config))
        _show(context, presentation.rejudge_lines(done), passing=done.passing, chosen=done.chosen)

    return [
        _job(
            "repair_dead_letters",
            repair,
            "Repair a class of dead letters: a new version beside each. Dry first.",
        ),
        _job(
            "retry_dead_letters", retry, "Send repaired dead letters through the normal way again. Dry first."
        ),
        _job(
            "rejudge_dead_letters", rejudge, "After a change of rules: how many open dead letters pass now."
        ),
    ]


def _job(name: str, op: Callable[..., None], description: str) -> dg.JobDefinition:
    @dg.job(name=name, description=description, tags=NEVER_TWICE, executor_def=dg.in_process_executor)
    def job() -> None:
        op()

    return job


def _wanted(config: LetterChoice) -> LetterFilter:
    return LetterFilter(
        names=tuple(config.names),
        states=(LetterState.NEW, LetterState.QUARANTINED),
        reasons=tuple(config.reasons),
        fields=tuple(config.fields_),
        sources=tuple(config.sources),
        event_types=tuple(config.event_types),
        versions=tuple(config.versions),
        since=_moment(config.since),
        until=_moment(config.until),
    )


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise dg.Failure(
            "since and until must be ISO 8601, such as 2026-11-23T08:00.", allow_retries=False
        ) from None
    return moment if moment.tzinfo else datetime.fromisoformat(f"{text}+00:00")


def _repair(config: RepairChoice) -> Repair:
    if bool(config.transformation) == bool(config.json_patch):
        raise dg.Failure("Give one of transformation and json_patch.", allow_retries=False)
    try:
        return Transformation(config.transformation) if config.transformation else Patch(config.json_patch)
    except RepairError as error:
        raise dg.Failure(f"The repair cannot be used: {error}", allow_retries=False) from None


def _who(context: dg.OpExecutionContext, config: LetterChoice) -> str:
    return f"{config.who} (run {context.run_id})" if config.who else f"run {context.run_id}"


def _why(config: LetterChoice) -> str:
    if not config.dry_run and not config.why:
        raise dg.Failure("Say why: it is kept in the history of each letter.", allow_retries=False)
    return config.why


def _show(context: dg.OpExecutionContext, lines: Iterable[str], **numbers: int) -> None:
    told = list(lines)
    for line in told:
        context.log.info("%s", line)
    metadata: dict[str, int | dg.MetadataValue] = {
        **numbers,
        "report": dg.MetadataValue.md("\n\n".join(told)),
    }
    context.add_output_metadata(metadata)
