"""What the commands on dead letters share: the stores that they work with, and the options that choose letters.

Belongs here: options and arguments, and what they make. Does not belong here: any command (``commands.py``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.objects import ObjectStore

Command = Callable[..., Any]


@dataclass(frozen=True)
class Desk:
    """What the commands work with."""

    settings: Settings
    register: DeadLetterRegister
    objects: ObjectStore
    who: str


class Moment(click.ParamType[datetime]):
    """A time: ISO 8601 (UTC without a zone), or how long ago: 30m, 6h, 2d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time that the text says."""
        if isinstance(value, datetime):
            return value
        units = {"m": "minutes", "h": "hours", "d": "days"}
        if value[-1:] in units and value[:-1].isdecimal():
            return datetime.now(UTC) - timedelta(**{units[value[-1]]: int(value[:-1])})
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                "must be ISO 8601 such as 2026-11-23T08:00, or 30m, 6h, 2d for how long ago", param, ctx
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def choosing(command: Command) -> Command:
    """Options and arguments that choose dead letters."""
    for decorator in reversed(
        (
            click.argument("names", nargs=-1),
            click.option(
                "--state", "states", multiple=True, type=click.Choice([s.value for s in LetterState])
            ),
            click.option("--reason", "reasons", multiple=True, help="Reason code."),
            click.option("--field", "fields", multiple=True, help="Field that broke the contract."),
            click.option("--source", "sources", multiple=True, help="Service that sent them."),
            click.option("--event-type", "event_types", multiple=True),
            click.option("--version", "versions", multiple=True, help="Schema version."),
            click.option("--since", type=Moment(), help="Arrived then or later: ISO 8601, or 30m, 6h, 2d."),
            click.option("--until", type=Moment(), help="Arrived before then."),
        )
    ):
        command = decorator(command)
    return command


def deciding(command: Command) -> Command:
    """Options of what changes something."""
    for decorator in (
        click.option("--apply", is_flag=True, help="Do it. Without, only what would happen is shown."),
        click.option("--why", help="Your reason; kept for ever. Needed with --apply."),
    ):
        command = decorator(command)
    return command


@contextmanager
def desk_of(ctx: click.Context) -> Iterator[Desk]:
    data_dir: Path
    data_dir, who = ctx.obj
    settings = load_settings(wotr_data_dir=data_dir)
    with DeadLetterRegister(settings) as register:
        yield Desk(settings, register, ObjectStore(settings), who)


def wanted_of(chosen: dict[str, Any]) -> LetterFilter:
    return LetterFilter(
        names=chosen["names"],
        states=tuple(LetterState(state) for state in chosen["states"]),
        reasons=chosen["reasons"],
        fields=chosen["fields"],
        sources=chosen["sources"],
        event_types=chosen["event_types"],
        versions=chosen["versions"],
        since=chosen["since"],
        until=chosen["until"],
    )


def why_of(apply: bool, why: str | None) -> str:
    if apply and not why:
        raise click.UsageError('--apply needs --why "…": it is kept in the history of each letter.')
    return why or ""
