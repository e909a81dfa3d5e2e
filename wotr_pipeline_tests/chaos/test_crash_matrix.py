"""A run is killed at every boundary of the path, before and after each write; the next run repairs it.

The promise: whatever was killed, every produced event is accounted for exactly once.
"""

from collections.abc import Callable
from datetime import datetime

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.kafka_records import RecordReader
from wotr_pipeline.stores.ledger_writer import LedgerWriter
from wotr_pipeline.stores.loading import Loader, Replacement
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.chaos.scenario import (
    HOUR,
    assert_accounted_exactly_once,
    catch_up,
    produce,
    recover,
    run_hour,
)
from wotr_pipeline_tests.forked import Forked
from wotr_pipeline_tests.killed import Moment, killed, named

pytestmark = pytest.mark.chaos

MOMENTS: tuple[Moment, ...] = ("before", "after")
BOUNDARIES: list[tuple[Callable[..., object], Moment]] = [
    (boundary, moment)
    for boundary in (
        LedgerWriter.claim,
        RecordReader.read,
        ObjectStore.put,
        LedgerWriter.landed,
        Loader.stage,
        Loader.add_judged,
        Loader.write_validated,
        LedgerWriter.validated,
        Loader.load,
        LedgerWriter.loaded,
        Loader.drop_staging,
    )
    for moment in MOMENTS
]
REPLACEMENT_BOUNDARIES: list[tuple[Callable[..., object], Moment]] = [
    (Replacement.add, "after"),
    (Replacement.swap, "before"),
    (Replacement.swap, "after"),
    (LedgerWriter.loaded, "after"),
    (ObjectStore.delete, "before"),
]


def reprocess_hour(settings: Settings, hour: datetime) -> None:
    run_hour(settings, hour, reprocess=True)


@pytest.fixture
def small_batches(space: Settings) -> Settings:
    """Two batches a partition: at the second call of a step one is through, one is hit, two are untouched."""
    return space.model_copy(update={"wotr_batch_events": 16})


def rows(settings: Settings) -> list[tuple[object, ...]]:
    query = "SELECT kafka_partition, kafka_offset, id FROM ingested_data ORDER BY ALL"
    return [tuple(row) for row in Warehouse(settings).client.query(query).result_rows]


@pytest.mark.parametrize(("boundary", "moment"), BOUNDARIES, ids=named)
def test_a_run_killed_at_any_boundary_leaves_every_event_to_be_loaded_once(
    small_batches: Settings, boundary: Callable[..., object], moment: Moment
) -> None:
    produce(small_batches)
    killed(run_hour, small_batches, HOUR, at=boundary, moment=moment, call=2)
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)


@pytest.mark.parametrize(("boundary", "moment"), REPLACEMENT_BOUNDARIES, ids=named)
def test_a_reprocess_killed_at_any_boundary_leaves_old_or_new_rows_and_never_both(
    small_batches: Settings, boundary: Callable[..., object], moment: Moment
) -> None:
    produce(small_batches)
    assert [outcome.error for outcome in catch_up(small_batches) if outcome.error] == []
    before = rows(small_batches)
    killed(reprocess_hour, small_batches, HOUR, at=boundary, moment=moment)
    assert rows(small_batches) == before
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)


def test_two_runs_racing_for_one_hour_load_every_event_once(small_batches: Settings) -> None:
    produce(small_batches)
    with Forked(run_hour, small_batches, HOUR) as one, Forked(run_hour, small_batches, HOUR) as other:
        assert (one.ended(), other.ended()) == ((0, ""), (0, ""))
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)
