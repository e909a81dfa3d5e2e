"""The header ``traceparent`` is found among a raw object's records, chunk by chunk."""

import pyarrow as pa

from wotr_pipeline.stores.raw_parquet import RAW_SCHEMA
from wotr_pipeline.stores.trace_headers import trace_headers

Headers = list[tuple[str, bytes | None]] | None


def chunk(*headers: Headers) -> pa.Table:
    count = len(headers)
    return pa.table(
        {
            "kafka_offset": pa.array(range(count), pa.int64()),
            "kafka_timestamp": pa.nulls(count, pa.timestamp("ms", tz="UTC")),
            "key": pa.nulls(count, pa.binary()),
            "value": pa.nulls(count, pa.binary()),
            "headers": pa.array(headers, RAW_SCHEMA.field("headers").type),
        },
        schema=RAW_SCHEMA,
    )


def test_the_values_of_the_header_come_in_the_records_order_and_no_others() -> None:
    table = pa.concat_tables(
        [
            chunk(None, [("other", b"0"), ("traceparent", b"b")], [("traceparent", b"a")]),
            chunk(None, None),
            chunk([("traceparent", b"b")], [], [("Traceparent", b"x")], [("traceparent", None)]),
        ]
    )
    assert list(trace_headers(table)) == [b"b", b"a", b"b", None]


def test_a_slice_of_a_table_shows_only_its_own_records() -> None:
    table = chunk([("traceparent", b"a")], [("traceparent", b"b")], [("traceparent", b"c")]).slice(1, 1)
    assert list(trace_headers(table)) == [b"b"]


def test_the_same_value_in_many_records_of_a_chunk_comes_once() -> None:
    table = chunk(*[[("traceparent", b"a")]] * 10_000)
    assert list(trace_headers(table)) == [b"a"]


def test_records_without_headers_have_none() -> None:
    assert list(trace_headers(chunk(None, None))) == []
    assert list(trace_headers(RAW_SCHEMA.empty_table())) == []
