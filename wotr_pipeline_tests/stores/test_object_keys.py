"""An object's name follows from its batch, and the batch from the raw object's name."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wotr_pipeline.stores.batch import Batch, PlannedRange
from wotr_pipeline.stores.object_keys import (
    RAW,
    dead_letters_key,
    hour_prefix,
    parse_raw_key,
    raw_key,
    validated_key,
)

HOUR = datetime(2026, 11, 23, 8, tzinfo=UTC)
BATCH = Batch("ingest-events", 0, 0, 199_999, HOUR)


def test_keys_are_laid_out_by_hour_of_arrival() -> None:
    assert raw_key(BATCH) == "raw/date=2026-11-23/hour=08/ingest-events-0-0-199999.parquet"
    assert validated_key(BATCH, 1) == "validated/date=2026-11-23/hour=08/ingest-events-0-0-199999.parquet"
    assert dead_letters_key(BATCH, 1) == "dead-letters/date=2026-11-23/hour=08/ingest-events-0-0-199999.jsonl"
    assert raw_key(BATCH).startswith(hour_prefix(RAW, HOUR))


def test_every_judgement_after_the_first_has_objects_of_its_own() -> None:
    assert validated_key(BATCH, 2).endswith("-199999.g2.parquet")
    assert dead_letters_key(BATCH, 12).endswith("-199999.g12.jsonl")


@settings(deadline=None)
@given(
    topic=st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True),
    partition=st.integers(0, 2**31 - 1),
    first=st.integers(0, 2**62),
    length=st.integers(1, 10**6),
    hour=st.integers(0, 24 * 366 * 100),
)
def test_a_raw_key_tells_its_batch(topic: str, partition: int, first: int, length: int, hour: int) -> None:
    moment = datetime.fromtimestamp(hour * 3600, UTC)
    planned = PlannedRange(topic, partition, first, first + length - 1, moment)
    assert parse_raw_key(raw_key(planned)) == planned


@pytest.mark.parametrize(
    "key",
    [
        "",
        "raw/",
        "validated/date=2026-11-23/hour=08/t-0-0-9.parquet",
        "raw/date=2026-11-23/hour=24/t-0-0-9.parquet",
        "raw/date=2026-02-30/hour=08/t-0-0-9.parquet",
        "raw/date=2026-11-23/hour=08/t-0-9-0.parquet",
        "raw/date=2026-11-23/hour=08/t-0-0-9.parquet.tmp",
        "raw/date=2026-11-23/hour=08/other/t-0-0-9.parquet",
    ],
)
def test_any_other_key_is_no_raw_objects(key: str) -> None:
    assert parse_raw_key(key) is None
