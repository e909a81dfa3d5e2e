"""Kafka's offsets become batches: none twice, none left out, filed under the right hour."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from wotr_pipeline.automation.planning import Plan, arrival_hour, plan_batches
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.topics import (
    create_topic,
    delete_before,
    drop_topic,
    new_topic,
    produce,
    transaction,
    wait_until,
)

HOUR = timedelta(hours=1)
EIGHT = datetime(2026, 3, 1, 8, tzinfo=UTC)
NOW = EIGHT + timedelta(hours=2, minutes=30)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(platform: Settings, space: Settings) -> Iterator[Settings]:
    with new_topic(space) as settings:
        yield settings.model_copy(update={"wotr_batch_events": 10, "wotr_planned_batches": 100})


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with Ledger(settings) as ledger:
        yield ledger


def plan(settings: Settings, ledger: Ledger, **changed: int) -> Plan:
    with KafkaOffsets(settings) as offsets:
        return plan_batches(offsets, ledger, settings.model_copy(update=changed), NOW)


def send(settings: Settings, *arrivals: datetime, partition: int = 0) -> None:
    with topics.sending(settings) as send:
        for arrival in arrivals:
            send(b"x", timestamp_ms=int(arrival.timestamp() * 1000), partition=partition)


def cuts(plan: Plan) -> list[tuple[int, int, int, datetime]]:
    return [(cut.partition, cut.first_offset, cut.last_offset, cut.hour) for cut in plan.ranges]


@pytest.mark.parametrize(
    ("arrival", "hour"),
    [
        (EIGHT, EIGHT),
        (EIGHT + timedelta(minutes=59, seconds=59, milliseconds=999), EIGHT),
        (FIRST, FIRST),
        (NOW, EIGHT + 2 * HOUR),
        (None, EIGHT + 2 * HOUR),
        (FIRST - timedelta(milliseconds=1), EIGHT + 2 * HOUR),
        (datetime(1970, 1, 1, tzinfo=UTC), EIGHT + 2 * HOUR),
        (NOW + timedelta(milliseconds=1), EIGHT + 2 * HOUR),
        (NOW + 1000 * HOUR, EIGHT + 2 * HOUR),
    ],
)
def test_a_batch_is_filed_under_its_arrival_or_under_the_hour_of_planning(
    arrival: datetime | None, hour: datetime
) -> None:
    assert arrival_hour(arrival, NOW, FIRST) == hour


def test_everything_is_planned_once_and_what_came_since_by_the_next_plan(
    settings: Settings, ledger: Ledger
) -> None:
    send(settings, *[NOW] * 25)
    first = plan(settings, ledger)
    assert [(first, last) for _, first, last, _ in cuts(first)] == [(0, 9), (10, 19), (20, 24)]
    assert [batch.batch_id for batch in ledger.unfinished(settings.kafka_topic)] == [
        planned.batch_id for planned in first.ranges
    ]
    assert plan(settings, ledger).ranges == ()
    send(settings, NOW)
    assert [(first, last) for _, first, last, _ in cuts(plan(settings, ledger))] == [(25, 25)]
    assert ledger.contiguity_gaps(settings.kafka_topic) == []


def test_batches_are_cut_where_the_next_hour_begins(settings: Settings, ledger: Ledger) -> None:
    send(settings, *[EIGHT] * 4, *[EIGHT + HOUR] * 3, *[NOW] * 2)
    assert cuts(plan(settings, ledger)) == [
        (0, 0, 3, EIGHT),
        (0, 4, 6, EIGHT + HOUR),
        (0, 7, 8, EIGHT + 2 * HOUR),
    ]


def test_no_disorder_of_timestamps_makes_batches_small_or_stops_the_plan(
    settings: Settings, ledger: Ledger
) -> None:
    shuffled = [EIGHT + HOUR * (number % 3) for number in range(60)]
    send(settings, *shuffled)
    planned = plan(settings, ledger)
    assert sum(cut.offsets for cut in planned.ranges) == 60
    assert len(planned.ranges) <= 6 + 2  # full batches, and one cut for each of the later hours


def test_a_tick_plans_a_bounded_number_oldest_hour_first_and_every_partition(
    settings: Settings, ledger: Ledger
) -> None:
    send(settings, *[EIGHT] * 40, partition=0)
    send(settings, *[EIGHT + HOUR] * 40, partition=1)
    planned = plan(settings, ledger, wotr_planned_batches=4)
    assert [(partition, hour) for partition, _, _, hour in cuts(planned)] == [
        (0, EIGHT),
        (1, EIGHT + HOUR),
        (0, EIGHT),
        (0, EIGHT),
    ]
    assert planned.lag == {0: 10, 1: 30}
    assert planned.backlog == 40


def test_partitions_of_the_same_hour_take_turns(settings: Settings, ledger: Ledger) -> None:
    for partition in (0, 1):
        send(settings, *[EIGHT] * 30, partition=partition)
    planned = plan(settings, ledger, wotr_planned_batches=6)
    assert [partition for partition, *_ in cuts(planned)] == [0, 1, 0, 1, 0, 1]


def test_an_open_transaction_is_planned_when_it_ends(settings: Settings, ledger: Ledger) -> None:
    with transaction(settings) as write:
        write([b"open"] * 3)
        assert plan(settings, ledger).ranges == ()
    assert [(first, last) for _, first, last, _ in cuts(plan(settings, ledger))] == [(0, 3)]


def test_offsets_without_a_single_record_are_planned_too(settings: Settings, ledger: Ledger) -> None:
    with transaction(settings, commit=False) as write:
        write([b"aborted"] * 3)
    assert cuts(plan(settings, ledger)) == [(0, 0, 3, EIGHT + 2 * HOUR)]


def test_a_first_plan_begins_with_what_kafka_holds(settings: Settings, ledger: Ledger) -> None:
    send(settings, *[NOW] * 9)
    delete_before(settings, 0, 5)
    planned = plan(settings, ledger)
    assert [(first, last) for _, first, last, _ in cuts(planned)] == [(5, 8)]
    assert planned.problems == ()


def test_offsets_that_kafka_dropped_before_they_were_planned_are_a_loud_loss(
    settings: Settings, ledger: Ledger
) -> None:
    send(settings, *[NOW] * 5)
    plan(settings, ledger)
    send(settings, *[NOW] * 20)
    delete_before(settings, 0, 12)

    planned = plan(settings, ledger)

    assert [(lost.first_offset, lost.last_offset) for lost in planned.losses] == [(5, 11)]
    (problem,) = planned.problems
    assert "LOST" in problem
    assert "7 offsets, 5-11" in problem
    assert [(first, last) for _, first, last, _ in cuts(planned)] == [(12, 21), (22, 24)]
    lost = ledger.batch(f"{settings.kafka_topic}:0:5-11")
    assert (lost.state, lost.last_error) == (BatchState.QUARANTINED, problem)
    assert ledger.contiguity_gaps(settings.kafka_topic) == []
    assert plan(settings, ledger).problems == ()


def test_a_topic_made_anew_is_named_and_does_not_hold_up_other_partitions(
    settings: Settings, ledger: Ledger
) -> None:
    send(settings, *[NOW] * 5, partition=0)
    plan(settings, ledger)
    drop_topic(settings)

    def gone() -> bool:
        with KafkaOffsets(settings) as offsets:
            try:
                offsets.watermarks(settings.kafka_topic)
            except PermanentError:
                return True
            return False

    wait_until(gone)
    create_topic(settings)
    produce(settings, [b"x"] * 2, partition=0)
    send(settings, *[NOW] * 3, partition=1)

    planned = plan(settings, ledger)

    (problem,) = planned.problems
    assert f"{settings.kafka_topic}[0] ends at offset 2 in Kafka, but is planned to 5" in problem
    assert [(partition, first, last) for partition, first, last, _ in cuts(planned)] == [(1, 0, 2)]
