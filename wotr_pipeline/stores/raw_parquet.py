"""How Kafka's records lie in a raw object: a Parquet file of the bytes as they were received.

Belongs here: the columns of raw objects, and Arrow table to Parquet bytes and back.
Does not belong here: where objects are put (``objects.py``) or what the bytes mean (``events/``).
"""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

HEADERS = pa.list_(pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary())]))

RAW_SCHEMA = pa.schema(
    [
        pa.field("kafka_offset", pa.int64(), nullable=False),
        pa.field("kafka_timestamp", pa.timestamp("ms", tz="UTC")),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", HEADERS),
    ]
)
"""``kafka_timestamp`` is null when the record has none, ``value`` is null for a tombstone."""

ROW_GROUP_ROWS = 65_536
"""Small enough for the engine to read groups side by side, large enough for zstd to find repetitions."""


def encode(table: pa.Table, metadata: Mapping[str, str] | None = None) -> bytes:
    """``table`` (``RAW_SCHEMA``) as a Parquet file; ``metadata`` goes into the file's own key-value list."""
    if metadata:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    sink = pa.BufferOutputStream()
    # Statistics and dictionaries of bytes that hardly ever repeat cost time and are of no use.
    pq.write_table(
        table,
        sink,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_statistics=["kafka_offset", "kafka_timestamp"],
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes) -> pa.Table:
    """The table that ``encode`` was given."""
    return pq.read_table(pa.BufferReader(data), schema=RAW_SCHEMA)
