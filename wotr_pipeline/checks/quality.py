"""The checks that the ingest op reports itself: what the gate found in the batches of a run.

Belongs here: their specs, one per name that ``expectations.py`` gives, and turning gate results into
what Dagster shows.
Does not belong here: the expectations, or checks that can be executed on their own (``standing.py``,
``reconciliation.py`` and their neighbours).
Concept: https://docs.dagster.io/guides/test/asset-checks
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_hours, hour_of
from wotr_pipeline.checks.expectations import (
    COMPLETE,
    CONTRACT,
    ODD,
    REASONS,
    REJECTED,
    ExpectationResult,
    GateResult,
    merge,
    report,
)
from wotr_pipeline.checks.presentation import Line, Metadata, first_three, runbook, share, table
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.warehouse import Warehouse


@dataclass(frozen=True)
class GateCheck:
    """An asset check that shows the expectations of its name."""

    name: str
    asset: str
    description: str
    blocking: bool


GATE_CHECKS = (
    GateCheck(
        COMPLETE,
        "raw_objects",
        "Every record of a raw object has one judged row: their number is the ledger's, no Kafka offset is "
        "there twice or outside of the batch. Gate: a batch that fails is quarantined, not loaded.",
        blocking=True,
    ),
    GateCheck(
        CONTRACT,
        "validated_batches",
        "What the rules let through keeps the event contract. A failure means that the rules or the engine "
        "are wrong, not a producer. Gate: a batch that fails is quarantined, not loaded.",
        blocking=True,
    ),
    GateCheck(
        REASONS,
        "dead_letters",
        "Every rejected row has a code and a message, no valid one has. Gate: a batch that fails is "
        "quarantined, not loaded.",
        blocking=True,
    ),
    GateCheck(
        REJECTED,
        "dead_letters",
        "The share of rejected rows among the run's rows. Warns; nothing is held back: the rejected ones "
        "are dead letters and failed rows.",
        blocking=False,
    ),
    GateCheck(
        ODD,
        "validated_batches",
        "The shares of events that are late, dated in the future, far off their hour, or carry a warning. "
        "Warns; nothing is held back.",
        blocking=False,
    ),
)


def check_specs(settings: Settings) -> list[dg.AssetCheckSpec]:
    """Specs of the gate's checks for the ingest op.

    ``blocking`` stops what is downstream in the same run only; what keeps a bad batch out of the
    table is the gate in the op itself.
    """
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=check.asset,
            description=check.description,
            blocking=check.blocking,
            partitions_def=arrival_hours(settings),
            metadata={"runbook": dg.MetadataValue.url(runbook(settings, check.name))},
        )
        for check in GATE_CHECKS
    ]


def check_results(settings: Settings, gates: Sequence[GateResult]) -> Iterator[dg.AssetCheckResult]:
    """One result a check for the run's batches; none at all for a run that judged no batch."""
    merged = merge(gates)
    for check in GATE_CHECKS:
        results = merged.of(check.name)
        if results:
            yield dg.AssetCheckResult(
                passed=all(result.success for result in results),
                asset_key=check.asset,
                check_name=check.name,
                severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
                description=summary(merged, results),
                metadata=metadata(merged, results, runbook(settings, check.name)),
            )


def report_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``rows_keep_the_contract`` of ``ingested_data``, per hour: the report on its rows."""

    @dg.asset_check(
        asset="ingested_data",
        partitions_def=arrival_hours(settings),
        description="The expectations on rows, over everything that the table holds of the hour. An error says "
        "that rows break the contract, a warning that producers send much that is rejected, late or odd.",
    )
    def rows_keep_the_contract(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        found = report(warehouse.for_run(context.run.run_id), hour_of(context.partition_key))
        error = bool(found.blocking_failures)
        return dg.AssetCheckResult(
            passed=all(result.success for result in found.results),
            severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
            description=summary(found, found.results),
            metadata=metadata(found, found.results, runbook(settings, "rows_keep_the_contract")),
        )

    return rows_keep_the_contract


def summary(merged: GateResult, results: Sequence[ExpectationResult]) -> str:
    """What happened, how much, where first, in a sentence or two."""
    failed = [result for result in results if not result.success]
    if not failed:
        return f"All {len(results)} expectations hold for {merged.rows:,} rows ({_subjects(merged)})."
    texts = [
        f"not so that {result.description}: {share(result.observed, result.total)}"
        + (f", in {first_three(where)}" if (where := _failed_in(merged, result.name)) else "")
        for result in failed
    ]
    return f"{'; '.join(texts)}. {_consequence(merged)}"


def metadata(merged: GateResult, results: Sequence[ExpectationResult], link: str) -> Metadata:
    """Numbers to plot, a line an expectation, ids (never a payload), and where to read on."""
    lines: list[Line] = [
        {
            "expectation": result.description,
            "holds": result.success,
            "rows": result.observed,
            "percent": round(result.percent, 4),
            "allowed rows": result.allowed,
            "some ids": ", ".join(result.sample_ids),
            "first batches": first_three(_failed_in(merged, result.name)),
        }
        for result in results
    ]
    shown: Metadata = {
        "rows checked": dg.MetadataValue.int(merged.rows),
        "batches checked": dg.MetadataValue.int(merged.subjects),
        "expectations": table(lines),
        "what to do": dg.MetadataValue.url(link),
    }
    for result in results:
        shown[f"{result.name}: rows"] = dg.MetadataValue.int(result.observed)
        shown[f"{result.name}: percent"] = dg.MetadataValue.float(result.percent)
    return shown


def _consequence(found: GateResult) -> str:
    if not found.blocking_failures:
        return "Nothing is held back."
    if found.failed_in is None:
        return "These rows are in the table: mend the rules, then reprocess the hour."
    return "These batches were not loaded; they are quarantined until someone reopens them."


def _failed_in(merged: GateResult, name: str) -> Sequence[str]:
    return (merged.failed_in or {}).get(name, ())


def _subjects(merged: GateResult) -> str:
    return merged.subject if merged.subjects == 1 else f"{merged.subjects} batches"
