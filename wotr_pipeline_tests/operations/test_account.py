"""The account of a topic: true when everything is carried, and loud about every difference."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.account import Account, account
from wotr_pipeline.operations.damaged_events import DAMAGES
from wotr_pipeline.operations.run_etl import run_etl
from wotr_pipeline.operations.sample_events import Sample, SampleAccount, send
from wotr_pipeline.operations.sample_reasons import REASONS, expected_reasons
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.operations.dead_letters.scenario import carry
from wotr_pipeline_tests.produced import event

EVENTS = 3_000
"""Enough for every kind of damage: 37 ways, three in a hundred events."""


@dataclass(frozen=True)
class Desk:
    """One space, and its account at any moment."""

    settings: Settings
    ledger: Ledger
    warehouse: Warehouse
    offsets: KafkaOffsets

    def account(self) -> Account:
        return account(self.settings, self.ledger, self.warehouse, self.offsets)

    def sample(self, seed: int = 1, events: int = EVENTS) -> SampleAccount:
        return send(Sample(events, datetime.now(UTC), hours=2.0, seed=seed, bad=0.03), self.settings)

    def carry(self) -> None:
        carry(self.settings)

    def batches(self) -> list[Batch]:
        first, last = self.settings.wotr_first_hour, datetime.max.replace(tzinfo=UTC)
        return self.ledger.batches_between(first, last)


@pytest.fixture
def desk(space: Settings) -> Iterator[Desk]:
    warehouse = Warehouse(space)
    with Ledger(space) as ledger, KafkaOffsets(space) as offsets:
        yield Desk(space, ledger, warehouse, offsets)
    warehouse.close()


def test_the_account_agrees_with_the_generator_to_the_number(desk: Desk) -> None:
    made = desk.sample()
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_etl(desk.settings, desk.ledger, instance).complete
    taken = desk.account()
    assert list(taken.differences()) == []
    assert (taken.produced, taken.valid_rows, taken.duplicates) == (made.records, made.good, made.duplicates)
    assert taken.dead_letters_by_reason == taken.failed_by_reason == expected_reasons(made.damages)
    assert made.duplicates > 0
    assert made.damages.keys() == DAMAGES.keys() == REASONS.keys()


def test_a_second_stream_has_an_account_of_its_own(desk: Desk) -> None:
    desk.sample(seed=1, events=500)
    desk.carry()
    before = desk.account()
    made = desk.sample(seed=2, events=700)
    desk.carry()
    added = desk.account().since(before)
    assert added.balanced
    assert (added.produced, added.valid_rows, added.dead_letters) == (made.records, made.good, made.bad)


def test_what_nobody_has_planned_yet_is_missing_from_the_account(desk: Desk) -> None:
    with topics.sending(desk.settings) as send:
        for number in range(7):
            send(event(f"e{number}"))
    taken = desk.account()
    assert (taken.produced, taken.planned, taken.balanced) == (7, 0, False)
    assert any("7 offsets" in line for line in taken.differences())


def test_a_lost_row_a_lost_dead_letter_and_a_lost_object_are_each_named(desk: Desk) -> None:
    desk.sample(events=1_000)
    desk.carry()
    objects = ObjectStore(desk.settings)
    batch = next(batch for batch in desk.batches() if batch.dead_letters_key and batch.records)
    assert desk.account().balanced

    desk.warehouse.client.command(
        "DELETE FROM ingested_data WHERE batch_id = {batch:String} AND validation_status = 'valid' "
        "AND kafka_offset = (SELECT min(kafka_offset) FROM ingested_data "
        "WHERE batch_id = {batch:String} AND validation_status = 'valid')",
        parameters={"batch": batch.batch_id},
        settings={"lightweight_deletes_sync": 2},
    )
    (problem,) = desk.account().differences()
    assert problem.startswith("valid rows")
    assert problem.endswith("a difference of -1")

    assert batch.dead_letters_key is not None
    objects.delete([batch.dead_letters_key])
    assert any(problem.startswith("dead letters") for problem in desk.account().differences())

    assert batch.raw_key is not None
    objects.delete([batch.raw_key])
    expected = f"a difference of -{batch.records}"
    found = [
        problem for problem in desk.account().differences() if problem.startswith("records in raw objects")
    ]
    assert len(found) == 1
    assert found[0].endswith(expected)


def test_a_row_loaded_twice_is_named(desk: Desk) -> None:
    desk.sample(events=500)
    desk.carry()
    desk.warehouse.client.command(
        "INSERT INTO ingested_data SELECT * FROM ingested_data WHERE validation_status = 'valid' LIMIT 1"
    )
    (problem,) = desk.account().differences()
    assert problem.startswith("valid rows")
    assert problem.endswith("a difference of 1")


def test_what_retention_has_deleted_is_no_difference_and_is_told(desk: Desk) -> None:
    now = datetime.now(UTC)
    with topics.sending(desk.settings) as send:
        for name, age in (("old", timedelta(days=20)), ("young", timedelta(hours=1))):
            send(event(name), partition=0, timestamp_ms=int((now - age).timestamp() * 1000))
    desk.carry()
    old = min(desk.batches(), key=lambda batch: batch.hour)
    ObjectStore(desk.settings).delete([old.raw_key or ""])
    assert not desk.account().balanced
    kept = replace(desk, settings=desk.settings.model_copy(update={"wotr_keep_raw_days": 8}))
    told = kept.account()
    assert told.balanced, list(told.differences())
    assert (told.retired, told.valid_rows) == (1, 1)
    assert any("past their time" in line for line in told.lines())
