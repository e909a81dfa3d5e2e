"""A recovery is killed at its boundaries; the same command again, or the sensor's next run, finishes it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline_tests.chaos.scenario import PROJECT
from wotr_pipeline_tests.conftest import environment_of
from wotr_pipeline_tests.operations.recovery_place import Place, carry_a_stream_with_repeats, place_of

pytestmark = pytest.mark.chaos

BOUNDARIES = [
    ("Ledger.reopen", "after", "2"),
    ("Loader.load", "before", "2"),
    ("Loader.load", "after", "3"),
    ("LedgerWriter.loaded", "after", "4"),
]
"""Between the batches, before and after the rows are there, and when the ledger knows it."""


@pytest.fixture
def carried(space: Settings) -> Iterator[Place]:
    with place_of(space) as place:
        carry_a_stream_with_repeats(place)
        yield place


def kill_a_recovery(settings: Settings, *killed_at: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "wotr_pipeline_tests.chaos.killed_recovery", *killed_at],
        env={**environment_of(settings), "PYTHONPATH": os.fspath(PROJECT)},
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]


def test_a_recovery_killed_at_its_boundaries_is_finished_by_the_next(carried: Place) -> None:
    before = carried.picture()
    for boundary in BOUNDARIES:
        carried.drop_tables()
        kill_a_recovery(carried.settings, *boundary)
        done = carried.recover()
        assert done.complete, (boundary, list(done.lines()))
        assert carried.picture() == before, boundary
    assert carried.balanced() == []


def test_an_ordinary_pass_finishes_what_a_killed_recovery_had_opened(carried: Place) -> None:
    before = carried.picture()
    carried.drop_tables()
    kill_a_recovery(carried.settings, "Loader.load", "after", "1")
    opened = [batch for batch in carried.batches() if batch.state.unfinished]
    assert opened
    carried.carry()
    assert [batch.state for batch in carried.batches() if batch.state.unfinished] == []
    assert carried.recover().complete
    assert carried.picture() == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_recovery_killed_while_the_ledger_is_made_whole_leaves_whole_chains(
    carried: Place, moment: str
) -> None:
    before = carried.picture()
    carried.lose_ledger()
    kill_a_recovery(carried.settings, "Ledger.adopt", moment, "1")
    assert len(carried.batches()) == (len(before["ledger"]) if moment == "after" else 0)
    assert carried.ledger.contiguity_gaps(carried.settings.kafka_topic) == []
    assert carried.recover().complete
    assert carried.picture() == before
    assert carried.balanced() == []
