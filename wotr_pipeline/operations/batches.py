"""``wotr batches`` and ``wotr reopen``: the ledger for someone who has to act.

Belongs here: listing batches and opening finished ones again, for the command line.
Does not belong here: what reopening means (``stores/ledger.py``) or running anything.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from wotr_pipeline.config import load_settings
from wotr_pipeline.stores.batch import Batch, BatchState
from wotr_pipeline.stores.ledger import Ledger

LINE = "{:<48} {:<11} {:>4} {:>9} {:>9} {:>8} {:>9} {:>8}  {}"
HEADINGS = ("batch", "state", "gen", "records", "valid", "rejected", "duplicate", "attempts", "last error")


@click.command()
@click.option("--unfinished", is_flag=True, help="Only batches that a run still has to finish.")
@click.option("--state", type=click.Choice([state.value for state in BatchState]), help="Only this state.")
@click.option("--hours", type=click.IntRange(1), default=24, show_default=True, help="How far to look back.")
@click.pass_obj
def batches(data_dir: Path, unfinished: bool, state: str | None, hours: int) -> None:
    """List batches of the last hours by arrival (unfinished and quarantined ones of any age)."""
    settings = load_settings(wotr_data_dir=data_dir)
    now = datetime.now(UTC)
    with Ledger(settings) as ledger:
        if unfinished:
            found = ledger.unfinished(settings.kafka_topic)
        else:
            start = settings.wotr_first_hour if state == "QUARANTINED" else now - timedelta(hours=hours)
            found = ledger.batches_between(start, now + timedelta(hours=1))
    shown = [batch for batch in found if state is None or batch.state == state]
    click.echo("\n".join(_lines(shown)))


@click.command()
@click.argument("batch_ids", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why; kept in the ledger.")
@click.pass_obj
def reopen(data_dir: Path, batch_ids: tuple[str, ...], reason: str) -> None:
    """Open LOADED or QUARANTINED batches again; the sensor's next tick has them processed.

    The rows of a batch that was loaded stay until the new ones replace them in one step.
    """
    with Ledger(load_settings(wotr_data_dir=data_dir)) as ledger:
        reopened = ledger.reopen(batch_ids, reason)
    click.echo("\n".join(_lines(reopened)))


def _lines(found: Iterable[Batch]) -> list[str]:
    lines = [
        LINE.format(
            batch.batch_id,
            batch.state.value,
            batch.generation,
            *(
                "-" if count is None else count
                for count in (batch.records, batch.valid, batch.rejected, batch.duplicate)
            ),
            batch.attempts,
            batch.last_error or "",
        ).rstrip()
        for batch in found
    ]
    return [LINE.format(*HEADINGS), *lines] if lines else ["No such batch."]
