"""What the stores took, day by day."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.postgres_statistics import postgres_tables
from wotr_pipeline.stores.storage_sizes import CLICKHOUSE, MINIO, StorageSize, StorageSizes

DAY = date(2026, 11, 23)


def sizes(day: date, count: int) -> list[StorageSize]:
    return [
        StorageSize(day, CLICKHOUSE, f"table_{number}", 10**13 + number, number) for number in range(count)
    ]


def test_a_day_that_is_written_again_takes_the_place_of_what_was_there(ledger_space: Settings) -> None:
    with StorageSizes(ledger_space) as store:
        store.write(DAY - timedelta(days=1), sizes(DAY - timedelta(days=1), 1))
        store.write(DAY, sizes(DAY, 3))
        written = [StorageSize(DAY, MINIO, "raw/", 5, 1)]
        store.write(DAY, written)
        assert store.between(DAY, DAY) == written
        assert store.between(DAY - timedelta(days=9), DAY) == [*sizes(DAY - timedelta(days=1), 1), *written]
        store.write(DAY, [])
        assert store.between(DAY, DAY) == []


def test_of_two_that_write_a_day_at_once_one_is_there_whole(ledger_space: Settings) -> None:
    with StorageSizes(ledger_space) as store, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda count: store.write(DAY, sizes(DAY, count)), [3, 4, 5, 6] * 5))
        assert store.between(DAY, DAY) in [sizes(DAY, count) for count in (3, 4, 5, 6)]


def test_postgres_tells_its_tables_with_their_sizes(ledger_space: Settings) -> None:
    found = postgres_tables(ledger_space)
    assert {"ingest_batches", "storage_sizes", "ingest_meta"} <= {table.name for table in found}
    assert [table.bytes for table in found] == sorted((table.bytes for table in found), reverse=True)
    assert all(table.vacuumed_at is None and table.dead_share == 0 for table in found if not table.dead_rows)
