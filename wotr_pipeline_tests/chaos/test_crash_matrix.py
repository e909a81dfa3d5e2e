"""A run is killed at every boundary of the path, before and after each write; the next run repairs it.

The promise: whatever was killed, every produced event is accounted for exactly once.
"""

import signal

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.chaos.scenario import (
    assert_accounted_exactly_once,
    catch_up,
    produce,
    recover,
    start_run,
)

pytestmark = pytest.mark.chaos

BOUNDARIES = [
    (name, moment)
    for name in (
        "LedgerWriter.claim",
        "RecordReader.read",
        "ObjectStore.put",
        "LedgerWriter.landed",
        "Loader.stage",
        "Loader.add_judged",
        "Loader.write_validated",
        "LedgerWriter.validated",
        "Loader.load",
        "LedgerWriter.loaded",
        "Loader.drop_staging",
    )
    for moment in ("before", "after")
]
REPLACEMENT_BOUNDARIES = [
    ("Replacement.add", "after"),
    ("Replacement.swap", "before"),
    ("Replacement.swap", "after"),
    ("LedgerWriter.loaded", "after"),
    ("ObjectStore.delete", "before"),
]


@pytest.fixture
def small_batches(space: Settings) -> Settings:
    """Two batches a partition: at the second call of a step one is through, one is hit, two are untouched."""
    return space.model_copy(update={"wotr_batch_events": 16})


def kill_a_run(settings: Settings, *killed_at: str) -> None:
    run = start_run(settings, *killed_at)
    _, complaint = run.communicate(timeout=120)
    assert run.returncode == -signal.SIGKILL, complaint[-2000:]


def rows(settings: Settings) -> list[tuple[object, ...]]:
    query = "SELECT kafka_partition, kafka_offset, id FROM ingested_data ORDER BY ALL"
    return [tuple(row) for row in Warehouse(settings).client.query(query).result_rows]


@pytest.mark.parametrize(("boundary", "moment"), BOUNDARIES)
def test_a_run_killed_at_any_boundary_leaves_every_event_to_be_loaded_once(
    small_batches: Settings, boundary: str, moment: str
) -> None:
    produce(small_batches)
    kill_a_run(small_batches, boundary, moment, "2")
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)


@pytest.mark.parametrize(("boundary", "moment"), REPLACEMENT_BOUNDARIES)
def test_a_reprocess_killed_at_any_boundary_leaves_old_or_new_rows_and_never_both(
    small_batches: Settings, boundary: str, moment: str
) -> None:
    produce(small_batches)
    assert [outcome.error for outcome in catch_up(small_batches) if outcome.error] == []
    before = rows(small_batches)
    kill_a_run(small_batches, boundary, moment, "1", "reprocess")
    assert rows(small_batches) == before
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)


def test_two_runs_racing_for_one_hour_load_every_event_once(small_batches: Settings) -> None:
    produce(small_batches)
    runs = [start_run(small_batches) for _ in range(2)]
    assert [(run.communicate(timeout=120)[1][-2000:], run.returncode)[1] for run in runs] == [0, 0]
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)
