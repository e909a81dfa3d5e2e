"""``wotr dlq``: the desk at which a person works on dead letters.

Whatever changes something is dry until ``--apply``, says why (``--why``), and is kept in the letter's history.
Content is masked unless it is asked for, and who asks is kept too.

Belongs here: options, and what is printed. Does not belong here: the work (the modules beside this one).
Exit codes as in ``cli.py``; 1 also when something that was asked for could not be done.
"""

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from wotr_pipeline.events.masking import masked
from wotr_pipeline.events.reasons import Reason
from wotr_pipeline.events.refusals import RepairError
from wotr_pipeline.events.repair import AsIs, Patch, Repair, Replacement, Transformation
from wotr_pipeline.events.rules import judge
from wotr_pipeline.events.transformations import TRANSFORMATIONS, for_reason
from wotr_pipeline.operations.dead_letters import presentation
from wotr_pipeline.operations.dead_letters.desk import choosing, deciding, desk_of, wanted_of, why_of
from wotr_pipeline.operations.dead_letters.pruning import prune
from wotr_pipeline.operations.dead_letters.repairing import Repairs
from wotr_pipeline.operations.dead_letters.retrying import VERDICT_SECONDS, Retry
from wotr_pipeline.operations.dead_letters.triage import Triage
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_contents import LetterContents

CLOSED_DAYS = 90
LOG = logging.getLogger("wotr.dlq")
DLQ = click.Group()
"""The commands; ``cli.py`` has the group that people see, and gives it the data directory and who they are."""


@DLQ.command("list")
@choosing
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.pass_context
def list_letters(ctx: click.Context, /, limit: int, **chosen: Any) -> None:
    """List dead letters, oldest first; without --state only open ones."""
    wanted = wanted_of(chosen)
    if not wanted.states and not wanted.names:
        wanted = presentation.open_ones(wanted)
    with desk_of(ctx) as desk:
        click.echo("\n".join(presentation.letter_lines(desk.register.find(wanted, limit))))
        more = desk.register.count(wanted) - limit
    if more > 0:
        click.echo(f"… and {more:,} more: --limit, or narrow the choice")


@DLQ.command()
@click.pass_context
def stats(ctx: click.Context, /) -> None:
    """Open dead letters by reason, field, source and version, with what is offered for each."""
    with desk_of(ctx) as desk:
        click.echo("\n".join(presentation.stats_lines(desk.register, desk.settings)))


@DLQ.command()
@click.argument("name")
@click.option(
    "--unmask", is_flag=True, help="Show the content. It may be personal: who looks is written down."
)
@click.option("--why", help="Why you need to see it. Needed with --unmask.")
@click.pass_context
def show(ctx: click.Context, /, name: str, unmask: bool, why: str | None) -> None:
    """Show one dead letter: why it was rejected, its history, its retries, its content (masked)."""
    with desk_of(ctx) as desk:
        letter = desk.register.letter(name)
        click.echo("\n".join(presentation.letter_page(desk.register, letter)))
        content = LetterContents(desk.objects).content(letter)
        click.echo(presentation.verdict_line(judge(content.value)))
        if not unmask:
            click.echo(f"content, masked (version {letter.fix_version}):\n{masked(content.value)}")
            return
        if not why:
            raise click.UsageError('--unmask needs --why "…": who sees content, and why, is kept.')
        desk.register.note_access(desk.who, "show", why, [name])
        click.echo(f"content (version {letter.fix_version}):")
        click.echo((content.value or b"").decode("utf-8", "replace"))


@DLQ.command()
@choosing
@deciding
@click.option("--transform", type=click.Choice(sorted(TRANSFORMATIONS)), help="A named transformation.")
@click.option(
    "--patch", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A JSON Patch (RFC 6902)."
)
@click.option(
    "--payload",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The edited message, of one letter.",
)
@click.pass_context
def fix(
    ctx: click.Context,
    /,
    apply: bool,
    why: str | None,
    transform: str | None,
    patch: Path | None,
    payload: Path | None,
    **chosen: Any,
) -> None:
    """Repair dead letters: a new version beside each that the rules accept then. Dry unless --apply.

    Choose NEW and QUARANTINED ones by name or by --reason, --field, --source …, and one of --transform,
    --patch and --payload. Afterwards: wotr dlq retry.
    """
    given = [option for option in (transform, patch, payload) if option is not None]
    if len(given) != 1:
        raise click.UsageError("Give one of --transform, --patch and --payload.")
    if payload is not None and len(chosen["names"]) != 1:
        raise click.UsageError("--payload is the message of one letter: give its name.")
    why = why_of(apply, why)
    try:
        repair = _repair(transform, patch, payload)
    except RepairError as error:
        raise click.UsageError(f"The repair cannot be used: {error}") from None
    with desk_of(ctx) as desk:
        done = Repairs(desk.register, desk.objects, desk.who).run(wanted_of(chosen), repair, why, apply=apply)
    click.echo("\n".join(presentation.repair_lines(done)))
    ctx.exit(0 if done.chosen else 1)


def _repair(transform: str | None, patch: Path | None, payload: Path | None) -> Repair:
    if transform is not None:
        return Transformation(transform)
    if patch is not None:
        return Patch(patch.read_text(encoding="utf-8"))
    return Replacement(payload.read_bytes()) if payload is not None else AsIs()


@DLQ.command()
@click.argument("reason", type=click.Choice([reason.value for reason in Reason]), required=False)
@click.option("--field", default="", help="Field that broke the contract.")
def transformations(reason: str | None, field: str) -> None:
    """List the named transformations, or those offered for a reason."""
    offered = for_reason(Reason(reason), field) if reason else tuple(TRANSFORMATIONS.values())
    for transformation in offered:
        click.echo(f"{transformation.name:<36} {transformation.description}")
    if not offered:
        click.echo("None: such letters need a patch or an edited message, or a change of the rules.")


@DLQ.command()
@choosing
@deciding
@click.option("--force", is_flag=True, help="Send those too that today's rules reject. They will come back.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the verdicts.")
@click.pass_context
def retry(
    ctx: click.Context, /, apply: bool, why: str | None, force: bool, wait: bool, **chosen: Any
) -> None:
    """Send NEW dead letters through Kafka again. Dry unless --apply: how many would pass now.

    Each goes once, however often this is called. The first hundred are waited for; if too few pass, the rest stays.
    """
    why = why_of(apply, why)
    with desk_of(ctx) as desk:
        work = Retry(desk.settings, desk.register, desk.objects, desk.who, LOG)
        if not apply:
            done = work.preview(wanted_of(chosen), force=force)
        else:
            done = work.run(wanted_of(chosen), why, force=force, verdict_seconds=VERDICT_SECONDS, wait=wait)
    click.echo("\n".join(presentation.retry_lines(done)))
    ctx.exit(1 if done.stopped else 0)


@DLQ.command()
@choosing
@click.pass_context
def rejudge(ctx: click.Context, /, **chosen: Any) -> None:
    """After a change of rules: how many open dead letters pass now. Changes nothing; then wotr dlq retry."""
    with desk_of(ctx) as desk:
        done = Repairs(desk.register, desk.objects, desk.who).rejudge(wanted_of(chosen))
    click.echo("\n".join(presentation.rejudge_lines(done)))


def _decision(name: str, states: tuple[LetterState, ...], verb: str, text: str) -> None:
    @DLQ.command(name, help=f"{text} Dry unless --apply.")
    @choosing
    @deciding
    @click.pass_context
    def decide(ctx: click.Context, /, apply: bool, why: str | None, **chosen: Any) -> None:
        wanted, why = wanted_of(chosen), why_of(apply, why)
        if wanted == LetterFilter():
            raise click.UsageError("Choose some: by name, or by --reason, --source, --state …")
        with desk_of(ctx) as desk:
            if apply:
                changed = getattr(desk.register, name)(wanted, desk.who, why)
                click.echo(f"{changed:,} dead letters are {verb}.")
                return
            counts = desk.register.by_state(wanted)
            would = sum(counts[state] for state in states)
            alone = sum(counts.values()) - would
            click.echo(f"{would:,} dead letters would be {verb}; {alone:,} are in another state and stay.")
            click.echo('Nothing was changed. To do it: --apply --why "…"')


_decision(
    "discard",
    (LetterState.NEW, LetterState.QUARANTINED),
    "discarded",
    "Close NEW and QUARANTINED dead letters that nobody needs: they stay on record and are never sent.",
)
_decision(
    "quarantine",
    (LetterState.NEW,),
    "quarantined",
    "Put NEW dead letters aside: no retry takes them until someone reopens them.",
)
_decision(
    "reopen",
    (LetterState.DISCARDED, LetterState.QUARANTINED),
    "open again",
    "Open DISCARDED and QUARANTINED dead letters again, with all their tries.",
)


@DLQ.command()
@click.option("--why", required=True, help="Your reason; kept.")
@click.pass_context
def stop(ctx: click.Context, /, why: str) -> None:
    """The kill switch: no retry sends anything more, until wotr dlq go."""
    with desk_of(ctx) as desk:
        desk.register.turn_switch(True, desk.who, why)
    click.echo(
        "Retries are stopped. A retry that is at work ends with its present wave. Go on with: wotr dlq go"
    )


@DLQ.command()
@click.option("--why", required=True, help="Your reason; kept.")
@click.pass_context
def go(ctx: click.Context, /, why: str) -> None:
    """Let retries go on after wotr dlq stop."""
    with desk_of(ctx) as desk:
        desk.register.turn_switch(False, desk.who, why)
    click.echo("Retries go on.")


@DLQ.command()
@click.pass_context
def triage(ctx: click.Context, /) -> None:
    """Enter what was rejected since, and give retries their verdict; the sensor does it by itself."""
    with desk_of(ctx) as desk:
        done = Triage(desk.settings, desk.register, desk.objects, desk.who, LOG).run()
        Retry(desk.settings, desk.register, desk.objects, desk.who, LOG).resume()
    click.echo("\n".join(presentation.triage_lines(done)))
    ctx.exit(1 if done.problems else 0)


@DLQ.command()
@choosing
@click.option(
    "--to", "target", type=click.Path(dir_okay=False, path_type=Path), required=True, help="NDJSON file."
)
@click.option("--unmask", is_flag=True, help="With content, as base64. Who exports is written down.")
@click.option("--why", help="Your reason. Needed with --unmask.")
@click.pass_context
def export(ctx: click.Context, /, target: Path, unmask: bool, why: str | None, **chosen: Any) -> None:
    """Write dead letters to a file, one JSON object a line: for a client that has to mend its events."""
    if unmask and not why:
        raise click.UsageError('--unmask needs --why "…": who sees content, and why, is kept.')
    with desk_of(ctx) as desk:
        ids = desk.register.ids(wanted_of(chosen))
        if unmask:
            names = [letter.name for letter in desk.register.of_ids(ids[:100])]
            desk.register.note_access(desk.who, f"export of {len(ids):,}", why or "", names)
        contents = LetterContents(desk.objects)
        with target.open("w", encoding="utf-8") as file:
            for letter in desk.register.of_ids(ids):
                value = contents.content(letter).value if letter.pruned_at is None else None
                file.write(json.dumps(presentation.exported(letter, value, unmask=unmask)) + "\n")
    click.echo(f"{len(ids):,} dead letters are in {target}.")


@DLQ.command("prune")
@click.option(
    "--days", type=click.IntRange(1), default=CLOSED_DAYS, show_default=True, help="Closed so long ago."
)
@click.option("--apply", is_flag=True, help="Do it. Without, only what would happen is shown.")
@click.pass_context
def prune_letters(ctx: click.Context, /, days: int, apply: bool) -> None:
    """Delete the content of dead letters that are long RESOLVED or DISCARDED; their rows stay. Dry unless --apply."""
    with desk_of(ctx) as desk:
        done = prune(desk.register, desk.objects, desk.register.now() - timedelta(days=days), apply=apply)
    verb = "are deleted" if done.applied else "would be deleted"
    click.echo(f"{len(done.keys):,} objects {verb}, all of whose dead letters are closed for {days} days.")
    click.echo("\n".join(f"  {key}" for key in done.keys[:20]))
    if not done.applied:
        click.echo("Nothing was changed. To do it: --apply")
