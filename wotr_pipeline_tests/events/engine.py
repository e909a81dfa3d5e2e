"""Runs judge.sql in ClickHouse's engine, in this process, over a Parquet file of messages.

Belongs here: the one in-memory engine of this test process (chDB allows one) and the statement's source swapped.
Does not belong here: what the statement should say.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import chdb
import pyarrow as pa
import pyarrow.parquet as pq

from wotr_pipeline.events.columns import STAGING, BatchContext, JudgedMessage, names
from wotr_pipeline.events.rules import judge
from wotr_pipeline.sql import statement

ARRIVED = datetime(2026, 11, 23, 8, 59, 59, 123000, tzinfo=UTC)
BATCH = BatchContext("ingest-events:3:0-999", datetime(2026, 11, 23, 8, tzinfo=UTC), 3)

_RAW = pa.schema(
    [("kafka_offset", pa.int64()), ("kafka_timestamp", pa.timestamp("ms", "UTC")), ("value", pa.binary())]
)
_S3 = "s3(\n    wotr_objects,\n    filename = {key:String},"


@cache
def connection() -> "chdb.Connection":
    return chdb.connect(":memory:")


def arrival(offset: int) -> datetime:
    return ARRIVED + timedelta(milliseconds=offset)


def judge_statement() -> str:
    """The statement as production runs it, but reading a local file."""
    raw_rows = statement("raw_rows")
    assert raw_rows.count(_S3) == 1
    raw_rows = raw_rows.replace(_S3, "file({path:String},").replace("format =", "").replace("structure =", "")
    return f"WITH raw_rows AS ({raw_rows}) {statement('judge')}"


def judged_by_sql(values: Sequence[bytes | None], directory: Path) -> list[dict[str, object]]:
    """One row a message, in order."""
    path = directory / "raw.parquet"
    offsets = range(len(values))
    columns = [list(offsets), [arrival(offset) for offset in offsets], list(values)]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, _RAW, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=_RAW), path)
    connection().query("DROP TABLE IF EXISTS default.staging")
    connection().query(
        f"CREATE TABLE default.staging ENGINE = Memory AS {judge_statement()}",
        params={
            "path": str(path),
            "batch_id": BATCH.batch_id,
            "arrival_hour": str(int(BATCH.arrival_hour.timestamp())),
            "partition": BATCH.kafka_partition,
        },
    )
    return read_staging()


def read_staging(table: str = "default.staging") -> list[dict[str, object]]:
    """The rows of a staging table by offset; texts as bytes, because a doubtful payload may be anything."""
    # Arrow has no Enum8, DateTime would come as a number, and Python has no year 0 (of a doubtful row).
    plain = {
        "timestamp": "if(ok, timestamp, toDateTime64(0, 6, 'UTC')) AS timestamp",
        "validation_status": "toString(validation_status) AS validation_status",
        "arrival_hour": "toDateTime64(arrival_hour, 0, 'UTC') AS arrival_hour",
    }
    columns = ", ".join(plain.get(name, name) for name in names(STAGING))
    answer = connection().query(
        f"SELECT {columns} FROM {table} ORDER BY kafka_offset SETTINGS output_format_arrow_string_as_string = 0",
        "Arrow",
    )
    rows: list[dict[str, object]] = pa.ipc.open_file(pa.py_buffer(answer.bytes())).read_all().to_pylist()
    return rows


def judged_by_rules(values: Sequence[bytes | None]) -> list[JudgedMessage]:
    return [
        JudgedMessage(offset, arrival(offset), value, judge(value)) for offset, value in enumerate(values)
    ]


def as_bytes(row: dict[str, object]) -> dict[str, object]:
    """A row of judged_rows as read_staging would give it."""

    def plain(value: object) -> object:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value

    return {name: plain(value) for name, value in row.items()}
