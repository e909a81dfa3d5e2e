"""The data that backups are measured with: objects that no compression makes smaller, rows like those of events.

Belongs here: filling the three stores. Does not belong here: measuring.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

OBJECT_BYTES = 16 * 1024**2
BUCKET_PREFIX = "raw/date=2026-11-25/"
_ROWS = """
INSERT INTO ingested_data (
    id, event_type, source, timestamp, payload, size_bytes, validation_status, user_id, session_id, ip_address, version,
    created_at, arrival_hour, kafka_partition, kafka_offset, batch_id
)
SELECT
    toString(generateUUIDv4()), ['api_call', 'page_view', 'purchase'][1 + number % 3], 'bench', at,
    concat('{"amount":', toString(rand64(1) % 1000000), ',"reference":"', hex(rand64(2)), '","path":"/items/',
        toString(rand64(3) % 10000), '","note":"', repeat('n', number % 60), '"}') AS payload,
    length(payload), 'valid', concat('user-', toString(rand64(4) % 1000000)), hex(rand64(5)),
    concat('10.', toString(rand64(6) % 256), '.', toString(rand64(7) % 256), '.1'), '1.0',
    at, toStartOfHour(at), number % 4, intDiv(number, 4), concat('bench:', toString(intDiv(number, 100000)))
FROM (SELECT number, toDateTime64('2026-10-01 00:00:00', 3, 'UTC') + number / {rows:UInt64} * 5000000 AS at
    FROM numbers({rows:UInt64}))
"""
_LEDGER = """
CREATE TABLE copied_batches AS
SELECT number AS id, 'bench:0:' || number * 1000 || '-' || number * 1000 + 999 AS batch_id, 'bench' AS topic,
    number * 1000 AS first_offset, number * 1000 + 999 AS last_offset, now() - number * interval '1 second' AS hour,
    'LOADED' AS state, 1000 AS records, 1000 AS valid, 0 AS rejected,
    'raw/date=2026-11-25/hour=07/bench-0-' || number || '.parquet' AS raw_key,
    md5(number::text) || md5((-number)::text) AS raw_sha256,
    'validated/date=2026-11-25/hour=07/bench-0-' || number || '.parquet' AS validated_key,
    md5(random()::text) || md5(random()::text) AS validated_sha256, now() AS updated_at
FROM generate_series(1, %s) AS number;
ALTER TABLE copied_batches ADD PRIMARY KEY (id);
"""


def fill_bucket(settings: Settings, first: int, count: int) -> None:
    """Put objects ``first`` … of ``OBJECT_BYTES`` random bytes each into the bucket of the events."""
    objects = ObjectStore(settings)

    def put(number: int) -> None:
        objects.put(f"{BUCKET_PREFIX}{number:06d}.parquet", os.urandom(OBJECT_BYTES))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(first, first + count)))


def fill_table(settings: Settings, rows: int) -> int:
    """Rows in two months, merged, so that no merge disturbs the clock; the bytes that they take on disk."""
    with closing(Warehouse(settings)) as warehouse:
        warehouse.client.command(_ROWS, parameters={"rows": rows})
        warehouse.client.command("OPTIMIZE TABLE ingested_data FINAL")
        query = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = {database:String}"
        return int(warehouse.client.query(query, {"database": settings.clickhouse_db}).first_row[0])


def fill_ledger(settings: Settings, rows: int) -> int:
    """A table like the ledger's, beside the ledger's own; the bytes that it takes on disk."""
    with connect(settings, "wotr bench", dedicated=True).begin() as connection:
        connection.exec_driver_sql(_LEDGER, (rows,))
        return int(connection.exec_driver_sql("SELECT pg_total_relation_size('copied_batches')").scalar_one())
