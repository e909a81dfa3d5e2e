"""``wotr maintenance``: the mode from a terminal, for when the gateway is what is being worked on.

Belongs here: options, and what is printed. Does not belong here: obeying the mode (``automation/``), the page
(``gateway/maintenance.py``).
"""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from wotr_pipeline.config import load_settings
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
    """Maintenance mode: while it is on, the sensors plan nothing and start no run."""


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
