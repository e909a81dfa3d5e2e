"""A repair, a retry, a triage killed at every step: nothing is doubled, nothing lost, the state is true."""

from collections.abc import Callable

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.events.repair import Transformation
from wotr_pipeline.stores.dead_letter import LetterFilter
from wotr_pipeline.stores.dead_letter_contents import LetterContents
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline_tests.killed import Moment, killed, named
from wotr_pipeline_tests.operations.dead_letters.conftest import EPOCH, GOOD
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, copies

pytestmark = pytest.mark.chaos

STEPS: list[tuple[Callable[..., object], Moment]] = [
    (LetterContents.keep_repaired, "after"),
    (DeadLetterRegister.fixed, "after"),
    (DeadLetterRegister.begin, "before"),
    (DeadLetterRegister.begin, "after"),
    (EventProducer.send, "after"),
    (DeadLetterRegister.note_positions, "before"),
    (DeadLetterRegister.note_positions, "after"),
    (DeadLetterRegister.enter_batch, "before"),
    (DeadLetterRegister.enter_batch, "after"),
]
WANTED = LetterFilter(fields=("timestamp",))
REPAIR = Transformation("timestamp_from_epoch")


def repair_and_retry(settings: Settings) -> None:
    with DeadLetterRegister(settings) as register:
        desk = Desk(settings, register, "doomed")
        desk.repairs().run(WANTED, REPAIR, "epochs", apply=True)
        desk.retry().run(WANTED, "epochs")
        carry(settings)
        desk.triage()


@pytest.mark.parametrize(("step", "moment"), STEPS, ids=named)
def test_a_desk_killed_at_any_step_is_followed_by_one_that_finishes_its_work(
    rejected: Desk, step: Callable[..., object], moment: Moment
) -> None:
    killed(repair_and_retry, rejected.settings, at=step, moment=moment)
    carry(rejected.settings)
    counts = copies(rejected.settings)
    assert set(counts.values()) == {1}, "nothing is doubled, whatever was sent"

    rejected.repairs().run(WANTED, REPAIR, "epochs", apply=True)
    rejected.retry().run(WANTED, "epochs")
    carry(rejected.settings)
    rejected.triage()
    assert {letter.state.value for letter in rejected.letters(fields=("timestamp",))} == {"RESOLVED"}
    assert copies(rejected.settings) == dict.fromkeys([*GOOD, *EPOCH], 1)
    assert rejected.register.under_way() == 0
