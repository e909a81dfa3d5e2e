"""Does an hour add up? Ledger = objects = rows.

Only what stands still is compared: the ledger is read before and after the stores, and a batch that
a run moved meanwhile, or that is not LOADED, is counted as under way. So a check beside a running
load does not cry wolf, and a loaded batch is never let off.

Belongs here: comparing what the ledger says of an hour with what the stores hold.
Does not belong here: repairing what differs (docs/runbook), ids within the rows
(``repeated_ids.py``), or checks of the whole ledger (``standing.py``).
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_hours, hour_of
from wotr_pipeline.checks.presentation import Metadata, first_three, moment, runbook, table
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch, BatchState
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import RAW, hour_prefix, raw_key
from wotr_pipeline.stores.objects import ObjectInfo, ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

LOOKS_AT_ONCE = 8
"""Objects whose metadata is asked for at the same time: one question costs some milliseconds."""


@dataclass(frozen=True)
class Finding:
    """One thing that differs. ``since``: when the batch was loaded, or landed; None for what no batch owns."""

    batch_id: str
    what: str
    expected: str
    found: str
    since: datetime | None = None


@dataclass(frozen=True)
class Reconciliation:
    """What was compared for an hour and what differs. Counts are of the batches that stand still,
    except ``found_rows``, which is the hour's plain ``count()``."""

    hour: datetime
    batches: int
    under_way: int
    expected_rows: int
    found_rows: int
    rows_under_way: int
    raw_objects: int
    dead_letters: int
    findings: tuple[Finding, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.findings

    @property
    def batch_ids(self) -> tuple[str, ...]:
        """Batches with a finding, each once, in order."""
        return tuple(dict.fromkeys(finding.batch_id for finding in self.findings))


@dataclass(frozen=True)
class _Rows:
    rows: int
    failed: int
    offsets: int


def reconcile_hour(
    ledger: Ledger, warehouse: Warehouse, objects: ObjectStore, hour: datetime
) -> Reconciliation:
    """Compare ledger, objects and rows of an arrival hour, all topics.

    Raises:
        TransientError, PermanentError: a store is away or refuses; nothing is known then.
    """
    before = {batch.id: batch for batch in ledger.batches(hour)}
    listed = {info.key: info for info in objects.list(hour_prefix(RAW, hour))}
    table_rows = {
        row["batch_id"]: _Rows(row["rows"], row["failed"], row["offsets"])
        for row in warehouse.select("check_batch_rows", {"arrival_hour": int(hour.timestamp())}).to_pylist()
    }
    after = ledger.batches(hour)
    still = [batch for batch in after if before.get(batch.id) == batch]
    loaded = [batch for batch in still if batch.state is BatchState.LOADED]
    findings = [
        *_row_findings(loaded, after, table_rows),
        *_raw_findings([batch for batch in still if batch.raw_key], after, listed, objects),
        *_dead_letter_findings(loaded, ledger, objects),
    ]
    loaded_ids = {batch.batch_id for batch in loaded}
    return Reconciliation(
        hour=hour,
        batches=len(loaded),
        under_way=len(after) - len(loaded),
        expected_rows=sum(_expected_rows(batch) for batch in loaded),
        found_rows=sum(rows.rows for rows in table_rows.values()),
        rows_under_way=sum(r.rows for name, r in table_rows.items() if name not in loaded_ids),
        raw_objects=len(listed),
        dead_letters=sum(batch.rejected or 0 for batch in loaded),
        findings=tuple(findings),
    )


def _expected_rows(batch: Batch) -> int:
    return (batch.valid or 0) - (batch.duplicate or 0) + (batch.rejected or 0)


def _row_findings(
    loaded: Iterable[Batch], known: Iterable[Batch], found: Mapping[str, _Rows]
) -> Iterator[Finding]:
    for batch in loaded:
        rows = found.get(batch.batch_id, _Rows(0, 0, 0))
        for what, expected, actual in (
            ("rows in ClickHouse", _expected_rows(batch), rows.rows),
            ("failed rows in ClickHouse", batch.rejected or 0, rows.failed),
            ("different Kafka offsets in ClickHouse", rows.rows, rows.offsets),
        ):
            if expected != actual:
                yield Finding(batch.batch_id, what, f"{expected:,}", f"{actual:,}", batch.loaded_at)
    for name in sorted(found.keys() - {batch.batch_id for batch in known}):
        yield Finding(name, "rows of a batch that the ledger does not have", "0", f"{found[name].rows:,}")


def _raw_findings(
    landed: Iterable[Batch], known: Iterable[Batch], listed: Mapping[str, ObjectInfo], objects: ObjectStore
) -> Iterator[Finding]:
    there = []
    for batch in landed:
        info = listed.get(batch.raw_key or "")
        if info is None:
            yield Finding(batch.batch_id, f"raw object {batch.raw_key}", "there", "missing", batch.landed_at)
        elif info.size != batch.raw_bytes:
            yield Finding(
                batch.batch_id,
                "bytes of the raw object",
                f"{batch.raw_bytes:,}",
                f"{info.size:,}",
                batch.landed_at,
            )
        else:
            there.append(batch)
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        heads = pool.map(objects.head, [batch.raw_key or "" for batch in there])
        for batch, head in zip(there, heads, strict=True):
            told = head.metadata if head else {}
            for name, expected in (("sha256", batch.raw_sha256), ("records", str(batch.records))):
                if told.get(name) != expected:
                    what = f"{name} in the raw object's metadata"
                    yield Finding(
                        batch.batch_id, what, str(expected), told.get(name, "none"), batch.landed_at
                    )
    # An object of a batch that is about to land has its name already, from the plan.
    for key in sorted(listed.keys() - {raw_key(batch) for batch in known}):
        yield Finding(
            "(none)", f"raw object {key}, of no batch of the ledger", "none", "there", listed[key].modified
        )


def _dead_letter_findings(loaded: Iterable[Batch], ledger: Ledger, objects: ObjectStore) -> Iterator[Finding]:
    rejecting = [batch for batch in loaded if batch.rejected]
    pruned = ledger.pruned_objects([batch.dead_letters_key for batch in rejecting if batch.dead_letters_key])
    rejecting = [batch for batch in rejecting if batch.dead_letters_key not in pruned]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        for batch, lines in zip(rejecting, pool.map(lambda b: _lines(b, objects), rejecting), strict=True):
            if lines != batch.rejected:
                found = "no object" if lines is None else f"{lines:,}"
                yield Finding(batch.batch_id, "dead letters", f"{batch.rejected:,}", found, batch.loaded_at)


def _lines(batch: Batch, objects: ObjectStore) -> int | None:
    head = objects.head(batch.dead_letters_key) if batch.dead_letters_key else None
    if head is None:
        return None
    if head.metadata.get("records", "").isdigit():
        return int(head.metadata["records"])
    return objects.get(head.key).count(b"\n")


def reconciliation_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``ledger_objects_and_rows_agree`` of ``ingested_data``, per hour."""

    @dg.asset_check(
        asset="ingested_data",
        name="ledger_objects_and_rows_agree",
        partitions_def=arrival_hours(settings),
        description="For every loaded batch of the hour: raw object there, with the ledger's size, sha256 and "
        "records; as many dead letters as rejected records; as many rows as valid - duplicate + rejected.",
    )
    def ledger_objects_and_rows_agree(
        context: dg.AssetCheckExecutionContext,
        ledger: dg.ResourceParam[Ledger],
        objects: dg.ResourceParam[ObjectStore],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.AssetCheckResult:
        hour = hour_of(context.partition_key)
        found = reconcile_hour(ledger, warehouse.for_run(context.run.run_id), objects, hour)
        return dg.AssetCheckResult(
            passed=found.agrees,
            description=_sentence(found),
            metadata=_metadata(settings, found),
        )

    return ledger_objects_and_rows_agree


def _sentence(found: Reconciliation) -> str:
    under_way = f" {found.under_way:,} more batches are under way." if found.under_way else ""
    if found.agrees:
        return (
            f"{moment(found.hour)}: {found.batches:,} batches agree, {found.expected_rows:,} rows.{under_way}"
        )
    dates = [finding.since for finding in found.findings if finding.since]
    since = f" since {moment(min(dates))}" if dates else ""
    first = found.findings[0]
    return (
        f"{moment(found.hour)}: {len(found.findings):,} differences in {len(found.batch_ids):,} of "
        f"{found.batches:,} loaded batches{since}: {first_three(found.batch_ids)}. The first: {first.what}, "
        f"expected {first.expected}, found {first.found}. Reprocess the hour if rows differ; restore the "
        f"object from the newest verified backup if one is missing or changed.{under_way}"
    )


def _metadata(settings: Settings, found: Reconciliation) -> Metadata:
    return {
        "differences": dg.MetadataValue.int(len(found.findings)),
        "batches compared": dg.MetadataValue.int(found.batches),
        "batches under way": dg.MetadataValue.int(found.under_way),
        "rows by the ledger": dg.MetadataValue.int(found.expected_rows),
        "rows in ClickHouse": dg.MetadataValue.int(found.found_rows),
        "rows of batches under way": dg.MetadataValue.int(found.rows_under_way),
        "raw objects": dg.MetadataValue.int(found.raw_objects),
        "dead letters": dg.MetadataValue.int(found.dead_letters),
        "what differs": table(
            [
                {
                    "batch": finding.batch_id,
                    "what": finding.what,
                    "expected": finding.expected,
                    "found": finding.found,
                    "since": moment(finding.since) if finding.since else "",
                }
                for finding in found.findings
            ]
        ),
        "what to do": dg.MetadataValue.url(runbook(settings, "ledger_objects_and_rows_agree")),
    }
