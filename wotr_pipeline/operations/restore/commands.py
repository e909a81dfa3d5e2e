"""``wotr restore`` and ``wotr backup``: backups from a terminal, also when Dagster is what is being restored.

Belongs here: options, and what is printed. Does not belong here: the work (``backups/``, the modules beside this one).
Exit codes as in ``cli.py``; 1 also when a drill or a reconciliation found something.
"""

import getpass
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from wotr_pipeline.config import Settings, load_settings

STORES = ("minio", "postgres", "clickhouse")
RESTORE = click.Group()
BACKUP = click.Group()
"""The commands; ``cli.py`` has the groups that people see, and gives them the data directory."""


class Moment(click.ParamType[datetime]):
    """A moment in UTC: 2026-11-25, 2026-11-25T08:00."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment that the text says."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail("must be such as 2026-11-25T08:00, in UTC", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose a backup and a part of it."""
    for option in (
        click.option("--prefix", default="", help="Only objects whose keys begin so (minio)."),
        click.option("--partition", default="", help="Only this partition of the table (clickhouse)."),
        click.option("--table", default="", help="Only this table (postgres: ledger.public.NAME)."),
        click.option(
            "--backup", "backup_id", default="", help="This backup, as `wotr restore list` names it."
        ),
        click.option("--at", type=Moment(), help="The newest verified one of this time or before, UTC."),
        click.argument("store", type=click.Choice(STORES)),
    ):
        command = option(command)
    return command


@RESTORE.command("list")
@click.argument("store", type=click.Choice(STORES), required=False)
@click.pass_obj
def list_backups(data_dir: Path, store: str | None) -> None:
    """List the backups there are, newest last, and whether they were restored."""
    from wotr_pipeline.backups.manifest import Store
    from wotr_pipeline.backups.repository import Repository

    repository = Repository(_settings(data_dir))
    repository.prepare()
    click.echo(
        f"{'backup':<34} {'state of (UTC)':<20} {'items':>12} {'new bytes':>15}  {'builds upon':<34} verified"
    )
    for each in (Store(store),) if store else Store:
        manifests, problems = repository.manifests(each)
        for manifest in manifests:
            seen = repository.verification(each, manifest.backup_id)
            verified = (
                "never"
                if seen is None
                else f"NO: {seen.problem}"
                if seen.problem
                else f"{seen.at:%Y-%m-%d %H:%M}, restored in {seen.restore_seconds:,.1f} s"
            )
            click.echo(
                f"{manifest.backup_id:<34} {manifest.taken_at:%Y-%m-%d %H:%M:%S}  {manifest.items:>12,} "
                f"{manifest.bytes:>15,}  {manifest.base_id or '-':<34} {verified}"
            )
        for problem in problems:
            click.echo(f"! {problem}")
        if not manifests:
            click.echo(f"{each}: none. Take one: wotr backup take {each}")


@RESTORE.command()
@choosing
@click.option("--in-place", is_flag=True, help="Plan to replace what is live.")
@click.pass_obj
def plan(data_dir: Path, /, store: str, in_place: bool, **chosen: Any) -> None:
    """Say what a restore would do; nothing is changed."""
    from wotr_pipeline.operations.restore import restoring
    from wotr_pipeline.operations.restore.guard import confirmation

    settings = _settings(data_dir)
    wanted = _wanted(store, **chosen)
    found = restoring.plan(settings, wanted, in_place=in_place)
    click.echo(f"{found.manifest.backup_id}, the state of {found.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC:")
    for step in found.steps:
        click.echo(f"- {step}")
    if found.verification is None or found.verification.problem:
        click.echo("! No drill has restored this backup: it may not hold what it should.")
    how = f' --in-place --confirm "{confirmation(settings, wanted.store)}"' if in_place else ""
    click.echo(f"To do it: wotr restore run {store} --backup {found.manifest.backup_id}{how}")


@RESTORE.command()
@choosing
@click.option("--into", default="", help="Name of the scratch bucket or database; one is made up without it.")
@click.option("--in-place", is_flag=True, help="Replace what is live. Ingestion must not run.")
@click.option("--confirm", default="", help="With --in-place: the words that the plan names.")
@click.pass_obj
def run(data_dir: Path, /, store: str, into: str, in_place: bool, confirm: str, **chosen: Any) -> None:
    """Restore: into a scratch place, which stays until you remove it, or in place."""
    from wotr_pipeline.operations.restore import restoring

    if into and in_place:
        raise click.UsageError("--into and --in-place exclude each other.")
    settings = _settings(data_dir)
    wanted = _wanted(store, **chosen)
    if in_place:
        done = restoring.in_place(settings, wanted, confirm, _holder(), _log())
    else:
        place = into or f"wotr-restored-{store}-{datetime.now(UTC):%Y%m%dt%H%M%S}"
        done = restoring.into_scratch(settings, wanted, place, _holder(), _log())
    click.echo(f"Restored into {done.place}: {done.items:,} items, {done.bytes:,} bytes.")
    for note in done.notes:
        click.echo(f"- {note}")


@RESTORE.command()
@click.argument("store", type=click.Choice(STORES), required=False)
@click.pass_context
def drill(ctx: click.Context, store: str | None) -> None:
    """Restore the newest backup into a scratch place, read it whole, compare; the scratch place goes."""
    from wotr_pipeline.backups.manifest import Store
    from wotr_pipeline.backups.taking import drill_newest
    from wotr_pipeline.backups.targets import target_of

    settings, bad = _settings(ctx.obj), False
    for each in (Store(store),) if store else Store:
        taken = drill_newest(settings, target_of(settings, each), _holder(), _log())
        found = taken.verification
        bad = bad or bool(found.problem)
        told = (
            f"does NOT count: {found.problem}"
            if found.problem
            else f"restored in {found.restore_seconds:,.1f} s"
        )
        click.echo(f"{taken.manifest.backup_id}: {told}, {found.items:,} items")
    ctx.exit(1 if bad else 0)


@RESTORE.command("platform")
@click.option("--at", type=Moment(), help="The state of this time or before, UTC. Without it: the newest.")
@click.option(
    "--confirm", default="", help="The words that the plan names. Without them, only the plan is shown."
)
@click.pass_context
def platform_(ctx: click.Context, at: datetime | None, confirm: str) -> None:
    """Restore all three stores in place, onto an empty machine or over what is there, and reconcile them."""
    from wotr_pipeline.operations.restore.platform import points, rebuild

    settings = _settings(ctx.obj)
    words = f"replace everything of {settings.postgres_db}"
    if confirm != words:
        for store, manifest in points(settings, at).items():
            click.echo(
                f"{store}: {manifest.backup_id}, the state of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC, "
                f"{manifest.items:,} items"
            )
        click.echo(f'Nothing was restored. To do it: wotr restore platform --confirm "{words}"')
        ctx.exit(1 if confirm else 0)
    done = rebuild(settings, at, _holder(), _log())
    for store, restored in done.restored.items():
        click.echo(f"{store}: {restored.items:,} items, {restored.bytes:,} bytes.")
        for note in restored.notes:
            click.echo(f"- {note}")
    click.echo("\n".join(done.reconciled.lines()))
    ctx.exit(0 if done.reconciled.complete else 1)


@RESTORE.command()
@click.option("--apply", "applied", is_flag=True, help="Do it. Without it, nothing is changed.")
@click.pass_context
def reconcile(ctx: click.Context, applied: bool) -> None:
    """Make ledger, bucket, table and Kafka agree after a restore."""
    from wotr_pipeline.operations.restore.reconciliation import reconcile as reconciled

    done = reconciled(_settings(ctx.obj), _holder(), _log(), apply=applied)
    click.echo("\n".join(done.lines()))
    ctx.exit(0 if done.complete else 1)


@BACKUP.command()
@click.argument("store", type=click.Choice(STORES))
@click.pass_context
def take(ctx: click.Context, store: str) -> None:
    """Take a backup now, and restore it into a scratch place. The assets do the same on their schedules."""
    from wotr_pipeline.backups.manifest import Store
    from wotr_pipeline.backups.taking import take_backup
    from wotr_pipeline.backups.targets import target_of

    settings = _settings(ctx.obj)
    taken = take_backup(settings, target_of(settings, Store(store)), _holder(), _log())
    found = taken.verification
    click.echo(
        f"{taken.manifest.backup_id}: {taken.manifest.items:,} items, {taken.manifest.bytes:,} new bytes."
    )
    click.echo(f"It does NOT count: {found.problem}" if found.problem else "It was restored, and counts.")
    ctx.exit(1 if found.problem else 0)


BACKUP.add_command(list_backups, "list")


@BACKUP.command()
@click.argument("store", type=click.Choice(STORES), required=False)
@click.option("--apply", "applied", is_flag=True, help="Remove them. Without it, nothing is changed.")
@click.pass_obj
def retention(data_dir: Path, store: str | None, applied: bool) -> None:
    """Say which backups are kept and why, and which go."""
    from wotr_pipeline.backups.manifest import Store
    from wotr_pipeline.backups.retention import retain

    settings = _settings(data_dir)
    for each in (Store(store),) if store else Store:
        done = retain(settings, each, _holder(), _log(), apply=applied)
        for backup_id, reasons in done.choice.kept.items():
            click.echo(f"{backup_id:<34} stays: {', '.join(reasons)}")
        for backup_id in done.choice.gone:
            click.echo(f"{backup_id:<34} {'is removed' if applied else 'goes'}")
        if done.contents:
            verb = "were removed" if applied else "would go"
            click.echo(
                f"{done.contents:,} contents ({done.bytes:,} bytes) that no backup names any more {verb}."
            )
        for problem in done.problems:
            click.echo(f"! {problem}")
    if not applied:
        click.echo("Nothing was removed; --apply does it.")


def _settings(data_dir: Path) -> Settings:
    return load_settings(wotr_data_dir=data_dir)


def _wanted(store: str, at: datetime | None, backup_id: str, table: str, partition: str, prefix: str) -> Any:
    from wotr_pipeline.backups.manifest import Store
    from wotr_pipeline.backups.target import Selection
    from wotr_pipeline.operations.restore.restoring import Wanted

    if at and backup_id:
        raise click.UsageError("--at and --backup exclude each other.")
    return Wanted(Store(store), backup_id, at, Selection(table, partition, prefix))


def _holder() -> str:
    return f"{getpass.getuser()}, process {os.getpid()}"


def _log() -> logging.Logger:
    """Progress goes to standard error; what was found, to standard output."""
    log = logging.getLogger("wotr.backup")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    return log
