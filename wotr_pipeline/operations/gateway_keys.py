"""``wotr keys``: the gateway's keys from a terminal, also when there is none yet that opens the pages.

Belongs here: options, and what is printed. Does not belong here: what a key is (``stores/api_keys.py``).
What is done is written down before (``operator_actions``); the text of a key is printed once and is nowhere else.
"""

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from wotr_pipeline.config import load_settings
from wotr_pipeline.stores.api_keys import ApiKey, ApiKeys, NewKey, Scope
from wotr_pipeline.stores.operations_log import OperationsLog

LINE = "{:<13} {:<24} {:<28} {:<17} {:<17} {}"
HEADINGS = ("id", "name", "may", "used (UTC)", "ends (UTC)", "state")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
MOST = timedelta(days=3_650)


class Span(click.ParamType[timedelta]):
    """How long: 30m, 12h, 90d."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The span that the text says."""
        if isinstance(value, timedelta):
            return value
        amount, unit = value[:-1], value[-1:]
        known = unit in UNITS and amount.isascii() and amount.isdecimal() and len(amount) < 8
        span = timedelta(**{UNITS[unit]: int(amount)}) if known else None
        if span is None or span > MOST:
            self.fail(f"must be such as 30m, 12h or 90d, at most {MOST.days}d", param, ctx)
        return span


@contextmanager
def _opened(data_dir: Path) -> Iterator[tuple[ApiKeys, OperationsLog]]:
    settings = load_settings(wotr_data_dir=data_dir)
    log = OperationsLog(settings)
    try:
        with ApiKeys(settings) as store:
            yield store, log
    finally:
        log.close()


@click.group()
def keys() -> None:
    """Keys of the gateway: who may send events, see the pages, act."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def list_keys(data_dir: Path, as_json: bool) -> None:
    """List every key that was made, the newest first; never its text."""
    with _opened(data_dir) as (store, _):
        found = store.all()
    if as_json:
        click.echo(json.dumps([_told(key) for key in found], indent=2))
    else:
        click.echo("\n".join([LINE.format(*HEADINGS), *map(_line, found)]) if found else "There is no key.")


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice([scope.value for scope in Scope])
)
@click.option("--expires-in", type=Span(), help="30m, 12h, 90d; without: never.")
@click.option("--events-per-minute", type=click.IntRange(1), help="Its rate limit; without: the platform's.")
@click.option("--why", default="", help="Your reason; kept.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def create(
    data_dir: Path,
    name: str,
    scopes: tuple[str, ...],
    expires_in: timedelta | None,
    events_per_minute: int | None,
    why: str,
    as_json: bool,
) -> None:
    """Make a key for NAME and print it, once."""
    who = getpass.getuser()
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise click.UsageError("A name has 1 to 100 characters, none of them a control character.")
    with _opened(data_dir) as (store, log):
        log.note(who, "create a key", f"{name}: {', '.join(sorted(scopes))}", why)
        expires_at = datetime.now(UTC) + expires_in if expires_in else None
        new = store.create(
            name,
            [Scope(scope) for scope in set(scopes)],
            who,
            expires_at=expires_at,
            events_per_minute=events_per_minute,
        )
    _print_once(new, as_json)


@keys.command()
@click.argument("key_id")
@click.option(
    "--overlap", type=Span(), default="24h", show_default=True, help="How long the old one still opens."
)
@click.option("--why", default="", help="Your reason; kept.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def rotate(data_dir: Path, key_id: str, overlap: timedelta, why: str, as_json: bool) -> None:
    """Make a key that may do what KEY_ID may, and let that one end after --overlap."""
    who = getpass.getuser()
    with _opened(data_dir) as (store, log):
        log.note(who, "rotate a key", f"{key_id}; it ends in {overlap}", why)
        new = store.rotate(key_id, who, overlap)
    _print_once(new, as_json)


@keys.command()
@click.argument("key_id")
@click.option("--why", default="", help="Your reason; kept.")
@click.pass_obj
def revoke(data_dir: Path, key_id: str, why: str) -> None:
    """Refuse KEY_ID from now on; the gateway knows within seconds."""
    with _opened(data_dir) as (store, log):
        log.note(getpass.getuser(), "revoke a key", key_id, why)
        store.revoke(key_id)
    click.echo(f"The key {key_id} opens nothing any more.")


def _print_once(new: NewKey, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": new.id, "key": new.text}))
        return
    click.echo(new.text)
    click.echo("This is the only time that it is shown.", err=True)


def _told(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "events_per_minute": key.events_per_minute,
        "created_at": key.created_at.isoformat(),
        "created_by": key.created_by,
        "used_at": key.used_at.isoformat() if key.used_at else None,
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
        "replaces": key.replaces,
        "valid": key.valid_at(datetime.now(UTC)),
    }


def _line(key: ApiKey) -> str:
    state = "revoked" if key.revoked_at else "valid" if key.valid_at(datetime.now(UTC)) else "expired"
    return LINE.format(
        key.id, key.name, ", ".join(key.scopes), _moment(key.used_at), _moment(key.expires_at), state
    )


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"
