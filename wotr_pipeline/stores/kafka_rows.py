"""From librdkafka's messages to the columns of a raw object, a chunk at a time.

Belongs here: the one loop that touches every record in Python, and its byte bound.
Does not belong here: where the messages come from (``kafka_records.py``).
"""

from collections.abc import Callable
from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Message

from .raw_parquet import HEADERS, RAW_SCHEMA

ARROW_RECORDS = 8_192
ARROW_BYTES = 32 * 1024**2
"""Records are moved from Python objects into Arrow memory whenever one of the two is reached."""

Headers = list[tuple[str, bytes | None]]
UNREADABLE_HEADERS: Headers = [("wotr-unreadable-headers", None)]
"""Stands for the headers of a record of which one has a name that is not UTF-8."""
Record = Any
"""A confluent_kafka.Message. Its type hints let every part be None, which no consumed record's offset is."""
error_of: Callable[[Record], Any] = Message.error
offset_of: Callable[[Record], int] = Message.offset  # type: ignore[assignment]
_timestamp_of: Callable[[Record], tuple[int, int]] = Message.timestamp
_milliseconds_of = itemgetter(1)
_key_of: Callable[[Record], bytes | None] = Message.key
_value_of: Callable[[Record], bytes | None] = Message.value
_headers_of: Callable[[Record], Headers | None] = Message.headers  # type: ignore[assignment]


class RecordRows:
    """Records on their way from Python objects into Arrow, up to ``max_bytes`` and one at least."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.records = 0
        self.bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._begin()

    def _begin(self) -> None:
        self._offsets: list[int] = []
        self._timestamps: list[int] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._headers: list[Headers | None] = []
        self._any_headers = False
        self._waiting_bytes = 0

    def add(self, messages: list[Record]) -> int:
        """Take the leading messages that fit; returns how many."""
        # The hot loop of landing: whole columns by map(), no Python code per record.
        keys = list(map(_key_of, messages))
        headers = _all_headers(messages)
        any_headers = any(headers)
        size = sum(map(len, messages)) + sum(map(len, filter(None, keys)))
        if any_headers:
            size += sum(map(_headers_bytes, headers))
        if self.bytes + size > self._max_bytes:
            room = self._max_bytes - self.bytes
            sizes = (
                len(message) + len(key or b"") + _headers_bytes(header)
                for message, key, header in zip(messages, keys, headers, strict=True)
            )
            taken = sum(1 for total in accumulate(sizes) if total <= room)
            if not taken and not self.records and messages:
                taken, self._max_bytes = 1, size
            return self.add(messages[:taken]) if taken else 0
        self._offsets += map(offset_of, messages)
        self._timestamps += map(_milliseconds_of, map(_timestamp_of, messages))
        self._keys += keys
        self._values += map(_value_of, messages)
        self._headers += headers
        self._any_headers |= any_headers
        self.records += len(messages)
        self.bytes += size
        self._waiting_bytes += size
        if len(self._offsets) >= ARROW_RECORDS or self._waiting_bytes >= ARROW_BYTES:
            self._flush()
        return len(messages)

    def _flush(self) -> None:
        milliseconds = np.array(self._timestamps, dtype=np.int64)
        columns = [
            pa.array(self._offsets, pa.int64()),
            pa.array(milliseconds, pa.int64(), mask=milliseconds < 0).cast(pa.timestamp("ms", tz="UTC")),
            pa.array(self._keys, pa.binary()),
            pa.array(self._values, pa.binary()),
            pa.array(self._headers, HEADERS) if self._any_headers else pa.nulls(len(self._offsets), HEADERS),
        ]
        self._batches.append(pa.RecordBatch.from_arrays(columns, schema=RAW_SCHEMA))
        self._begin()

    def table(self) -> pa.Table:
        """All that was added."""
        if self._offsets:
            self._flush()
        return pa.Table.from_batches(self._batches, RAW_SCHEMA)


def _all_headers(messages: list[Record]) -> list[Headers | None]:
    found: list[Headers | None] = []
    calls = map(_headers_of, messages)
    while len(found) < len(messages):
        try:
            found.extend(calls)
        except (SystemError, ValueError):
            # Kafka takes any bytes for a header's name, the client only UTF-8. It keeps its half-made list
            # of headers, which must not be touched again: reading it ends the process.
            messages[len(found)].set_headers(UNREADABLE_HEADERS)
            found.append(UNREADABLE_HEADERS)
    return found


def _headers_bytes(headers: Headers | None) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers or ())
