"""How results look on a run page: metadata for someone who reads it at 2 AM.

Belongs here: turning batches and counts into Dagster metadata (tables, links, numbers to plot).
Does not belong here: any decision, or any content of an event.
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
import pyarrow as pa

from wotr_pipeline.config import Settings
from wotr_pipeline.events.columns import STAGING, arrow_schema
from wotr_pipeline.stores.batch import Batch, HourAccount
from wotr_pipeline.stores.loading import VerdictChange
from wotr_pipeline.stores.raw_parquet import RAW_SCHEMA
from wotr_pipeline.stores.warehouse import Warehouse

Metadata = dict[str, dg.MetadataValue]

LEFT_IN_THE_RAW_OBJECT = {"ok", "payload", "validation_status", "arrival_hour", "batch_id"}
VALIDATED = [
    column
    for column in STAGING
    if column.name not in LEFT_IN_THE_RAW_OBJECT and not column.name.startswith("error_")
]
"""Columns of the objects below ``validated/``."""

ROWS_SHOWN = 50
"""Most batches listed on one materialization; the counts cover all of them."""


def table_columns(warehouse: Warehouse, table: str) -> dg.TableSchema:
    """Columns and types of a ClickHouse table as the engine has them now."""
    columns = warehouse.select("table_columns", {"table": table})
    return dg.TableSchema(
        [dg.TableColumn(row["name"], row["type"], row["comment"]) for row in columns.to_pylist()]
    )


def arrow_columns(schema: pa.Schema) -> dg.TableSchema:
    """Columns and types of an Arrow schema."""
    return dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in schema])


def batch_table(batches: Sequence[Batch]) -> dg.TableMetadataValue:
    """The batches of a run, the first ``ROWS_SHOWN`` of them."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "batch": batch.batch_id,
                    "state": batch.state.value,
                    "records": batch.records or 0,
                    "valid": batch.valid or 0,
                    "rejected": batch.rejected or 0,
                    "duplicate": batch.duplicate or 0,
                    "attempts": batch.attempts,
                    "raw object": batch.raw_key or "",
                }
            )
            for batch in batches[:ROWS_SHOWN]
        ],
        schema=dg.TableSchema(
            [
                dg.TableColumn("batch", "string"),
                dg.TableColumn("state", "string"),
                *(
                    dg.TableColumn(name, "int")
                    for name in ("records", "valid", "rejected", "duplicate", "attempts")
                ),
                dg.TableColumn("raw object", "string"),
            ]
        ),
    )


def offsets_text(batches: Iterable[Batch]) -> str:
    """``partition first-last`` for every partition the batches touch."""
    ranges: dict[int, tuple[int, int]] = {}
    for batch in batches:
        first, last = ranges.get(batch.partition, (batch.first_offset, batch.last_offset))
        ranges[batch.partition] = (min(first, batch.first_offset), max(last, batch.last_offset))
    return ", ".join(f"partition {p}: {first}-{last}" for p, (first, last) in sorted(ranges.items()))


def ingest_metadata(
    settings: Settings, batches: Sequence[Batch], account: HourAccount, warehouse: Warehouse
) -> Mapping[str, Metadata]:
    """Metadata for the four assets of an ingest run, by the asset's name."""
    bucket = settings.minio_bucket
    hour = f"date={account.hour:%Y-%m-%d}/hour={account.hour:%H}/"
    common: Metadata = {
        "batches of this run": batch_table(batches),
        "Kafka offsets of this run": dg.MetadataValue.text(offsets_text(batches)),
        "runbook": dg.MetadataValue.url(settings.runbook("operating.md")),
    }

    def numbers(**values: int) -> Metadata:
        return {name.replace("_", " "): dg.MetadataValue.int(value) for name, value in values.items()}

    return {
        "raw_objects": {
            "dagster/row_count": dg.MetadataValue.int(account.records),
            "dagster/uri": dg.MetadataValue.text(f"s3://{bucket}/raw/{hour}"),
            "dagster/column_schema": dg.MetadataValue.table_schema(arrow_columns(RAW_SCHEMA)),
            **numbers(
                records_in_this_run=sum(batch.records or 0 for batch in batches),
                bytes_of_objects_in_this_run=sum(batch.raw_bytes or 0 for batch in batches),
                batches_of_the_hour=account.batches,
            ),
            **common,
        },
        "validated_batches": {
            "dagster/row_count": dg.MetadataValue.int(account.valid),
            "dagster/uri": dg.MetadataValue.text(f"s3://{bucket}/validated/{hour}"),
            "dagster/column_schema": dg.MetadataValue.table_schema(arrow_columns(arrow_schema(VALIDATED))),
            **numbers(
                valid_in_this_run=sum(batch.valid or 0 for batch in batches),
                rejected_in_this_run=sum(batch.rejected or 0 for batch in batches),
            ),
            **common,
        },
        "dead_letters": {
            "dagster/row_count": dg.MetadataValue.int(account.rejected),
            "dagster/uri": dg.MetadataValue.text(f"s3://{bucket}/dead-letters/{hour}"),
            **numbers(dead_letters_in_this_run=sum(batch.rejected or 0 for batch in batches)),
            **common,
        },
        "ingested_data": {
            "dagster/row_count": dg.MetadataValue.int(account.rows),
            "dagster/table_name": dg.MetadataValue.text(f"{settings.clickhouse_db}.ingested_data"),
            "dagster/column_schema": dg.MetadataValue.table_schema(table_columns(warehouse, "ingested_data")),
            "dagster/column_lineage": dg.MetadataValue.column_lineage(_lineage()),
            **numbers(
                rows_loaded_in_this_run=sum(
                    (b.valid or 0) - (b.duplicate or 0) + (b.rejected or 0) for b in batches
                ),
                duplicates_left_out_in_this_run=sum(batch.duplicate or 0 for batch in batches),
                duplicates_of_the_hour=account.duplicate,
            ),
            **common,
        },
    }


def _lineage() -> dg.TableColumnLineage:
    """Where the columns of ``ingested_data`` come from; the verdict's columns depend on the whole message."""
    origins = {
        "created_at": "kafka_timestamp",
        "arrival_hour": "kafka_timestamp",
        "kafka_offset": "kafka_offset",
    }
    return dg.TableColumnLineage(
        {
            column.name: [dg.TableColumnDep("raw_objects", origins.get(column.name, "value"))]
            for column in STAGING
            if column.name not in ("ok", "batch_id", "kafka_partition")
        }
    )


def change_table(changes: Iterable[tuple[Batch, VerdictChange]]) -> dg.TableMetadataValue:
    """What a reprocess would change: a line per batch, old and new verdict."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "batch": batch.batch_id,
                    "verdict now": f"{change.old_status} {change.old_error_code}".strip(),
                    "verdict by today's rules": f"{change.new_status} {change.new_error_code}".strip(),
                    "rows": change.rows,
                    "some ids": ", ".join(change.sample_ids),
                }
            )
            for batch, change in changes
        ][:ROWS_SHOWN],
        schema=dg.TableSchema(
            [
                dg.TableColumn("batch", "string"),
                dg.TableColumn("verdict now", "string"),
                dg.TableColumn("verdict by today's rules", "string"),
                dg.TableColumn("rows", "int"),
                dg.TableColumn("some ids", "string"),
            ]
        ),
    )
