"""What the chaos tests share: one hour of events, a run over it, and the account afterwards.

Belongs here: producing a known mix, planning it, running it here or in a process of its own, and the
assertion that every event is there exactly once.
Does not belong here: the faults.
"""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from wotr_pipeline.assets.hour_run import Outcome
from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.checks import expectations
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.produced import BAD, event
from wotr_pipeline_tests.runs import hour_run

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
GOOD = [f"event-{number}" for number in range(40)]
RETRIED = GOOD[:5]


def produce(settings: Settings) -> None:
    """GOOD, then RETRIED again, then BAD, over two partitions, all within HOUR; and plan them."""
    with topics.sending(settings) as send:
        for number, name in enumerate([*GOOD, *RETRIED]):
            stamp = int((HOUR + timedelta(seconds=number)).timestamp() * 1000)
            send(event(name), partition=number // 3 % 2, timestamp_ms=stamp)
        for number, value in enumerate(BAD):
            stamp = int((HOUR + timedelta(seconds=100 + number)).timestamp() * 1000)
            send(value, partition=number % 2, timestamp_ms=stamp)
    with Ledger(settings) as ledger, KafkaOffsets(settings) as offsets:
        plan_batches(offsets, ledger, settings, datetime.now(UTC))


def catch_up(settings: Settings) -> list[Outcome]:
    """One run over HOUR, in this process."""
    with Ledger(settings) as ledger:
        return list(hour_run(settings, ledger, expectations.gate, "here").catch_up(HOUR))


def run_hour(
    settings: Settings, hour: datetime, *, reprocess: bool = False, loaded: Connection | None = None
) -> None:
    """One run that ends with its first error, for a process of its own; tells ``loaded`` of each batch.

    ``hour``: such a process may have imported this module in another one, and have another HOUR.
    """
    with Ledger(settings) as ledger:
        run = hour_run(settings, ledger, run_id=f"run-{os.getpid()}")
        for outcome in run.reprocess(hour) if reprocess else run.catch_up(hour):
            if outcome.error is not None:
                raise outcome.error
            if loaded is not None:
                loaded.send("a batch")


def recover(settings: Settings, seconds: float = 60) -> None:
    """Runs one after the other, as the sensor would start them, until one meets no error."""

    def run() -> None:
        for outcome in catch_up(settings):
            if outcome.error is not None:
                raise outcome.error

    Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(0.5),
        reraise=True,
    )(run)


def assert_accounted_exactly_once(settings: Settings) -> None:
    """Every produced event is a row, a counted duplicate, or a dead letter: once, and nothing else is there."""
    warehouse = Warehouse(settings)
    rows = warehouse.client.query(
        "SELECT id, validation_status::String, kafka_partition, kafka_offset FROM ingested_data"
    ).result_rows
    loaded = Counter(row[0] for row in rows if row[1] == "valid")
    assert set(loaded) == set(GOOD)
    assert loaded.total() == len(GOOD), "an event was doubled"
    failed = [tuple(row[2:]) for row in rows if row[1] == "failed"]
    assert len(failed) == len(set(failed)) == len(BAD)
    with Ledger(settings) as ledger:
        batches = ledger.batches(HOUR)
        account = ledger.hour_account(HOUR)
    assert {batch.state for batch in batches} == {BatchState.LOADED}
    assert (account.records, account.rejected, account.duplicate) == (
        len(GOOD) + len(RETRIED) + len(BAD),
        len(BAD),
        len(RETRIED),
    )
    objects = ObjectStore(settings)
    letters = [
        line for found in objects.list("dead-letters/") for line in objects.get(found.key).splitlines()
    ]
    assert len(letters) == len(BAD)
    assert len(list(objects.list("raw/"))) == len(batches)
    leftovers = warehouse.client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'Memory'"
    ).result_rows
    assert leftovers == []
