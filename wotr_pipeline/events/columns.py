"""The columns of a judged event, declared once.

Belongs here: names, types and descriptions of the columns of ``ingested_data`` and of a staging table, what
derives from them (column lists, Arrow schema), and judged events as an Arrow table.
Does not belong here: engines, keys and partitions of tables (``sql/``), or the rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from .rules import Accepted, Rejected

KEPT_OF_FAILED_BYTES = 16 * 1024
"""How much of a failed event's text its row keeps. The dead letter has the original bytes, all of them."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its types in ClickHouse and in Arrow, and what it says."""

    name: str
    clickhouse: str
    arrow: pa.DataType
    description: str
    computed: str = ""
    """SQL expression of a column that the engine computes itself; such columns are never inserted."""


_SYMBOL = "LowCardinality(String)"
_TEXT = pa.string()

INGESTED_DATA: tuple[Column, ...] = (
    Column("id", "String", _TEXT, "Id given by the producer; unique among valid rows. '' if unreadable."),
    Column("event_type", _SYMBOL, _TEXT, "Kind of event, of the contract's closed set. '' if unreadable."),
    Column("source", _SYMBOL, _TEXT, "Service that sent the event. '' if unreadable."),
    Column(
        "timestamp",
        "DateTime64(6, 'UTC')",
        pa.timestamp("us", "UTC"),
        "When it happened, says the producer; created_at if unreadable.",
    ),
    Column(
        "payload",
        "String",
        _TEXT,
        "JSON text of the payload as it was written; for failed rows the start of the whole message.",
    ),
    Column("size_bytes", "UInt32", pa.uint32(), "Size of the whole message."),
    Column("validation_status", "Enum8('valid' = 1, 'failed' = 2)", _TEXT, "Whether it keeps the contract."),
    Column("error_code", _SYMBOL, _TEXT, "Reason code of a failed event, of a closed set; '' if valid."),
    Column(
        "error_field", _SYMBOL, _TEXT, "Path of the field that broke the contract; '' is the whole message."
    ),
    Column("error_message", "String", _TEXT, "What is wrong, without the value's content; '' if valid."),
    Column("warnings", f"Array({_SYMBOL})", pa.list_(_TEXT), "Codes of what is odd about a valid event."),
    Column("user_id", "String", _TEXT, "User the event belongs to; '' if absent."),
    Column("session_id", "String", _TEXT, "Session the event belongs to; '' if absent."),
    Column("ip_address", "String", _TEXT, "IPv4 address the event came from; '' if absent."),
    Column("tags", f"Array({_SYMBOL})", pa.list_(_TEXT), "The producer's tags."),
    Column("version", _SYMBOL, _TEXT, "Version of the event's schema, MAJOR.MINOR. '' if unreadable."),
    Column(
        "created_at", "DateTime64(3, 'UTC')", pa.timestamp("ms", "UTC"), "When it arrived: Kafka's timestamp."
    ),
    Column("arrival_hour", "DateTime('UTC')", pa.timestamp("s", "UTC"), "Hourly partition of its batch."),
    Column("kafka_partition", "Int32", pa.int32(), "Kafka partition it came from."),
    Column("kafka_offset", "Int64", pa.int64(), "Kafka offset it came from."),
    Column("batch_id", _SYMBOL, _TEXT, "Batch that loaded it: topic:partition:first-last."),
    Column("id_hash", "UInt64", pa.uint64(), "Hash of id, to find duplicates.", computed="sipHash64(id)"),
)
"""Columns of wotr.ingested_data, in order."""

STAGING: tuple[Column, ...] = (
    Column("ok", "UInt8", pa.uint8(), "1: judged. 0: doubtful, payload holds the message's bytes."),
    *(column for column in INGESTED_DATA if not column.computed),
)
"""Columns of a staging table, in order: what judge.sql selects."""


def names(columns: Sequence[Column]) -> tuple[str, ...]:
    """Their names, in order."""
    return tuple(column.name for column in columns)


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Their Arrow schema. No column is nullable."""
    return pa.schema([pa.field(column.name, column.arrow, nullable=False) for column in columns])


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What all rows of a batch share."""

    batch_id: str
    arrival_hour: datetime
    kafka_partition: int


@dataclass(frozen=True, slots=True)
class JudgedMessage:
    """One message with its verdict. ``created_at`` is aware, with milliseconds."""

    kafka_offset: int
    created_at: datetime
    value: bytes | None
    verdict: Accepted | Rejected


def judged_rows(batch: BatchContext, messages: Sequence[JudgedMessage]) -> pa.Table:
    """The rows of judged messages, with STAGING's schema and ok = 1."""
    rows = [_row(batch, message) for message in messages]
    schema = arrow_schema(STAGING)
    columns = zip(*rows, strict=True) if rows else [[] for _ in STAGING]
    arrays = [pa.array(values, column.arrow) for values, column in zip(columns, STAGING, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _row(batch: BatchContext, message: JudgedMessage) -> tuple[object, ...]:
    verdict = message.verdict
    position = (
        message.created_at.astimezone(UTC),
        batch.arrival_hour.astimezone(UTC),
        batch.kafka_partition,
        message.kafka_offset,
        batch.batch_id,
    )
    size = len(message.value or b"")
    if isinstance(verdict, Accepted):
        return (
            1,
            verdict.id,
            verdict.event_type,
            verdict.source,
            verdict.timestamp,
            verdict.payload,
            size,
            "valid",
            "",
            "",
            "",
            [warning.value for warning in verdict.warnings],
            verdict.user_id,
            verdict.session_id,
            verdict.ip_address,
            list(verdict.tags),
            verdict.version,
            *position,
        )
    return (
        1,
        verdict.id or "",
        verdict.event_type or "",
        verdict.source or "",
        verdict.timestamp or message.created_at,
        readable_start(message.value or b""),
        size,
        "failed",
        verdict.reason.value,
        verdict.field,
        verdict.message,
        [],
        "",
        "",
        "",
        [],
        verdict.version or "",
        *position,
    )


def readable_start(value: bytes) -> str:
    """The start of a message as text: invalid UTF-8 replaced, at most KEPT_OF_FAILED_BYTES bytes of UTF-8."""
    text = value[:KEPT_OF_FAILED_BYTES].decode("utf-8", "replace")
    return text.encode()[:KEPT_OF_FAILED_BYTES].decode("utf-8", "ignore")
