"""Planning: chains without gaps or overlaps, whatever is asked, by however many at once."""

import logging
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.stores.batch import Batch, BatchState, Chain, Overlap, PlannedRange, overlap
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.ledger import Ledger, LedgerWriter

HOUR = datetime(2026, 1, 1, tzinfo=UTC)

Ask = Callable[..., list[Batch]]


@pytest.fixture
def ask(ledger: Ledger, planned: Batch) -> Ask:
    """Plan ranges of the partition in which 100 to 199 and 200 to 299 are planned."""

    def ask(*ranges: tuple[int, int]) -> list[Batch]:
        return ledger.plan(PlannedRange(planned.topic, 0, *range_, planned.hour) for range_ in ranges)

    ask((200, 299))
    return ask


def ranges_of(ledger: Ledger, topic: str) -> list[tuple[int, int]]:
    return [(batch.first_offset, batch.last_offset) for batch in ledger.unfinished(topic)]


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        (300, 399, Overlap.NEW),
        (100, 199, Overlap.SAME),
        (100, 150, Overlap.CONTAINED),
        (150, 250, Overlap.CONTAINED),
        (100, 299, Overlap.CONTAINED),
        (250, 300, Overlap.OVERLAPPING),
        (100, 300, Overlap.OVERLAPPING),
        (50, 99, Overlap.EARLIER),
        (50, 400, Overlap.EARLIER),
        (301, 301, Overlap.GAP),
    ],
)
def test_each_overlap_case_has_its_name(first: int, last: int, name: Overlap) -> None:
    planned = PlannedRange("t", 0, first, last, HOUR)
    assert overlap(planned, Chain(100, 300), {"t:0:100-199", "t:0:200-299"}) is name


def test_new_is_inserted(ledger: Ledger, ask: Ask, planned: Batch) -> None:
    new = ask((310, 319), (300, 309))
    assert [(batch.first_offset, batch.last_offset) for batch in new] == [(300, 309), (310, 319)]
    assert ledger.planned_until(planned.topic) == {0: 320}


def test_the_first_plan_of_a_partition_may_start_anywhere(ledger: Ledger, planned: Batch) -> None:
    ledger.plan([PlannedRange(planned.topic, 7, 5_000_000_000, 5_000_000_001, planned.hour)])
    assert ledger.planned_until(planned.topic) == {0: 200, 7: 5_000_000_002}


@pytest.mark.parametrize("replay", [(100, 199), (120, 130), (150, 250)])
def test_same_and_contained_are_left_out_and_reported(
    ledger: Ledger, ask: Ask, planned: Batch, replay: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        new = ask(replay, (300, 309))
    assert [batch.first_offset for batch in new] == [300], "the rest of the plan is entered"
    assert f"{planned.topic}:0:{replay[0]}-{replay[1]}" in caplog.text
    assert ranges_of(ledger, planned.topic) == [(100, 199), (200, 299), (300, 309)]


@pytest.mark.parametrize(
    ("refused", "kind", "name"),
    [
        ((290, 310), TransientError, "OVERLAPPING"),
        ((50, 99), PermanentError, "EARLIER"),
        ((311, 320), PermanentError, "GAP"),
    ],
)
def test_overlapping_earlier_and_gap_refuse_the_whole_plan(
    ledger: Ledger, ask: Ask, planned: Batch, refused: tuple[int, int], kind: type[Exception], name: str
) -> None:
    with pytest.raises(kind, match=f"{planned.topic}:0:{refused[0]}-{refused[1]} is {name}"):
        ask((300, 309), refused)
    assert ranges_of(ledger, planned.topic) == [(100, 199), (200, 299)]


def test_a_loss_continues_the_chain_or_is_refused(ledger: Ledger, planned: Batch) -> None:
    topic, hour = planned.topic, planned.hour
    with pytest.raises(PermanentError, match="GAP"):
        ledger.record_loss(topic, 0, 201, 300, hour, "gone")
    with pytest.raises(PermanentError, match="planned already"):
        ledger.record_loss(topic, 0, 150, 160, hour, "gone")
    assert ledger.batches(hour) == [planned]


def test_a_range_that_is_none_is_refused_before_the_database_sees_it() -> None:
    for first, last, hour in ((5, 4, HOUR), (-1, 4, HOUR), (1, 4, HOUR + timedelta(minutes=1))):
        with pytest.raises(ValueError, match="t:0:"):
            PlannedRange("t", 0, first, last, hour)
    with pytest.raises(ValueError, match="time zone"):
        PlannedRange("t", 0, 1, 4, HOUR.replace(tzinfo=None))


def test_two_planners_at_once_enter_a_plan_once(ledger: Ledger, topic: str, hour: datetime) -> None:
    ranges = [PlannedRange(topic, 0, first, first + 9, hour) for first in range(0, 500, 10)]
    start = threading.Barrier(4)
    results: list[list[Batch]] = []

    def plan() -> None:
        start.wait(timeout=30)
        results.append(ledger.plan(ranges))

    planners = [threading.Thread(target=plan) for _ in range(4)]
    for planner in planners:
        planner.start()
    for planner in planners:
        planner.join(timeout=60)
    assert sorted(map(len, results)) == [0, 0, 0, 50]
    assert ledger.planned_until(topic) == {0: 500}
    assert len(ledger.unfinished(topic)) == 50


def test_a_gap_made_by_hand_is_found(ledger: Ledger, ask: Ask, planned: Batch, database: sa.Engine) -> None:
    ask((300, 309))
    assert ledger.contiguity_gaps(planned.topic) == []
    delete = sa.text("DELETE FROM ingest_batches WHERE topic = :topic AND first_offset = 200")
    with database.begin() as connection:
        connection.execute(delete, {"topic": planned.topic})
    [gap] = ledger.contiguity_gaps(planned.topic)
    assert (gap.partition, gap.first_offset, gap.last_offset) == (0, 200, 299)
    assert ledger.planned_runs(planned.topic) == {0: [(100, 199), (300, 309)]}


asked = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40), st.integers(1, 12)), max_size=4)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("plan"), asked),
        st.tuples(st.just("continue"), st.lists(st.integers(1, 8), min_size=1, max_size=3)),
        st.tuples(st.just("lose"), st.tuples(st.integers(0, 40), st.integers(1, 5))),
        st.tuples(st.just("split"), st.tuples(st.integers(0, 9), st.integers(0, 11))),
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=actions)
def test_no_sequence_of_plans_losses_and_splits_leaves_a_gap_or_an_overlap(
    ledger: Ledger, writer: LedgerWriter, hour: datetime, actions: list[tuple[str, list]]
) -> None:
    topic = f"random-{uuid.uuid4().hex[:12]}"
    model: dict[int, set[int]] = {0: set(), 1: set()}

    def plan(ranges: list[tuple[int, int, int]]) -> None:
        """By the model: all or nothing, continued at the end, left out if known, else refused."""
        after = {partition: set(offsets) for partition, offsets in model.items()}
        fits = True
        for partition, first, length in sorted(ranges, key=lambda range_: range_[:2]):
            offsets = set(range(first, first + length))
            if not after[partition] or first == max(after[partition]) + 1:
                after[partition] |= offsets
            fits = fits and offsets <= after[partition]
        wanted = [PlannedRange(topic, p, first, first + length - 1, hour) for p, first, length in ranges]
        if fits:
            ledger.plan(wanted)
            model.update(after)
        else:
            with pytest.raises((PermanentError, TransientError)):
                ledger.plan(wanted)

    for name, arguments in actions:
        end = max(model[0], default=-1) + 1
        if name == "plan":
            plan(arguments)
        elif name == "continue":
            for length in arguments:
                plan([(0, max(model[0], default=-1) + 1, length)])
        elif name == "lose":
            first, length = arguments
            if not model[0] or first == end:
                ledger.record_loss(topic, 0, first, first + length - 1, hour, "gone")
                model[0] |= set(range(first, first + length))
            else:
                with pytest.raises((PermanentError, TransientError)):
                    ledger.record_loss(topic, 0, first, first + length - 1, hour, "gone")
        elif unfinished := ledger.unfinished(topic):
            batch = unfinished[arguments[0] % len(unfinished)]
            claimed = writer.claim(batch)
            assert claimed is not None
            if claimed.offsets > 1:
                claimed = writer.split(claimed, claimed.first_offset + arguments[1] % (claimed.offsets - 1))
            writer.release(claimed)

    stored = [batch for batch in ledger.batches(hour) if batch.topic == topic]
    for partition, offsets in model.items():
        covered = [
            offset
            for batch in stored
            if batch.partition == partition
            for offset in range(batch.first_offset, batch.last_offset + 1)
        ]
        assert covered == sorted(offsets), "each offset once, in the order of the batches"
    assert ledger.contiguity_gaps(topic) == []
    assert ledger.planned_until(topic) == {p: max(offsets) + 1 for p, offsets in model.items() if offsets}
    assert all(batch.state in (BatchState.PLANNED, BatchState.QUARANTINED) for batch in stored)
