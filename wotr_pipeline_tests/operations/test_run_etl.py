"""One pass without the sensor: everything in Kafka is LOADED afterwards, through runs that Dagster knows."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import INGEST_JOB
from wotr_pipeline.operations.run_etl import instance_of, run_etl
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.produced import BAD, event


def produce(settings: Settings, *values: bytes) -> None:
    with topics.sending(settings) as send:
        for value in values:
            send(value)


def rows(settings: Settings) -> int:
    warehouse = Warehouse(settings)
    found = int(warehouse.client.command("SELECT count() FROM ingested_data"))
    warehouse.close()
    return found


def test_one_pass_loads_everything_in_bounded_slices_and_a_second_finds_nothing(space: Settings) -> None:
    small = space.model_copy(update={"wotr_batch_events": 10, "wotr_planned_batches": 2})
    produce(space, *(event(f"e{number}") for number in range(60)), *BAD)
    with Ledger(small) as ledger, dg.DagsterInstance.ephemeral() as instance:
        done = run_etl(small, ledger, instance)
        assert done.complete
        assert done.planned_offsets == 60 + len(BAD)
        assert rows(space) == 60 + len(BAD)
        recorded = instance.get_runs()
        assert [run.job_name for run in recorded] == [INGEST_JOB] * done.runs
        assert all(run.status is dg.DagsterRunStatus.SUCCESS for run in recorded)

        again = run_etl(small, ledger, instance)
        assert (again.planned_offsets, again.runs, again.complete) == (0, 0, True)
    assert rows(space) == 60 + len(BAD)


def test_a_batch_that_cannot_be_loaded_fails_the_pass_and_is_tried_once(space: Settings) -> None:
    produce(space, event("e1"))
    with Ledger(space) as ledger, dg.DagsterInstance.ephemeral() as instance:
        with ledger.writer("another-run") as other, KafkaOffsets(space) as offsets:
            plan_batches(offsets, ledger, space, datetime.now(UTC))
            (batch,) = ledger.unfinished(space.kafka_topic)
            assert other.claim(batch) is not None
            done = run_etl(space, ledger, instance)
            assert (done.unfinished, done.complete) == (1, False)
            assert done.runs == 1
        assert run_etl(space, ledger, instance).complete
    assert rows(space) == 1


def test_a_raw_object_that_is_gone_fails_its_run_and_nothing_else(space: Settings) -> None:
    produce(space, event("e1"), event("e2"))
    with Ledger(space) as ledger, dg.DagsterInstance.ephemeral() as instance:
        assert run_etl(space, ledger, instance).complete
        batches = ledger.batches_between(space.wotr_first_hour, datetime.max.replace(tzinfo=UTC))
        gone = batches[0]
        assert gone.raw_key is not None
        ledger.reopen([gone.batch_id], "the test takes its object away")
        ObjectStore(space).delete([gone.raw_key])
        produce(space, event("e3"))
        done = run_etl(space, ledger, instance)
        assert done.failed_runs == 1
        assert not done.complete
    assert rows(space) == 3


def test_where_dagster_was_never_started_it_says_what_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with pytest.raises(PermanentError, match="Start it with: wotr up"), instance_of({}):
        pass
