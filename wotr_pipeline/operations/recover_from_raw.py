"""``wotr recover``: a recovery from raw objects, for someone at a terminal.

Belongs here: options and what is printed. Does not belong here: the recovery (``recovery.py``), or the
job that does the same in the UI (``recovery_job.py``).
"""

import logging
import uuid
from datetime import UTC, datetime

import click

from wotr_pipeline.config import load_settings
from wotr_pipeline.stores.ledger import Ledger

HOUR_FORMATS = ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d-%H:%M")


class Hour(click.ParamType[datetime]):
    """An hour, UTC, as ``2026-11-23T08:00`` or as the key of its partition."""

    name = "hour"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            return value if isinstance(value, datetime) else hour_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def hour_of(text: str) -> datetime:
    """The hour that ``text`` names. Raises ValueError with what is allowed."""
    for pattern in HOUR_FORMATS:
        try:
            hour = datetime.strptime(text.removesuffix("Z"), pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
        if not hour.minute:
            return hour
    raise ValueError(f"{text!r} is no full hour; write it in UTC, as 2026-11-23T08:00")


@click.command()
@click.option("--from", "first", type=Hour(), help="First arrival hour, UTC: 2026-11-23T08:00.")
@click.option("--to", "last", type=Hour(), help="Last arrival hour, included.")
@click.option("--all", "everything", is_flag=True, help="Every hour that there is.")
@click.option("--apply", "applied", is_flag=True, help="Do it. Without it, nothing is changed.")
@click.pass_context
def recover(
    ctx: click.Context, first: datetime | None, last: datetime | None, everything: bool, applied: bool
) -> None:
    """Rebuild ClickHouse from the raw objects; shows what it would do unless --apply is given.

    Exit code 1 when something cannot be rebuilt: it is named, the rest is done. Safe to repeat, and
    beside ingestion.
    """
    # Imported here: the command line stays quick for every other command.
    from wotr_pipeline.operations.recovery import Hours, Recovery, Stores
    from wotr_pipeline.operations.recovery_report import HEADINGS
    from wotr_pipeline.stores.objects import ObjectStore
    from wotr_pipeline.stores.warehouse import Warehouse

    if everything == (first is not None and last is not None) or (everything and (first or last)):
        raise click.UsageError("Name the hours with --from and --to, or take --all.")
    hours = Hours(first, last) if first and last else None
    if hours and hours.first > hours.last:
        raise click.UsageError("--from lies after --to.")
    settings = load_settings(wotr_data_dir=ctx.obj)
    warehouse = Warehouse(settings)
    with Ledger(settings) as ledger:
        stores = Stores(settings, ledger, ObjectStore(settings), warehouse)
        run_id = f"recover-{uuid.uuid4().hex[:8]}"
        recovery = Recovery(stores, hours, run_id, logging.getLogger(__name__))
        click.echo(HEADINGS)
        for report in recovery.apply() if applied else recovery.survey():
            if not report.quiet:
                click.echo(report.line())
    warehouse.close()
    click.echo("\n".join(recovery.result.lines()))
    ctx.exit(0 if recovery.result.complete else 1)
