"""Ranges of offsets, read completely or not at all."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from kafka import KafkaProducer

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.kafka_records import OffsetsGoneError, RecordReader
from wotr_pipeline.stores.raw_parquet import RAW_SCHEMA
from wotr_pipeline_tests.topics import (
    MEGABYTE,
    administrator,
    create_topic,
    delete_before,
    drop_topic,
    new_topic,
    produce,
    read,
    transaction,
    wait_until,
)

ALL = 100 * MEGABYTE


@pytest.fixture
def settings(platform: Settings) -> Iterator[Settings]:
    with new_topic(platform) as settings:
        yield settings


def values_of(table: pa.Table) -> list[bytes | None]:
    return table["value"].to_pylist()


def test_a_record_is_read_byte_for_byte_with_all_its_parts(settings: Settings) -> None:
    when = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    with EventProducer(settings) as producer:
        producer.send(
            b"\x00\xff not text",
            b"\xfe key",
            headers=[
                ("trace", b"\x00\x01"),
                ("trace", b"again"),
                ("empty", b""),
                ("null", None),
                ("ü", b"x"),
            ],
            timestamp_ms=int(when.timestamp() * 1000),
            partition=0,
        )
        producer.send(None, "tombstone", partition=0)
        producer.send(b"", b"", partition=0)
        producer.send(b"no key", partition=0)

    found = read(settings, 0, 3)

    assert found.table.schema.equals(RAW_SCHEMA)
    first, tombstone, empty, keyless = found.table.to_pylist()
    assert first == {
        "kafka_offset": 0,
        "kafka_timestamp": when,
        "key": b"\xfe key",
        "value": b"\x00\xff not text",
        "headers": [
            {"name": "trace", "value": b"\x00\x01"},
            {"name": "trace", "value": b"again"},
            {"name": "empty", "value": b""},
            {"name": "null", "value": None},
            {"name": "ü", "value": b"x"},
        ],
    }
    assert (tombstone["key"], tombstone["value"], tombstone["headers"]) == (b"tombstone", None, None)
    assert (empty["key"], empty["value"]) == (b"", b"")
    assert (keyless["key"], keyless["value"]) == (None, b"no key")


def test_a_header_name_that_is_not_utf8_costs_only_that_records_headers(settings: Settings) -> None:
    class NotText(str):
        def encode(self, *_: object) -> bytes:
            return b"\xff\xfe"

    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    for name in ("good", NotText("bad"), "good"):
        producer.send(settings.kafka_topic, b"value", b"key", [(name, b"1")], partition=0).get(30)
    producer.close()

    whole = read(settings, 0, 2).table
    with RecordReader(settings) as reader:  # a cut by the byte bound looks at a record twice
        one_by_one = pa.concat_tables([reader.read(0, offset, 2, 10).table for offset in range(3)])

    for found in (whole, one_by_one):
        assert values_of(found) == [b"value"] * 3
        names = [headers[0]["name"] for headers in found["headers"].to_pylist()]
        assert names == ["good", "wotr-unreadable-headers", "good"]


def test_a_record_without_a_timestamp_has_none(settings: Settings) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    producer.send(settings.kafka_topic, b"value", timestamp_ms=-1, partition=0).get(30)
    producer.close()
    assert read(settings, 0, 0).table["kafka_timestamp"].to_pylist() == [None]


def test_ranges_in_any_order_hold_exactly_their_offsets(settings: Settings) -> None:
    for partition in (0, 1):
        produce(settings, [b"%d/%d" % (partition, number) for number in range(3_000)], partition)
    ranges = [(0, 0, 999), (0, 1000, 1999), (1, 0, 1499), (0, 2000, 2999), (0, 500, 700), (1, 1500, 2999)]
    ranges += [(0, 500, 700), (1, 2999, 2999), (1, 0, 2999)]
    with RecordReader(settings) as reader:
        for partition, first, last in ranges:
            found = reader.read(partition, first, last, ALL)
            offsets = range(first, last + 1)
            assert found.last_offset == last
            assert found.table["kafka_offset"].to_pylist() == list(offsets)
            assert values_of(found.table) == [b"%d/%d" % (partition, number) for number in offsets]


def test_the_byte_bound_cuts_a_range_and_the_next_read_goes_on_after_it(settings: Settings) -> None:
    values = [os.urandom(1_000_000) for _ in range(12)]
    produce(settings, values)
    found: list[bytes | None] = []
    first = 0
    with RecordReader(settings) as reader:
        while first <= 11:
            part = reader.read(0, first, 11, 3_500_000)
            assert part.records == part.table.num_rows == 3
            assert part.bytes <= 3_500_000
            assert part.last_offset == first + 2
            found += values_of(part.table)
            first = part.last_offset + 1
    assert found == values


def test_what_a_cut_left_over_is_not_taken_for_another_range(settings: Settings) -> None:
    produce(settings, [b"%d" % number for number in range(10)])
    with RecordReader(settings) as reader:
        assert values_of(reader.read(0, 0, 9, 20).table) == [b"0", b"1", b"2"]
        assert values_of(reader.read(0, 8, 9, ALL).table) == [b"8", b"9"]
        assert values_of(reader.read(0, 0, 9, 20).table) == [b"0", b"1", b"2"]
        assert values_of(reader.read(0, 3, 9, ALL).table) == [b"%d" % number for number in range(3, 10)]


def test_a_record_larger_than_the_byte_bound_is_read_alone(settings: Settings) -> None:
    produce(settings, [b"small", b"x" * 900_000, b"small"])
    with RecordReader(settings) as reader:
        parts = [reader.read(0, first, 2, 1000) for first in range(3)]
    assert [part.last_offset for part in parts] == [0, 1, 2]
    assert [part.records for part in parts] == [1, 1, 1]


def test_keys_and_headers_count_towards_the_byte_bound(settings: Settings) -> None:
    with EventProducer(settings) as producer:
        for _ in range(10):
            producer.send(b"v", b"k" * 400, headers=[("name", b"h" * 600)], partition=0)
    assert read(settings, 0, 9, max_bytes=2100).last_offset == 1


def test_aborted_transactions_and_markers_are_covered_without_waiting_for_them(settings: Settings) -> None:
    with transaction(settings) as send:
        send([b"committed 1", b"committed 2"])  # offsets 0, 1, marker 2
    with transaction(settings, commit=False) as send:
        send([b"aborted"] * 5)  # 3 to 7, marker 8

    found = read(settings, 0, 8)
    assert (values_of(found.table), found.last_offset) == ([b"committed 1", b"committed 2"], 8)
    only_markers = read(settings, 3, 8)
    assert (only_markers.records, only_markers.last_offset) == (0, 8)
    assert only_markers.table.schema.equals(RAW_SCHEMA)


def test_a_range_that_ends_in_markers_is_covered_while_records_follow_it(settings: Settings) -> None:
    with transaction(settings) as send:
        send([b"committed"])  # 0, marker 1
    produce(settings, [b"later"])  # 2
    with RecordReader(settings) as reader:
        assert values_of(reader.read(0, 0, 1, ALL).table) == [b"committed"]
        assert values_of(reader.read(0, 2, 2, ALL).table) == [b"later"]


def test_records_that_came_after_the_end_was_reached_are_read(settings: Settings) -> None:
    with RecordReader(settings) as reader:
        for number in range(5):
            produce(settings, [b"%d" % number])
            assert values_of(reader.read(0, number, number, ALL).table) == [b"%d" % number]


def test_an_open_transaction_does_not_hold_up_what_lies_before_it(settings: Settings) -> None:
    produce(settings, [b"stable"])
    with transaction(settings) as send:
        send([b"open"])
        assert values_of(read(settings, 0, 0).table) == [b"stable"]


def test_compacted_offsets_are_gaps_and_no_loss(platform: Settings) -> None:
    eager = {
        "cleanup_policy": "compact",
        "segment_ms": "100",
        "min_cleanable_dirty_ratio": "0.001",
        "max_compaction_lag_ms": "100",
    }
    with _eager_cleaner(platform), new_topic(platform, 1, **eager) as settings:
        with EventProducer(settings) as producer:
            for number in range(100):
                producer.send(b"%d" % number, b"same key", partition=0)
        # By its timestamp: whatever comes within 100 ms of the first record goes into the first's segment.
        produce(settings, [b"rolls the segment"], first_ms=int(time.time() * 1000) + 1000)

        def compacted() -> bool:
            return read(settings, 0, 100).records < 101

        wait_until(compacted)
        found = read(settings, 0, 100)
        assert found.last_offset == 100
        assert values_of(found.table)[-2:] == [b"99", b"rolls the segment"]
        assert read(settings, 0, 98).last_offset == 98


def test_a_range_whose_beginning_kafka_dropped_is_named_and_nothing_of_it_is_read(settings: Settings) -> None:
    produce(settings, [b"x"] * 20)
    delete_before(settings, 0, 15)
    with RecordReader(settings) as reader:
        with pytest.raises(OffsetsGoneError, match=r"offsets 10-14 of .*\[0\] are gone.*low watermark is 15"):
            reader.read(0, 10, 19, ALL)
        with pytest.raises(OffsetsGoneError, match="offsets 0-9 of"):
            reader.read(0, 0, 9, ALL)
        assert reader.read(0, 15, 19, ALL).records == 5


def test_a_topic_made_anew_is_named_and_not_waited_for(settings: Settings) -> None:
    produce(settings, [b"old"] * 20)
    drop_topic(settings)
    wait_until(lambda: settings.kafka_topic not in administrator(settings).list_topics(timeout=10).topics)
    create_topic(settings)
    produce(settings, [b"new"] * 5)
    for first, last, gone in ((0, 19, "5-19"), (3, 6, "5-6"), (10, 19, "10-19")):
        with pytest.raises(OffsetsGoneError, match=f"offsets {gone} of .*Kafka ends at 5"):
            read(settings, first, last)


def test_a_missing_topic_or_partition_is_permanent_and_named(settings: Settings) -> None:
    produce(settings, [b"x"])
    nowhere = settings.model_copy(update={"kafka_topic": "no-such-topic"})
    with pytest.raises(PermanentError, match="no-such-topic"):
        read(nowhere, 0, 0)
    with RecordReader(settings) as reader:
        with pytest.raises(PermanentError, match=r"\[7\].*no such partition"):
            reader.read(7, 0, 0, ALL)
        assert reader.read(0, 0, 0, ALL).records == 1


def test_a_broker_that_leaves_in_mid_read_is_transient_and_the_read_goes_on_after_its_return(
    settings: Settings, servers: Platform
) -> None:
    values = [os.urandom(1_000_000) for _ in range(40)]
    produce(settings, values)
    # It fetches less ahead than there is, so that the broker is needed until the end.
    with RecordReader(settings, patience_seconds=2.0, ahead_bytes=8 * MEGABYTE) as reader:
        assert reader.read(0, 0, 4, ALL).records == 5
        servers.stop("kafka")
        try:
            with pytest.raises(TransientError, match=r"offsets of 5-39 are missing"):
                reader.read(0, 5, 39, ALL)
        finally:
            servers.start("kafka")
        assert values_of(reader.read(0, 5, 39, ALL).table) == values[5:]


class _eager_cleaner:  # noqa: N801 (reads like a function)
    """Compaction looks for work ten times a second instead of every 15 seconds."""

    def __init__(self, settings: Settings) -> None:
        self._administrator = administrator(settings)

    def __enter__(self) -> None:
        self._set(AlterConfigOpType.SET)

    def __exit__(self, *_: object) -> None:
        self._set(AlterConfigOpType.DELETE)

    def _set(self, operation: AlterConfigOpType) -> None:
        entry = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=operation)
        (broker,) = self._administrator.list_topics(timeout=10).brokers
        resource = ConfigResource(ConfigResource.Type.BROKER, str(broker), incremental_configs=[entry])
        for done in self._administrator.incremental_alter_configs([resource]).values():
            done.result(30)
