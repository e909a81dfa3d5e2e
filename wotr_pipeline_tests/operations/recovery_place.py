"""What the tests of the recovery share: a stream over some hours, carried; its picture; losing things.

Belongs here: the place and its assertions. Does not belong here: killing (``chaos/``).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from wotr_pipeline.assets.curated import HOURLY, refresh
from wotr_pipeline.assets.hour_run import HourRun
from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.account import account
from wotr_pipeline.operations.recovery import Hours, Recovery, Stores
from wotr_pipeline.operations.recovery_report import Recovered
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.produced import BAD, event
from wotr_pipeline_tests.runs import unjudged

RUN, LOG = "tests", logging.getLogger("tests")
NOW = datetime.now(UTC)
FIRST = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=4)
SECOND, THIRD = FIRST + timedelta(hours=1), FIRST + timedelta(hours=2)

# Everything an analyst sees; which generation of a batch brought a row is not of it.
ROW = (
    "id, toString(event_type), toString(source), timestamp, payload, size_bytes, toString(validation_status), "
    "toString(error_code), toString(error_field), error_message, warnings, user_id, session_id, ip_address, tags, "
    "toString(version), created_at, arrival_hour, kafka_partition, kafka_offset, toString(batch_id)"
)
AGGREGATES = {
    "events_hourly": "hour, toString(event_type), toString(source), events, failed, bytes, users, late",
    "source_stats": "hour, toString(source), events, failed, failed_share, bytes, average_bytes, event_types",
    "dead_letters_hourly": "hour, toString(reason), toString(field), toString(source), toString(version), letters, share",
    "events_daily": "day, toString(event_type), events, failed, bytes, sources, busiest_hour",
}


@dataclass(frozen=True)
class Place:
    """One space with small batches, and everything that is in it."""

    settings: Settings
    ledger: Ledger
    objects: ObjectStore
    warehouse: Warehouse

    def produce(self, partition: int, hour: datetime, *values: bytes | None) -> None:
        with topics.sending(self.settings) as send:
            for number, value in enumerate(values):
                stamp = int((hour + timedelta(seconds=number)).timestamp() * 1000)
                send(value, partition=partition, timestamp_ms=stamp)

    def carry(self) -> None:
        """Load everything, as runs of each hour would, with the aggregates of each hour and day."""
        self.refresh(self.load())

    def load(self) -> list[datetime]:
        """Plan and load everything; the hours of it."""
        with KafkaOffsets(self.settings) as offsets:
            while plan_batches(offsets, self.ledger, self.settings, datetime.now(UTC)).ranges:
                pass
        hours = sorted({batch.hour for batch in self.ledger.unfinished(self.settings.kafka_topic)})
        for hour in hours:
            run = HourRun(self.settings, self.ledger, self.objects, self.warehouse, unjudged, RUN, LOG)
            assert [outcome.error for outcome in run.catch_up(hour) if outcome.error] == []
        return hours

    def refresh(self, hours: list[datetime]) -> None:
        """Rebuild the aggregates of hours, and of their days."""
        for hour in hours:
            for table in HOURLY:
                self._refresh(table, hour.strftime("%Y%m%d"), {"hour": int(hour.timestamp())})
        for day in sorted({hour.replace(hour=0) for hour in hours}):
            self._refresh("events_daily", day.strftime("%Y%m"), {"day": int(day.timestamp())})

    def _refresh(self, table: str, partition: str, moment: dict[str, int]) -> None:
        refresh(self.warehouse, self.ledger, RUN, table, partition, moment)

    def batches(self) -> list[Batch]:
        every = self.ledger.batches_between(self.settings.wotr_first_hour, NOW + timedelta(hours=2))
        return [batch for batch in every if batch.topic == self.settings.kafka_topic]

    def query(self, text: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.warehouse.client.query(text).result_rows]

    def picture(self) -> dict[str, list[tuple[Any, ...]]]:
        """Counts and checksums by hour and in all, and the counts of the ledger."""
        picture = {
            "hours": self.query(
                f"SELECT arrival_hour, count(), sum(cityHash64({ROW})) FROM ingested_data GROUP BY 1 ORDER BY 1"
            ),
            "all": self.query(f"SELECT count(), sum(cityHash64({ROW})) FROM ingested_data"),
            "ledger": [(b.batch_id, b.records, b.valid, b.rejected, b.duplicate) for b in self.batches()],
        }
        for table, columns in AGGREGATES.items():
            picture[table] = self.query(f"SELECT count(), sum(cityHash64({columns})) FROM {table}")
        return picture

    def recovery(self, hours: Hours | None = None) -> Recovery:
        stores = Stores(self.settings, self.ledger, self.objects, self.warehouse)
        return Recovery(stores, hours, RUN, LOG)

    def survey(self, hours: Hours | None = None) -> Recovered:
        recovery = self.recovery(hours)
        list(recovery.survey())
        return recovery.result

    def recover(self, hours: Hours | None = None) -> Recovered:
        recovery = self.recovery(hours)
        list(recovery.apply())
        return recovery.result

    def drop_tables(self) -> None:
        for table in ("ingested_data", *HOURLY, "events_daily"):
            self.warehouse.execute("drop_table", {"table": table})

    def lose_ledger(self, condition: str = "true") -> None:
        engine = connect(self.settings, "wotr tests", dedicated=True)
        with engine.begin() as connection:
            connection.execute(sa.text(f"DELETE FROM ingest_batches WHERE {condition}"))
        engine.dispose()

    def balanced(self) -> list[str]:
        with KafkaOffsets(self.settings) as offsets:
            return list(account(self.settings, self.ledger, self.warehouse, offsets).differences())


@contextmanager
def place_of(space: Settings) -> Iterator[Place]:
    settings = space.model_copy(update={"wotr_batch_events": 20})
    warehouse = Warehouse(settings, RUN)
    with Ledger(settings) as ledger:
        yield Place(settings, ledger, ObjectStore(settings), warehouse)
    warehouse.close()


def carry_a_stream_with_repeats(place: Place) -> None:
    """Three hours over two partitions, with repeats within a batch, an hour, and across hours.

    ``late-wins``: the copy of the second hour is there, for it was loaded first; the older one is not.
    """
    place.produce(1, SECOND, *(event(f"b{n}") for n in range(25)), event("late-wins"), event("twice"), *BAD)
    place.load()
    place.produce(0, FIRST, *(event(f"a{n}") for n in range(30)), event("late-wins"), event("a3"), None, *BAD)
    place.produce(0, SECOND, event("twice", source="other"), *(event(f"c{n}") for n in range(10)))
    place.load()
    place.produce(1, THIRD, *(event(f"d{n}") for n in range(15)), event("a5"), event("b7"), event("c2"))
    place.load()
    # As after any backfill: the hour's batches are loaded later now, and no order of theirs tells who won.
    place.ledger.reopen([b.batch_id for b in place.batches() if b.hour == SECOND], "a backfill")
    place.load()
    place.refresh([FIRST, SECOND, THIRD])
    copies = "SELECT id, kafka_partition FROM ingested_data WHERE id IN ('late-wins', 'twice') ORDER BY id"
    assert place.query(copies) == [("late-wins", 1), ("twice", 0)]
