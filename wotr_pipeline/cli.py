"""The command ``wotr``: starts, stops and shows the servers, and runs commands in their environment.

Belongs here: options, exit codes and what is printed.
Does not belong here: what the commands do. Each one imports what it needs when it is called, so that
``wotr --help`` stays quick.

Exit codes: 0 done; 1 a server or a store failed; 2 the settings or the command line are wrong;
3 ``wotr status`` found a server that is not ready.
"""

import getpass
import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
from dotenv import dotenv_values

from wotr_pipeline.config import (
    DEFAULT_DATA_DIR,
    ENVIRONMENT_FILE,
    SECRET_VARIABLES,
    Settings,
    SettingsError,
    load_settings,
)
from wotr_pipeline.operations.batches import batches, reopen
from wotr_pipeline.operations.gateway_keys import keys
from wotr_pipeline.operations.ingest_file import ingest
from wotr_pipeline.operations.maintenance_mode import maintenance
from wotr_pipeline.operations.recover_from_raw import recover
from wotr_pipeline.operations.sample_events import sample
from wotr_pipeline.stores.errors import StoreError

if TYPE_CHECKING:
    from wotr_pipeline.operations.run_checks import Checked


class _Group(click.Group):
    """Turns the project's own errors into one plain text and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        from wotr_pipeline.servers.data_directory import DataDirectoryError
        from wotr_pipeline.servers.server import ServerError

        try:
            return super().invoke(ctx)
        except (SettingsError, DataDirectoryError) as error:
            click.echo(str(error), err=True)
            ctx.exit(2)
        except (ServerError, StoreError) as error:
            click.echo(str(error), err=True)
            ctx.exit(1)


class _Later(click.Group):
    """A group whose commands are imported when one of them is asked for."""

    module = ""
    name_there = ""

    def _loaded(self) -> click.Group:
        loaded: click.Group = getattr(
            import_module(f"wotr_pipeline.operations.{self.module}"), self.name_there
        )
        return loaded

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._loaded().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._loaded().get_command(ctx, cmd_name)


class _DeadLetterCommands(_Later):
    module, name_there = "dead_letters.commands", "DLQ"


class _RestoreCommands(_Later):
    module, name_there = "restore.commands", "RESTORE"


class _BackupCommands(_Later):
    module, name_there = "restore.commands", "BACKUP"


class _SchemaCommands(_Later):
    module, name_there = "schemas", "SCHEMA"


@click.group(cls=_Group)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="WOTR_DATA_DIR",
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Directory that holds all state of the servers (also: WOTR_DATA_DIR).",
)
@click.pass_context
def main(ctx: click.Context, data_dir: Path) -> None:
    """Events from Kafka to ClickHouse, each one exactly once."""
    ctx.obj = data_dir.expanduser().resolve()


@main.command()
@click.option("--dagster/--no-dagster", default=True, help="Start Dagster's three programs too.")
@click.pass_obj
def up(data_dir: Path, dagster: bool) -> None:
    """Start every server that does not run yet, and say where everything is."""
    from wotr_pipeline.servers.lifecycle import CODE_SERVER, DAGSTER, GATEWAY, STORES, Platform
    from wotr_pipeline.servers.server import ServerError

    load_settings(wotr_data_dir=data_dir)  # a wrong variable stops here, before anything is started
    platform = Platform(data_dir)
    platform.up(STORES, click.echo)
    migrate(load_settings(wotr_data_dir=data_dir))
    try:
        for names in (GATEWAY, CODE_SERVER, DAGSTER) if dagster else (GATEWAY,):
            platform.up(names, click.echo)
    except ServerError as error:
        raise ServerError(f"{error}\nWhat was ready stays up; stop it with: wotr down") from None
    click.echo(f"The environment is in {data_dir / ENVIRONMENT_FILE}, the logs in {platform.directory.logs}.")
    click.echo(f"Gateway: http://127.0.0.1:{platform.directory.ports['gateway']}/admin/")
    if dagster:
        click.echo(f"Dagster: http://127.0.0.1:{platform.directory.ports['dagster_webserver']}")
    click.echo("Stop with: wotr down")


def migrate(settings: Settings) -> None:
    """Bring the ledger's and the warehouse's tables to the present version."""
    from wotr_pipeline.stores import ledger
    from wotr_pipeline.stores.warehouse import Warehouse

    ledger.migrate(settings)
    Warehouse(settings).migrate()


@main.command()
@click.pass_obj
def down(data_dir: Path) -> None:
    """Stop every server cleanly."""
    from wotr_pipeline.servers import data_directory
    from wotr_pipeline.servers.lifecycle import Platform

    if not data_directory.exists(data_dir):
        click.echo(f"Nothing was ever started in {data_dir}.")
        return
    Platform(data_dir).down()
    click.echo(f"Nothing of {data_dir} runs any more.")


@main.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show every server; exit code 3 when one of them is not ready."""
    from wotr_pipeline.servers import data_directory
    from wotr_pipeline.servers.lifecycle import Platform

    if not data_directory.exists(ctx.obj):
        click.echo(f"Nothing was ever started in {ctx.obj}.")
        ctx.exit(3)
    servers = Platform(ctx.obj).status()
    click.echo(f"{'server':<12} {'state':<14} {'pid':>8}  {'since (UTC)':<20} address")
    for server in servers:
        since = f"{server.since:%Y-%m-%d %H:%M:%S}" if server.since else "-"
        detail = f"  ({server.detail})" if server.detail else ""
        click.echo(
            f"{server.name:<12} {server.state:<14} {server.pid or '-':>8}  {since:<20} {server.address}{detail}"
        )
    if any(server.state not in ("ready", "not started") for server in servers):
        ctx.exit(3)


@main.command()
@click.option("--show-secrets", is_flag=True, help="Print passwords and keys too.")
@click.pass_obj
def env(data_dir: Path, show_secrets: bool) -> None:
    """Print the environment as shell commands: eval "$(wotr env --show-secrets)"."""
    for name, value in _environment(data_dir).items():
        if show_secrets or name not in SECRET_VARIABLES:
            click.echo(f"export {name}={shlex.quote(value)}")
        else:
            click.echo(f"# {name} is a secret; --show-secrets prints it")


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Run COMMAND with the environment of the data directory; variables already set win."""
    environment = _environment(ctx.obj) | os.environ | {"WOTR_DATA_DIR": str(ctx.obj)}
    try:
        ctx.exit(subprocess.run(command, env=environment, check=False).returncode)
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        ctx.exit(127)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def account(ctx: click.Context, as_json: bool) -> None:
    """Show what Kafka took in and where it is now; exit code 1 when a sum does not come out."""
    import json

    from wotr_pipeline.operations.account import account as take_account
    from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
    from wotr_pipeline.stores.ledger import Ledger
    from wotr_pipeline.stores.warehouse import Warehouse

    settings = load_settings(wotr_data_dir=ctx.obj)
    with Ledger(settings) as ledger, KafkaOffsets(settings) as offsets:
        taken = take_account(settings, ledger, Warehouse(settings), offsets)
    click.echo(json.dumps(taken.as_json()) if as_json else "\n".join(taken.lines()))
    ctx.exit(0 if taken.balanced else 1)


@main.command()
@click.argument("event_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def trace(ctx: click.Context, event_id: str, as_json: bool) -> None:
    """Show where one event is and how it came there; exit code 1 when nothing is known of it."""
    import json

    from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
    from wotr_pipeline.stores.event_trace import trace_event
    from wotr_pipeline.stores.ledger import Ledger
    from wotr_pipeline.stores.warehouse import Warehouse

    settings = load_settings(wotr_data_dir=ctx.obj)
    with Ledger(settings) as ledger, DeadLetterRegister(settings) as register:
        found = trace_event(event_id, ledger, register, Warehouse(settings))
    click.echo(json.dumps(found.as_json()) if as_json else "\n".join(found.lines()))
    ctx.exit(0 if found.known else 1)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--only",
    metavar="NAME",
    help="One service more closely: postgres, minio, kafka, clickhouse, gateway, dagster, "
    "or a server as `wotr status` names it.",
)
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, only: str | None) -> None:
    """Find the bottleneck; exit code 0 healthy, 1 something was found, 2 it cannot be said."""
    from wotr_pipeline.operations.doctor.command import examine

    ctx.exit(examine(ctx.obj, only, as_json, click.echo))


@main.command("run-etl")
@click.pass_context
def run_etl(ctx: click.Context) -> None:
    """Carry everything that is in Kafka now, without waiting for the sensor."""
    from wotr_pipeline.operations.run_etl import instance_of, run_etl
    from wotr_pipeline.stores.ledger import Ledger

    settings = load_settings(wotr_data_dir=ctx.obj)
    with instance_of(_environment(ctx.obj)) as instance, Ledger(settings) as ledger:
        done = run_etl(settings, ledger, instance, click.echo)
    click.echo("\n".join(done.lines()))
    ctx.exit(0 if done.complete else 1)


@main.command()
@click.option(
    "--hours", type=click.IntRange(0), default=1, show_default=True, help="Newest hours with events."
)
@click.pass_context
def check(ctx: click.Context, hours: int) -> None:
    """Execute the standing checks, and those of the newest hours, now; exit code 1 when one fails."""
    checked = _checked(ctx.obj, hours)
    click.echo("\n".join(checked.lines()))
    ctx.exit(1 if checked.failed or checked.not_run else 0)


@main.command()
@click.option("--events", type=click.IntRange(1), default=200_000, show_default=True, help="Events to send.")
@click.pass_context
def demo(ctx: click.Context, events: int) -> None:
    """Start everything, send a realistic stream through it, and show its account."""
    from wotr_pipeline.operations.demo import demo, farewell

    ctx.invoke(up, dagster=True)
    settings = load_settings(wotr_data_dir=ctx.obj)
    true = demo(settings, events, click.echo)
    click.echo("\n" + "\n".join(_checked(ctx.obj, hours=4).lines()))
    click.echo("\n" + "\n".join(farewell(settings)))
    ctx.exit(0 if true else 1)


def _checked(data_dir: Path, hours: int) -> "Checked":
    from wotr_pipeline.operations.run_checks import newest_hours, run_checks
    from wotr_pipeline.operations.run_etl import instance_of
    from wotr_pipeline.stores.ledger import Ledger

    settings = load_settings(wotr_data_dir=data_dir)
    with instance_of(_environment(data_dir)) as instance, Ledger(settings) as ledger:
        return run_checks(settings, instance, newest_hours(ledger, hours))


def _environment(data_dir: Path) -> dict[str, str]:
    file = data_dir / ENVIRONMENT_FILE
    if not file.exists():
        raise SettingsError(f"{file} is not there: start the servers first (wotr up).")
    return {name: value or "" for name, value in dotenv_values(file, interpolate=False).items()}


@main.command()
@click.option("--partitions", type=click.IntRange(1), default=4, show_default=True, help="Of the topic.")
@click.pass_obj
def init(data_dir: Path, partitions: int) -> None:
    """Create topics, bucket and tables where they are missing: once per deployment, safe to repeat."""
    from wotr_pipeline.stores.kafka_topics import ensure_topics
    from wotr_pipeline.stores.objects import ObjectStore

    settings = load_settings(wotr_data_dir=data_dir)
    ensure_topics(settings, partitions)
    ObjectStore(settings).ensure_bucket()
    migrate(settings)
    click.echo(
        f"There are the topics {settings.kafka_topic} and {settings.kafka_dlq_topic}, the bucket "
        f"{settings.minio_bucket}, the ledger's tables and those of {settings.clickhouse_db}."
    )


@main.command("cluster-ddl")
@click.option("--cluster", default="wotr", show_default=True, help="Its name in remote_servers.")
def cluster_ddl(cluster: str) -> None:
    """Print the tables and statements as a ClickHouse cluster needs them (docs/scaling.md). Runs nothing."""
    from wotr_pipeline.stores import cluster_ddl as variants

    try:
        found = variants.cluster_ddl(cluster)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cluster") from None
    for variant in found:
        click.echo(f"-- From wotr_pipeline/sql/{variant.source}.sql\n{variant.text};\n")


@main.group(cls=_DeadLetterCommands)
@click.option("--who", help="Who you are, for the history; by default your user name.")
@click.pass_context
def dlq(ctx: click.Context, who: str | None) -> None:
    """Dead letters: see, understand, repair and send them again."""
    ctx.obj = (ctx.obj, who or getpass.getuser())


@main.group(cls=_RestoreCommands)
def restore() -> None:
    """Backups brought back: see them, plan, restore one store or the whole platform, reconcile."""


@main.group(cls=_BackupCommands)
def backup() -> None:
    """Backups: take one now, see which there are, which go."""


@main.group(cls=_SchemaCommands)
def schema() -> None:
    """Avro schemas of the event contract: check, register, compare."""


# These stand with what they do; their modules are quick to import.
main.add_command(batches)
main.add_command(reopen)
main.add_command(ingest)
main.add_command(keys)
main.add_command(maintenance)
main.add_command(recover)
main.add_command(sample)


if __name__ == "__main__":
    main(prog_name="wotr")
    sys.exit(0)
