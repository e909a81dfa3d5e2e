"""A recovery is killed at its boundaries; the same command again, or the sensor's next run, finishes it."""

import logging
from collections.abc import Callable, Iterator

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.recovery import Recovery, Stores
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.ledger_writer import LedgerWriter
from wotr_pipeline.stores.loading import Loader
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.killed import Moment, killed
from wotr_pipeline_tests.operations.recovery_place import Place, carry_a_stream_with_repeats, place_of

pytestmark = pytest.mark.chaos

BOUNDARIES: list[tuple[Callable[..., object], Moment, int]] = [
    (Ledger.reopen, "after", 2),
    (Loader.load, "before", 2),
    (Loader.load, "after", 3),
    (LedgerWriter.loaded, "after", 4),
]
"""Between the batches, before and after the rows are there, and when the ledger knows it."""


@pytest.fixture
def carried(space: Settings) -> Iterator[Place]:
    with place_of(space) as place:
        carry_a_stream_with_repeats(place)
        yield place


def recover_everything(settings: Settings) -> None:
    stores = Stores(settings, Ledger(settings), ObjectStore(settings), Warehouse(settings))
    for _ in Recovery(stores, None, "killed", logging.getLogger("killed")).apply():
        pass


def test_a_recovery_killed_at_its_boundaries_is_finished_by_the_next(carried: Place) -> None:
    before = carried.picture()
    for boundary, moment, call in BOUNDARIES:
        carried.drop_tables()
        killed(recover_everything, carried.settings, at=boundary, moment=moment, call=call)
        done = carried.recover()
        assert done.complete, (boundary, list(done.lines()))
        assert carried.picture() == before, boundary
    assert carried.balanced() == []


def test_an_ordinary_pass_finishes_what_a_killed_recovery_had_opened(carried: Place) -> None:
    before = carried.picture()
    carried.drop_tables()
    killed(recover_everything, carried.settings, at=Loader.load, moment="after")
    opened = [batch for batch in carried.batches() if batch.state.unfinished]
    assert opened
    carried.carry()
    assert [batch.state for batch in carried.batches() if batch.state.unfinished] == []
    assert carried.recover().complete
    assert carried.picture() == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_recovery_killed_while_the_ledger_is_made_whole_leaves_whole_chains(
    carried: Place, moment: Moment
) -> None:
    before = carried.picture()
    carried.lose_ledger()
    killed(recover_everything, carried.settings, at=Ledger.adopt, moment=moment)
    assert len(carried.batches()) == (len(before["ledger"]) if moment == "after" else 0)
    assert carried.ledger.contiguity_gaps(carried.settings.kafka_topic) == []
    assert carried.recover().complete
    assert carried.picture() == before
    assert carried.balanced() == []
