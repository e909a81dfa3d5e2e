"""Do producers send what the registered schema versions say?

Three kinds of drift: a MAJOR that nobody registered, a member of the payload that no version has, and a member of a
newer version in events that call themselves older. None of them is an error of an event: the contract allows unknown
members. But readers who generate their code from a schema do not see them.

Belongs here: that comparison and its check. It warns; nothing is held back.
Does not belong here: versions that are new or gone within an hour (``schema.py``), the schemas (``events/``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.checks.presentation import Line, runbook, table
from wotr_pipeline.config import Settings
from wotr_pipeline.events.avro_schemas import SchemaError
from wotr_pipeline.events.schema_versions import SchemaVersion, packaged_versions, schema_version
from wotr_pipeline.stores.errors import StoreError
from wotr_pipeline.stores.schema_registry import SchemaRegistry, event_subject
from wotr_pipeline.stores.warehouse import Warehouse

HOURS = 24
SAMPLED = 200
"""Events of one source and version whose members are looked at."""
LOOKED_AT = 100_000
"""Events that are read for the sample, about, however many there are."""
IN_EVERY_VERSION = "version"
"""v1 does not have it, and every producer that says its version sends it."""
NAMES_SHOWN = 5


@dataclass(frozen=True)
class Registered:
    """The versions to compare with. ``source`` says where they come from, in words."""

    versions: tuple[SchemaVersion, ...]
    source: str
    reachable: bool


@dataclass(frozen=True)
class Drift:
    """What one source sends beside the registered versions."""

    source: str
    version: str
    events: int
    what: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Everything that drifts, and how much was looked at."""

    drifts: tuple[Drift, ...]
    events: int
    sources: int


def registered_versions(settings: Settings) -> Registered:
    """The versions that the registry has; the packaged ones if it cannot be asked or has none."""
    subject = event_subject(settings)
    registry = SchemaRegistry(settings)
    try:
        found = registry.versions(subject)
    except StoreError as error:
        return Registered(
            packaged_versions(), f"the packaged versions. {str(error).rstrip('.')}", reachable=False
        )
    versions = []
    for one in found:
        try:
            versions.append(schema_version(one.text))
        except SchemaError:
            continue  # `wotr schema check` names it
    if not versions:
        why = (
            f"the packaged versions, because {subject} has none in the registry: wotr schema register --apply"
        )
        return Registered(packaged_versions(), why, reachable=False)
    return Registered(tuple(versions), f"{subject} in the registry at {registry.address}", reachable=True)


def drift(warehouse: Warehouse, versions: Iterable[SchemaVersion], now: datetime) -> Found:
    """What the sources of the last hours sent beside these versions.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    since = int((now - timedelta(hours=HOURS)).timestamp())
    counts = warehouse.select("check_drift_versions", {"since": since}).to_pylist()
    total = sum(row["events"] for row in counts)
    every = max(1, total // LOOKED_AT)
    members: dict[tuple[str, str], set[str]] = {}
    for row in warehouse.select(
        "check_drift_members", {"since": since, "every": every, "sampled": SAMPLED}
    ).to_pylist():
        members.setdefault((row["source"], row["major"]), set()).add(row["member"])
    sent = {(row["source"], row["major"]): row["events"] for row in counts}
    drifts = compare(sent, members, {version.major: version.payload_members for version in versions})
    return Found(tuple(drifts), total, len({source for source, _ in sent}))


def compare(
    sent: Mapping[tuple[str, str], int],
    members: Mapping[tuple[str, str], set[str]],
    known: Mapping[int, frozenset[str]],
) -> list[Drift]:
    """``sent`` counts events by source and MAJOR; ``known`` has the members of each registered MAJOR."""
    everywhere = frozenset().union(*known.values()) if known else frozenset[str]()
    found = []
    for (source, major), events in sent.items():
        seen = members.get((source, major), set()) - {IN_EVERY_VERSION}
        of_version = known.get(int(major)) if major.isdigit() else None
        if of_version is None:
            found.append(Drift(source, major, events, "a version that nobody registered", ()))
        elif newer := seen & everywhere - of_version:
            found.append(Drift(source, major, events, "members of another version", tuple(sorted(newer))))
        if unknown := seen - everywhere:
            found.append(Drift(source, major, events, "members of no version", tuple(sorted(unknown))))
    return sorted(found, key=lambda one: (-one.events, one.source, one.version, one.what))


def drift_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``producers_keep_registered_versions`` of ``validated_batches``."""

    @dg.asset_check(
        asset="validated_batches",
        description=f"What each source sent in the last {HOURS} hours is what the schema registry says of its version: "
        "no version that nobody registered, no member that its version does not have. Warns.",
    )
    def producers_keep_registered_versions(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        registered = registered_versions(settings)
        found = drift(warehouse.for_run(context.run.run_id), registered.versions, datetime.now(UTC))
        return _result(settings, registered, found)

    return producers_keep_registered_versions


def _result(settings: Settings, registered: Registered, found: Found) -> dg.AssetCheckResult:
    sources = sorted({one.source for one in found.drifts})
    text = f"{found.events:,} events of {found.sources} sources in {HOURS} hours, compared with {registered.source}."
    if sources:
        text += (
            f" {len(sources)} sources send something else; nothing is held back. Ask them which version they mean, "
            "then register it (wotr schema register) or let them mend it."
        )
    return dg.AssetCheckResult(
        passed=not found.drifts,
        severity=dg.AssetCheckSeverity.WARN,
        description=text,
        metadata={
            "events": found.events,
            "sources": found.sources,
            "sources that drift": len(sources),
            "registry was asked": registered.reachable,
            "drift": table([_line(one) for one in found.drifts]),
            "what to do": dg.MetadataValue.url(runbook(settings, "producers_keep_registered_versions")),
        },
    )


def _line(one: Drift) -> Line:
    # A member's name is the producer's choice, and may be content: only what looks like a name is shown.
    shown = [name if name.isidentifier() and len(name) <= 40 else "(an odd name)" for name in one.members]
    more = f" and {len(shown) - NAMES_SHOWN} more" if len(shown) > NAMES_SHOWN else ""
    return {
        "source": one.source,
        "version": f"{one.version}.x",
        "events": one.events,
        "sends": one.what,
        "members": ", ".join(shown[:NAMES_SHOWN]) + more,
    }
