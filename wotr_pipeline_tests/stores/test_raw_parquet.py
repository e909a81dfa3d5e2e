"""Raw objects give back exactly what they were given."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from wotr_pipeline.stores.raw_parquet import RAW_SCHEMA, ROW_GROUP_ROWS, decode, encode

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
some_bytes = st.none() | st.binary(max_size=50)
records = st.fixed_dictionaries(
    {
        "kafka_offset": st.integers(0, 2**63 - 1),
        "kafka_timestamp": st.none()
        | st.integers(0, 2**41).map(lambda milliseconds: EPOCH + timedelta(milliseconds=milliseconds)),
        "key": some_bytes,
        "value": some_bytes,
        "headers": st.none()
        | st.lists(st.fixed_dictionaries({"name": st.text(max_size=5), "value": some_bytes}), max_size=3),
    }
)


@settings(deadline=None)
@given(st.lists(records, max_size=5))
def test_any_records_survive_the_round_trip(rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows, RAW_SCHEMA)
    found = decode(encode(table))
    assert found.schema.equals(RAW_SCHEMA)
    assert found.to_pylist() == rows


def test_a_raw_object_is_split_so_that_it_can_be_read_side_by_side() -> None:
    rows = ROW_GROUP_ROWS * 3
    table = pa.table(
        [pa.array(range(rows)), *(pa.nulls(rows, field.type) for field in list(RAW_SCHEMA)[1:])],
        schema=RAW_SCHEMA,
    )
    file = pq.ParquetFile(pa.BufferReader(encode(table, {"batch": "t:0:0-9"})))
    assert file.num_row_groups == 3
    assert file.metadata.metadata[b"batch"] == b"t:0:0-9"
    assert file.metadata.row_group(0).column(0).statistics.max == ROW_GROUP_ROWS - 1
