"""The job ``maintenance_window``: the Sunday window as a chain of visible steps.

Order: asked first, then paused, then the work that changes no content, then what deletes (and only what a verified
backup has), then one event on the whole way, then the pipeline goes on and is watched. A step that fails ends the mode
and the chain: what comes after it would build on what is not there. Each step may be killed and done again.

Belongs here: config, order, metadata, errors as Dagster wants them. Does not belong here: any step's work.
Concept: https://docs.dagster.io/guides/build/ops
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from wotr_pipeline.checks.presentation import moment, table
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.maintenance import before, merging, quiet
from wotr_pipeline.operations.maintenance.dagster_history import old_runs
from wotr_pipeline.operations.maintenance.log_files import log_rotation
from wotr_pipeline.operations.maintenance.retention import (
    Removed,
    Verified,
    old_backups,
    retention,
)
from wotr_pipeline.operations.maintenance.smoke import smoke_test
from wotr_pipeline.operations.maintenance.watching import watch
from wotr_pipeline.operations.maintenance.window import Report, Window, open_window
from wotr_pipeline.stores.errors import StoreError

MAINTENANCE_JOB = "maintenance_window"
RESOURCE = "window"
STEP_NAMES = (
    "pre_checks",
    "announce_begin",
    "mode_on",
    "vacuum_postgres",
    "optimize_clickhouse",
    "retention",
    "log_rotation",
    "smoke_test",
    "mode_off",
    "watch",
    "announce_end",
)
NEVER_AGAIN = {"dagster/max_retries": "0"}
WHEN_DONE = "Events wait in Kafka and are loaded afterwards; nothing is lost."

NOT_ASKED = Report(("Not asked for.",))

Told = Callable[[str], None]


class Nothing(dg.Config):
    """A step that needs no settings."""


class PreChecks(dg.Config):
    """What the window needs before it begins."""

    backup_hours: float = Field(
        default=24, gt=0, description="How old the newest verified backup of a store may be."
    )


class ModeOn(dg.Config):
    """Waiting for quiet."""

    wait_minutes: float = Field(default=15, ge=0, description="How long runs under way may take to end.")


class Optimize(dg.Config):
    """Which partitions are worth it."""

    more_parts_than: int = Field(
        default=10, ge=1, description="Partitions with more active parts are merged."
    )
    largest_bytes: int = Field(
        default=10 * 1024**3,
        ge=1,
        description="Larger partitions are left to the engine: merging writes them anew.",
    )


class Watching(dg.Config):
    """How long and how often."""

    minutes: float = Field(
        default=-1, le=120, description="How long the pipeline is watched. -1: WOTR_WATCH_MINUTES."
    )
    every_seconds: float = Field(default=30, gt=0, description="How often it is measured.")


@dataclass(frozen=True)
class Step:
    """One op of the chain."""

    name: str
    description: str
    config: type[dg.Config]
    act: Callable[[Window, dg.OpExecutionContext, dg.Config], Report]
    in_time: bool = False
    """Whether it is left out once the window's time is over."""


def steps(settings: Settings, verified: Verified) -> tuple[Step, ...]:
    """The chain."""
    return (
        Step(
            "pre_checks",
            "Verified backups, health, late batches, disks, mutations: all asked, nothing changed.",
            PreChecks,
            lambda window, _, config: before.pre_checks(window, config.backup_hours),  # type: ignore[attr-defined]
        ),
        Step("announce_begin", "Tell #platform-team that it begins.", Nothing, _announce_begin),
        Step(
            "mode_on",
            "Pause planning, then wait until no run writes any more.",
            ModeOn,
            lambda window, _, config: quiet.mode_on(window, timedelta(minutes=config.wait_minutes)),  # type: ignore[attr-defined]
            in_time=True,
        ),
        Step(
            "vacuum_postgres",
            "VACUUM ANALYZE of the platform's tables, and how bloated they were.",
            Nothing,
            lambda window, _, __: merging.vacuum_postgres(window),
            in_time=True,
        ),
        Step(
            "optimize_clickhouse",
            "Merge partitions with many parts; parts, sizes, stuck mutations.",
            Optimize,
            lambda window, _, config: merging.optimize_clickhouse(
                window,
                config.more_parts_than,  # type: ignore[attr-defined]
                config.largest_bytes,  # type: ignore[attr-defined]
            ),
            in_time=True,
        ),
        Step(
            "retention",
            "Delete what is past its time: rows and raw objects only if a verified backup has them.",
            Nothing,
            lambda window, context, _: retention(window, verified, _others(window, context)),
            in_time=True,
        ),
        Step(
            "log_rotation",
            "Remove rotated log files and compute logs past their time. Never data.",
            Nothing,
            lambda window, context, _: log_rotation(window, context.instance.has_run),
            in_time=True,
        ),
        Step(
            "smoke_test",
            "Send one event the whole way and find it in the table once.",
            Nothing,
            lambda window, context, _: smoke_test(window, context.instance),
            in_time=True,
        ),
        Step("mode_off", "Let the pipeline go on.", Nothing, _mode_off),
        Step(
            "watch",
            "Hold error share, lag and time to the table against the hour before.",
            Watching,
            lambda window, _, config: watch(
                window,
                config.minutes if config.minutes >= 0 else settings.wotr_watch_minutes,  # type: ignore[attr-defined]
                config.every_seconds,  # type: ignore[attr-defined]
            ),
        ),
        Step("announce_end", "Tell #platform-team how it went.", Nothing, _announce_end),
    )


def maintenance_job(
    settings: Settings, verified: Verified, *, told: Told = lambda _: None
) -> dg.JobDefinition:
    """The job. ``verified``: what backups hold, and may go. ``told``: gets each line."""

    @dg.resource(
        description="The window: its lease, its end, its mode. Whatever ends the run ends the mode.",
        config_schema={
            "dry_run": dg.Field(
                bool, default_value=True, description="Only show the plan of every step. False: do it."
            ),
            "until": dg.Field(
                str,
                default_value="",
                description="No work begins after that, ISO 8601, UTC without a zone. Empty: two hours from now.",
            ),
            "only": dg.Field(
                [str],
                default_value=[],
                description=f"Only these steps, of: {', '.join(STEP_NAMES)}. Empty: all.",
            ),
        },
    )
    def window_resource(context: dg.InitResourceContext) -> Iterator["Visit"]:
        config = context.resource_config
        unknown = set(config["only"]) - set(STEP_NAMES)
        if unknown:
            raise dg.Failure(f"There is no step {', '.join(sorted(unknown))}.", allow_retries=False)
        run_id = context.run_id or "without a run"
        with open_window(
            settings, run_id, dry_run=config["dry_run"], until=_moment(config["until"])
        ) as window:
            yield Visit(window, tuple(config["only"]), told)

    @dg.job(
        name=MAINTENANCE_JOB,
        description="The Sunday maintenance window, 02:00 to 04:00 UTC. Launched by hand it is dry: each step shows what "
        "it would do; set resources → window → dry_run to false to do it. A failed step ends maintenance mode.",
        tags=NEVER_AGAIN,
        executor_def=dg.in_process_executor,
        resource_defs={RESOURCE: window_resource},
    )
    def job() -> None:
        previous = None
        for op in [_op(step) for step in steps(settings, verified)]:
            previous = op(previous) if previous is not None else op()

    return job


def execute(
    settings: Settings,
    instance: dg.DagsterInstance,
    verified: Verified,
    *,
    dry_run: bool,
    until: datetime,
    only: Sequence[str] = (),
    told: Told = lambda _: None,
    ops: Mapping[str, Mapping[str, object]] | None = None,
) -> str:
    """Run the window in this process, in Dagster's sight; returns what went wrong, or ''. ``ops``: configs by step."""
    config = {"dry_run": dry_run, "until": until.isoformat(), "only": list(only)}
    result = maintenance_job(settings, verified, told=told).execute_in_process(
        instance=instance,
        run_config={
            "resources": {RESOURCE: {"config": config}},
            "ops": {name: {"config": dict(values)} for name, values in (ops or {}).items()},
            "loggers": {"console": {"config": {"log_level": "ERROR"}}},
        },
        raise_on_error=False,
    )
    if result.success:
        return ""
    for event in result.all_events:
        data = event.event_specific_data
        if event.is_step_failure:
            failed = event.step_failure_data
            text = failed.user_failure_data.description if failed.user_failure_data else None
            return f"The step {event.step_key} failed: {text or (failed.error and failed.error.message)}"
        if event.is_resource_init_failure or event.is_failure:
            error = getattr(data, "error", None)
            while error is not None:
                if error.cause is None:
                    return str(error.message).strip()
                error = error.cause
    return f"Run {result.run_id} failed: see Dagster."


@dataclass(frozen=True)
class Visit:
    """The window as the steps of one run see it."""

    window: Window
    only: tuple[str, ...]
    told: Told


def _op(step: Step) -> dg.OpDefinition:
    first = step.name == STEP_NAMES[0]

    @dg.op(
        name=step.name,
        description=step.description,
        config_schema=step.config.to_fields_dict(),
        required_resource_keys={RESOURCE},
        ins={} if first else {"after": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
    )
    def op(context: dg.OpExecutionContext) -> dg.Output[None]:
        visit: Visit = getattr(context.resources, RESOURCE)
        window = visit.window
        window.step = step.name
        window.log = context.log
        try:
            report = _act(step, visit, context)
        except Exception as error:
            problem = str(error) if isinstance(error, StoreError) else f"{type(error).__name__}, see the run."
            window.fail(problem)
            if isinstance(error, StoreError):
                raise dg.Failure(problem, allow_retries=False) from error
            raise
        for line in report.lines:
            visit.told(f"{step.name}: {line}")
            context.log.info("%s", line)
        if report is not NOT_ASKED:
            window.outcomes.append(report.lines[0])
        metadata = _metadata(report)
        if report.problem and not window.dry_run:
            window.fail(report.problem)
            raise dg.Failure(report.problem, metadata=metadata, allow_retries=False)
        return dg.Output(None, metadata=metadata)

    return op


def _act(step: Step, visit: Visit, context: dg.OpExecutionContext) -> Report:
    window = visit.window
    if visit.only and step.name not in visit.only:
        return NOT_ASKED
    if not window.go_on() and step.in_time and not window.dry_run:
        return Report((f"Left out: the window's time was over at {moment(window.until)}.",))
    return step.act(window, context, step.config(**(context.op_config or {})))


def _metadata(report: Report) -> dict[str, dg.MetadataValue]:
    told: dict[str, dg.MetadataValue] = {
        "report": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.lines)),
    }
    for name, number in report.numbers.items():
        told[name] = (
            dg.MetadataValue.int(number) if isinstance(number, int) else dg.MetadataValue.float(number)
        )
    return told | {name: table(lines) for name, lines in report.tables.items()}


def _others(window: Window, context: dg.OpExecutionContext) -> Iterator[Removed]:
    yield from old_backups(window)
    yield old_runs(window, context.instance)


def _announce_begin(window: Window, _: dg.OpExecutionContext, __: dg.Config) -> Report:
    if window.dry_run:
        return Report(("Would tell Slack that it begins.",))
    window.tell("maintenance_begun", ends=moment(window.until), effect=WHEN_DONE)
    return Report((f"Begun; it ends at {moment(window.until)} at the latest.",))


def _mode_off(window: Window, _: dg.OpExecutionContext, __: dg.Config) -> Report:
    report = quiet.mode_off(window)
    window.mode_ended = datetime.now(UTC)
    return report


def _announce_end(window: Window, _: dg.OpExecutionContext, __: dg.Config) -> Report:
    if window.dry_run:
        return Report(("Would tell Slack how it went.",))
    took = datetime.now(UTC) - window.begun
    window.tell(
        "maintenance_ended",
        took=f"{took.total_seconds() / 60:.0f} minutes",
        outcome=" ".join(window.outcomes),
    )
    return Report((f"Done in {took.total_seconds() / 60:.1f} minutes.",))


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise dg.Failure("until must be ISO 8601, such as 2026-11-29T04:00.", allow_retries=False) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
