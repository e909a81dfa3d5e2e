"""A repair, a retry, a triage killed at every step: nothing is doubled, nothing lost, the state is true."""

import os
import signal
import subprocess
import sys

import pytest

from wotr_pipeline.events.repair import Transformation
from wotr_pipeline.stores.dead_letter import LetterFilter
from wotr_pipeline_tests.chaos.scenario import PROJECT
from wotr_pipeline_tests.conftest import environment_of
from wotr_pipeline_tests.operations.dead_letters.conftest import EPOCH, GOOD
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, copies

pytestmark = pytest.mark.chaos

STEPS = [
    ("LetterContents.keep_repaired", "after"),
    ("DeadLetterRegister.fixed", "after"),
    ("DeadLetterRegister.begin", "before"),
    ("DeadLetterRegister.begin", "after"),
    ("EventProducer.send", "after"),
    ("DeadLetterRegister.note_positions", "before"),
    ("DeadLetterRegister.note_positions", "after"),
    ("DeadLetterRegister.enter_batch", "before"),
    ("DeadLetterRegister.enter_batch", "after"),
]
WANTED = LetterFilter(fields=("timestamp",))


@pytest.mark.parametrize(("step", "moment"), STEPS)
def test_a_desk_killed_at_any_step_is_followed_by_one_that_finishes_its_work(
    rejected: Desk, step: str, moment: str
) -> None:
    module = "wotr_pipeline_tests.operations.dead_letters.killed_desk"
    killed = subprocess.run(
        [sys.executable, "-m", module, step, moment],
        env={**environment_of(rejected.settings), "PYTHONPATH": os.fspath(PROJECT)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    carry(rejected.settings)
    counts = copies(rejected.settings)
    assert set(counts.values()) == {1}, "nothing is doubled, whatever was sent"

    rejected.repairs().run(WANTED, Transformation("timestamp_from_epoch"), "epochs", apply=True)
    rejected.retry().run(WANTED, "epochs")
    carry(rejected.settings)
    rejected.triage()
    assert {letter.state.value for letter in rejected.letters(fields=("timestamp",))} == {"RESOLVED"}
    assert copies(rejected.settings) == dict.fromkeys([*GOOD, *EPOCH], 1)
    assert rejected.register.under_way() == 0
