"""A desk with rejected events in its register."""

from collections.abc import Iterator

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, epoch_event, send
from wotr_pipeline_tests.produced import BAD, event

EPOCH = [f"epoch-{number}" for number in range(12)]
GOOD = [f"good-{number}" for number in range(8)]


@pytest.fixture
def desk(space: Settings) -> Iterator[Desk]:
    """Nothing was sent yet."""
    topics.create_topic(space.model_copy(update={"kafka_topic": space.kafka_dlq_topic}), partitions=1)
    with DeadLetterRegister(space) as register:
        yield Desk(space, register)


@pytest.fixture
def rejected(desk: Desk) -> Desk:
    """GOOD is loaded; EPOCH and BAD are dead letters in the register."""
    send(desk.settings, [*map(event, GOOD), *map(epoch_event, EPOCH), *BAD])
    carry(desk.settings)
    desk.triage()
    return desk
