"""``wotr maintenance``: the mode, the window and its steps from a terminal.

Belongs here: options, and what is printed. Does not belong here: obeying the mode (``automation/``), the page
(``gateway/maintenance.py``), the window's work (the modules beside this one).
"""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from dotenv import dotenv_values

from wotr_pipeline.config import ENVIRONMENT_FILE, load_settings
from wotr_pipeline.operations.gateway_keys import Span
from wotr_pipeline.stores.operations_log import OperationsLog


@contextmanager
def _log_of(data_dir: Path) -> Iterator[OperationsLog]:
    log = OperationsLog(load_settings(wotr_data_dir=data_dir))
    try:
        yield log
    finally:
        log.close()


@click.group()
def maintenance() -> None:
    """The Sunday window, its steps, and the mode in which the sensors plan nothing and start no run."""


@maintenance.command()
@click.option("--why", required=True, help="Your reason; everyone sees it.")
@click.option("--for", "span", type=Span(), default="2h", show_default=True, help="How long it will take.")
@click.pass_obj
def on(data_dir: Path, why: str, span: timedelta) -> None:
    """Begin maintenance."""
    who, until = getpass.getuser(), datetime.now(UTC) + span
    with _log_of(data_dir) as log:
        log.note(who, "begin maintenance", f"until {until:%Y-%m-%d %H:%M} UTC", why)
        log.turn_maintenance(True, who, why, until)
    click.echo('Maintenance is on. It ends only when someone ends it: wotr maintenance off --why "…"')


@maintenance.command()
@click.option("--why", required=True, help="How it went; kept.")
@click.pass_obj
def off(data_dir: Path, why: str) -> None:
    """End maintenance; the sensors plan again with their next tick."""
    who = getpass.getuser()
    with _log_of(data_dir) as log:
        log.note(who, "end maintenance", "", why)
        log.turn_maintenance(False, who, why)
    click.echo("Maintenance is off.")


@maintenance.command()
@click.pass_obj
def status(data_dir: Path) -> None:
    """Say whether it is on, since when, by whom and why."""
    with _log_of(data_dir) as log:
        mode = log.maintenance()
    if mode is None or not mode.enabled:
        click.echo("Maintenance is off.")
        return
    until = f", expected to end {mode.until:%Y-%m-%d %H:%M} UTC" if mode.until else ""
    click.echo(f"Maintenance is on since {mode.at:%Y-%m-%d %H:%M} UTC by {mode.who}{until}: {mode.why}")


@maintenance.command()
@click.option("--dry-run/--apply", default=True, help="Only print the plan (the default), or do it.")
@click.option(
    "--for", "span", type=Span(), default="2h", show_default=True, help="No work begins after that."
)
@click.pass_context
def run(ctx: click.Context, dry_run: bool, span: timedelta) -> None:
    """The whole window, now: every step, as the schedule runs it on Sundays."""
    ctx.exit(0 if _execute(ctx.obj, dry_run=dry_run, span=span, only=()) else 1)


@maintenance.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--apply", is_flag=True, help="Do it; without, only say what it would do.")
@click.pass_context
def step(ctx: click.Context, names: tuple[str, ...], apply: bool) -> None:
    """Some steps of the window alone; `wotr maintenance steps` names them."""
    ctx.exit(0 if _execute(ctx.obj, dry_run=not apply, span=timedelta(hours=2), only=names) else 1)


@maintenance.command()
def steps() -> None:
    """Name the steps of the window, in their order."""
    from wotr_pipeline.operations.maintenance.job import STEP_NAMES

    click.echo("\n".join(STEP_NAMES))


def _execute(data_dir: Path, *, dry_run: bool, span: timedelta, only: tuple[str, ...]) -> bool:
    from wotr_pipeline.backups.verified import VerifiedBackups
    from wotr_pipeline.operations.maintenance.job import STEP_NAMES, execute
    from wotr_pipeline.operations.run_etl import instance_of

    unknown = set(only) - set(STEP_NAMES)
    if unknown:
        raise click.UsageError(f"No step {', '.join(sorted(unknown))}. There are: {', '.join(STEP_NAMES)}.")
    settings = load_settings(wotr_data_dir=data_dir)
    values = dotenv_values(data_dir / ENVIRONMENT_FILE, interpolate=False)
    with instance_of({name: value or "" for name, value in values.items()}) as instance:
        problem = execute(
            settings,
            instance,
            VerifiedBackups(settings),
            dry_run=dry_run,
            until=datetime.now(UTC) + span,
            only=only,
            told=click.echo,
        )
    if problem:
        click.echo(problem, err=True)
    elif dry_run:
        click.echo("Nothing was changed. To do it: --apply")
    return not problem
