"""Is the table what is declared, and do events come in the versions that are known?

Belongs here: the columns of ``ingested_data`` against their declaration (blocking), and new or vanished
schema versions in an hour's events (warns).
Does not belong here: the declaration (``events/columns.py``), changing a table, single events.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_hours, hour_of
from wotr_pipeline.checks.presentation import first_three, moment, runbook, table
from wotr_pipeline.config import Settings
from wotr_pipeline.events.columns import INGESTED_DATA
from wotr_pipeline.stores.warehouse import Warehouse

VERSION_DAYS = 7
"""How far back a version is known."""


@dataclass(frozen=True)
class SchemaDifference:
    """Column types by name, as declared and as the engine has them."""

    expected: dict[str, str]
    actual: dict[str, str]

    @property
    def missing(self) -> list[str]:
        """Declared, but not there."""
        return [name for name in self.expected if name not in self.actual]

    @property
    def extra(self) -> list[str]:
        """There, but not declared."""
        return [name for name in self.actual if name not in self.expected]

    @property
    def changed(self) -> list[str]:
        """There with another type than declared."""
        both = [name for name in self.expected if name in self.actual]
        return [name for name in both if self.expected[name] != self.actual[name]]

    @property
    def agrees(self) -> bool:
        """Whether every column is as declared; their order does not matter."""
        return self.expected == self.actual


@dataclass(frozen=True)
class VersionDrift:
    """Schema versions in an hour's valid rows with their counts; ``new`` ones were not seen in the
    VERSION_DAYS before, ``gone`` ones were but not in this hour. No history: nothing is new."""

    hour: datetime
    rows: dict[str, int]
    new: dict[str, tuple[str, ...]]
    gone: tuple[str, ...]


def schema_difference(warehouse: Warehouse) -> SchemaDifference:
    """The columns of ``ingested_data`` against ``events/columns.py``.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    found = warehouse.select("table_columns", {"table": "ingested_data"}).to_pylist()
    return SchemaDifference(
        {column.name: column.clickhouse for column in INGESTED_DATA},
        {row["name"]: row["type"] for row in found},
    )


def version_drift(warehouse: Warehouse, hour: datetime) -> VersionDrift:
    """Versions of the hour against those of the days before; ``new`` with up to three of their sources.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    first = hour - timedelta(days=VERSION_DAYS)
    parameters = {"first_hour": int(first.timestamp()), "arrival_hour": int(hour.timestamp())}
    found = warehouse.select("check_versions", parameters).to_pylist()
    history = any(row["earlier_rows"] for row in found)
    return VersionDrift(
        hour,
        {row["version"]: row["rows"] for row in found if row["rows"]},
        {
            row["version"]: tuple(row["sources"])
            for row in found
            if history and row["rows"] and not row["earlier_rows"]
        },
        tuple(row["version"] for row in found if not row["rows"]),
    )


def schema_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``columns_are_as_declared`` of ``ingested_data``; blocking."""

    @dg.asset_check(
        asset="ingested_data",
        blocking=True,
        description="The columns of the table and their types are those of events/columns.py.",
    )
    def columns_are_as_declared(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        return _schema_result(settings, schema_difference(warehouse.for_run(context.run.run_id)))

    return columns_are_as_declared


def version_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``no_new_event_versions`` of ``ingested_data``, per hour."""

    @dg.asset_check(
        asset="ingested_data",
        partitions_def=arrival_hours(settings),
        description=f"No valid event of the hour has a schema version not seen in the {VERSION_DAYS} days before. Warns.",
    )
    def no_new_event_versions(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        hour = hour_of(context.partition_key)
        return _version_result(settings, version_drift(warehouse.for_run(context.run.run_id), hour))

    return no_new_event_versions


def _schema_result(settings: Settings, found: SchemaDifference) -> dg.AssetCheckResult:
    text = f"All {len(found.expected)} columns are as declared."
    if not found.agrees:
        parts = [
            ("missing", found.missing),
            ("not declared", found.extra),
            ("of another type", found.changed),
        ]
        said = "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)
        text = (
            f"The table differs from events/columns.py: {said}. Someone altered it, or a migration is due; "
            "loads may fail or leave columns empty until the two agree."
        )
    names = dict.fromkeys([*found.expected, *found.actual])
    return dg.AssetCheckResult(
        passed=found.agrees,
        description=text,
        metadata={
            "columns that differ": len(found.missing) + len(found.extra) + len(found.changed),
            "columns": table(
                [
                    {
                        "column": name,
                        "expected": found.expected.get(name, "(not declared)"),
                        "actual": found.actual.get(name, "(missing)"),
                        "agrees": found.expected.get(name) == found.actual.get(name),
                    }
                    for name in names
                ]
            ),
            "what to do": dg.MetadataValue.url(runbook(settings, "columns_are_as_declared")),
        },
    )


def _version_result(settings: Settings, found: VersionDrift) -> dg.AssetCheckResult:
    text = f"{moment(found.hour)}: versions {', '.join(found.rows) or '(no valid rows)'}; none is new."
    if found.new:
        news = "; ".join(
            f"{version}: {found.rows[version]:,} rows from {first_three(sources)}"
            for version, sources in found.new.items()
        )
        text = (
            f"{moment(found.hour)}: versions not seen in {VERSION_DAYS} days: {news}. Nothing is held back. Ask "
            "the producer whether the change was meant, and register its schema."
        )
    return dg.AssetCheckResult(
        passed=not found.new,
        severity=dg.AssetCheckSeverity.WARN,
        description=text,
        metadata={
            "new versions": len(found.new),
            "versions": table([{"version": name, "rows": rows} for name, rows in found.rows.items()]),
            "versions of the days before, not in this hour": ", ".join(found.gone),
            "what to do": dg.MetadataValue.url(runbook(settings, "no_new_event_versions")),
        },
    )
