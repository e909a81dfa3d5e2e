"""Fixtures of the checks' tests: an engine with empty tables, and an hour that was carried properly.

Belongs here: judged rows, their tables, and batches brought to LOADED by the ledger's own steps.
Does not belong here: violations; each test plants its own.
"""

import contextlib
import hashlib
import itertools
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.events.columns import BatchContext, JudgedMessage, judged_rows
from wotr_pipeline.events.rules import judge
from wotr_pipeline.stores.batch import Batch, PlannedRange
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import dead_letters_key, raw_key
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.produced import BAD, event

HOUR = datetime(2026, 11, 23, 8, tzinfo=UTC)
RAW_BYTES = b"stands for a Parquet file"

_tables = itertools.count()


@pytest.fixture(scope="session")
def engine(platform: Settings) -> Iterator[Warehouse]:
    """A database of the checks' own, for tests that keep apart by table or by hour."""
    warehouse = Warehouse(platform.model_copy(update={"clickhouse_db": f"checks_{uuid.uuid4().hex[:12]}"}))
    warehouse.migrate()
    yield warehouse
    warehouse.client.command("DROP DATABASE {name:Identifier}", {"name": warehouse.settings.clickhouse_db})
    warehouse.close()


@pytest.fixture
def staged(engine: Warehouse) -> Iterator[Callable[[pa.Table], str]]:
    """Stages rows in a table of their own; gives its name."""
    made = []

    def stage(rows: pa.Table) -> str:
        name = f"staging_{next(_tables)}"
        engine.execute("create_staging", {"table": name})
        made.append(name)
        engine.insert(name, rows)
        return name

    yield stage
    for name in made:
        engine.client.command(f"DROP TABLE {name}")


def judged(batch: Batch, messages: list[bytes | None], created_at: datetime | None = None) -> pa.Table:
    """Rows of the messages, at the batch's offsets one after the other, as the pipeline judges them."""
    context = BatchContext(batch.batch_id, batch.hour, batch.partition)
    arrived = created_at or batch.hour + timedelta(minutes=1)
    return judged_rows(
        context,
        [
            JudgedMessage(offset, arrived, message, judge(message))
            for offset, message in enumerate(messages, batch.first_offset)
        ],
    )


def changed(rows: pa.Table, at: int, **values: object) -> pa.Table:
    """``rows`` with other values in the row number ``at``."""
    lines = rows.to_pylist()
    lines[at] |= values
    return pa.Table.from_pylist(lines, schema=rows.schema)


class LoadedHour:
    """An hour whose batches were planned, landed, judged and loaded as they should."""

    def __init__(self, settings: Settings, hour: datetime = HOUR) -> None:
        self.settings = settings
        self.hour = hour
        self.ledger = Ledger(settings)
        self.warehouse = Warehouse(settings)
        self.objects = ObjectStore(settings)

    def close(self) -> None:
        for info in list(self.objects.list("")):
            self.objects.delete([info.key])
        self.ledger.close()
        self.warehouse.close()

    def plan(self, partition: int, first: int, count: int) -> Batch:
        (batch,) = self.ledger.plan(
            [PlannedRange(self.settings.kafka_topic, partition, first, first + count - 1, self.hour)]
        )
        return batch

    def carry(self, batch: Batch, messages: list[bytes | None]) -> Batch:
        """Bring a planned batch to LOADED."""
        rows = judged(batch, messages)
        rejected = rows["validation_status"].to_pylist().count("failed")
        digest = hashlib.sha256(RAW_BYTES).hexdigest()
        self.objects.put(raw_key(batch), RAW_BYTES, {"sha256": digest, "records": str(len(messages))})
        letters = dead_letters_key(batch, 1) if rejected else None
        if letters:
            self.objects.put(letters, b"{}\n" * rejected, {"records": str(rejected)})
        self.insert(rows)
        with self.ledger.writer("test") as writer:
            claimed = writer.claim(batch)
            assert claimed
            landed = writer.landed(claimed, len(messages), raw_key(batch), digest, len(RAW_BYTES))
            validated = writer.validated(landed, len(messages) - rejected, rejected, None, letters, "1")
            return writer.loaded(validated, duplicate=0)

    def insert(self, rows: pa.Table) -> None:
        self.warehouse.insert("ingested_data", rows.drop_columns(["ok"]))


@contextlib.contextmanager
def loaded(space: Settings) -> Iterator[LoadedHour]:
    """Two batches, of 40 and 30 records; four records are rejected."""
    hour = LoadedHour(space)
    hour.carry(hour.plan(0, 0, 40), [*(event(f"a{n}") for n in range(36)), *BAD])
    hour.carry(hour.plan(1, 7, 30), [event(f"b{n}") for n in range(30)])
    yield hour
    hour.close()


@pytest.fixture
def loaded_hour(space: Settings) -> Iterator[LoadedHour]:
    """The hour of ``loaded``, for a test that changes it."""
    with loaded(space) as hour:
        yield hour
