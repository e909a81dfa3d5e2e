"""``wotr schema``: the Avro schemas of the event contract against those in the registry.

Belongs here: comparing the packaged versions with the registered ones, and registering, for the command line.
Does not belong here: what is compatible (``events/avro_schemas.py``), the registry (``gateway/registry.py``).
"""

from collections.abc import Iterator
from pathlib import Path

import click

from wotr_pipeline.config import load_settings
from wotr_pipeline.events.avro_schemas import SchemaError, differences, incompatibilities, read_schema
from wotr_pipeline.events.schema_versions import LEVEL, SchemaVersion, packaged_versions, schema_version
from wotr_pipeline.stores.schema_registry import RegistryVersion, SchemaRegistry, event_subject

SCHEMA = click.Group("schema")


@SCHEMA.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Check the packaged versions against each other and the registry; exit code 1 if something is wrong."""
    settings = load_settings(wotr_data_dir=ctx.obj)
    subject = event_subject(settings)
    registry = SchemaRegistry(settings)
    problems = [*_among_packaged(), *_against(subject, registry.versions(subject))]
    if registry.level(subject) not in ("", LEVEL.value):
        problems.append(
            f"{subject} has another compatibility level than {LEVEL.value}: wotr schema register --apply"
        )
    for problem in problems:
        click.echo(problem)
    if problems:
        ctx.exit(1)
    majors = ", ".join(f"v{version.major}" for version in packaged_versions())
    click.echo(f"{majors} of the contract are compatible ({LEVEL.value}) and registered as {subject}.")


@SCHEMA.command()
@click.option("--apply", is_flag=True, help="Do it; otherwise only say what would be done.")
@click.pass_obj
def register(data_dir: Path, apply: bool) -> None:
    """Register the packaged versions that the registry does not have."""
    settings = load_settings(wotr_data_dir=data_dir)
    subject = event_subject(settings)
    registry = SchemaRegistry(settings)
    missing = _missing(registry.versions(subject))
    if registry.level(subject) != LEVEL.value:
        if apply:
            registry.set_level(subject, LEVEL)
        click.echo(f"{subject}: compatibility level {LEVEL.value} {'is set' if apply else 'would be set'}.")
    for version in missing:
        if apply:
            number = registry.register(subject, version.schema.text)
            click.echo(f"v{version.major} is registered under {subject}, id {number}.")
        else:
            click.echo(f"v{version.major} would be registered under {subject}.")
    if not missing:
        click.echo(f"Every packaged version is registered under {subject}.")
    elif not apply:
        click.echo("Nothing was changed. Do it: wotr schema register --apply")


@SCHEMA.command()
@click.argument("old", required=False, metavar="[FROM")
@click.argument("new", required=False, metavar="TO]")
@click.pass_obj
def diff(data_dir: Path, old: str | None, new: str | None) -> None:
    """Show what differs: between two packaged versions (v1 v2), or between the packaged ones and the registry."""
    if old is not None and new is not None:
        _show(old, new, differences(_packaged(old).schema, _packaged(new).schema))
        return
    if old is not None:
        raise click.UsageError("Name two versions, such as v1 v2, or none.")
    settings = load_settings(wotr_data_dir=data_dir)
    subject = event_subject(settings)
    registered = {found.major: found for found in _readable(SchemaRegistry(settings).versions(subject))}
    for version in packaged_versions():
        there = registered.pop(version.major, None)
        if there is None:
            click.echo(
                f"v{version.major} is packaged and not registered under {subject}: wotr schema register"
            )
        else:
            names = (f"v{version.major} registered", f"v{version.major} packaged")
            _show(*names, differences(there.schema, version.schema))
    for major in sorted(registered):
        click.echo(f"v{major} is registered under {subject} and not packaged: a newer release has it.")


def _among_packaged() -> Iterator[str]:
    versions = packaged_versions()
    for number, version in enumerate(versions):
        earlier = [other.schema for other in versions[:number]]
        for problem in incompatibilities(LEVEL, version.schema, earlier):
            yield f"packaged v{version.major}: {problem}"


def _against(subject: str, registered: list[RegistryVersion]) -> Iterator[str]:
    for version in _missing(registered):
        yield f"v{version.major} is not registered under {subject}: wotr schema register --apply"
    for one in registered:
        try:
            found = schema_version(one.text)
        except SchemaError as error:
            yield f"{subject}, version {one.version} is no version of the contract: {error}"
            continue
        for version in packaged_versions():
            for problem in incompatibilities(LEVEL, version.schema, [found.schema]):
                yield f"packaged v{version.major} and registered version {one.version}: {problem}"


def _missing(registered: list[RegistryVersion]) -> list[SchemaVersion]:
    there = {read_schema(one.text).digest for one in registered}
    return [version for version in packaged_versions() if version.schema.digest not in there]


def _readable(registered: list[RegistryVersion]) -> Iterator[SchemaVersion]:
    for one in registered:
        try:
            yield schema_version(one.text)
        except SchemaError:
            click.echo(f"Version {one.version} of the registry is no version of the contract.", err=True)


def _packaged(name: str) -> SchemaVersion:
    for version in packaged_versions():
        if name.lower().removeprefix("v") == str(version.major):
            return version
    known = ", ".join(f"v{version.major}" for version in packaged_versions())
    raise click.UsageError(f"There is no version {name}. There are: {known}.")


def _show(old: str, new: str, lines: tuple[str, ...]) -> None:
    click.echo(f"{old} -> {new}: " + ("the same" if not lines else f"{len(lines)} differences"))
    for line in lines:
        click.echo(f"  {line}")
