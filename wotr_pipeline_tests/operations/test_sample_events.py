"""The sample's account is exact: whoever compares with it can believe it."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.events.reasons import Reason
from wotr_pipeline.events.rules import Accepted, Rejected, judge
from wotr_pipeline.operations.damaged_events import DAMAGES, damaged
from wotr_pipeline.operations.sample_events import Sample, SampleAccount, records, send
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline_tests.topics import new_topic

END = datetime(2026, 11, 23, 9, tzinfo=UTC)
SAMPLE = Sample(20_000, END, hours=3)


@pytest.mark.parametrize("name", DAMAGES)
def test_each_way_of_damage_is_refused_by_the_rules(name: str) -> None:
    value = damaged(name, "some-id", "2026-11-23T08:00:00Z", random.Random(1))
    assert isinstance(judge(value), Rejected)


def test_the_damage_covers_every_reason_a_producer_can_cause_by_accident() -> None:
    found = set()
    for name in DAMAGES:
        verdict = judge(damaged(name, "some-id", "2026-11-23T08:00:00Z", random.Random(1)))
        assert isinstance(verdict, Rejected)
        found.add(verdict.reason)
    assert set(Reason) - found <= {
        Reason.DUPLICATE_KEY,
        Reason.CONTROL_CHARACTER,
        Reason.TIMESTAMP_OUT_OF_RANGE,
        Reason.REFUSED_ELSEWHERE,
    }


def test_the_account_is_what_the_rules_find() -> None:
    account = SampleAccount()
    ids: Counter[str] = Counter()
    bad = 0
    for record in records(SAMPLE, account):
        verdict = judge(record.value)
        if isinstance(verdict, Accepted):
            ids[verdict.id] += 1
        else:
            bad += 1
    assert (len(ids), ids.total() - len(ids), bad) == (account.good, account.duplicates, account.bad)
    assert account.records == SAMPLE.events
    assert account.bad == account.damages.total()
    assert set(account.damages) == set(DAMAGES)
    assert account.duplicates > 50
    assert account.late > 200


def test_the_same_sample_is_the_same_byte_for_byte_and_another_seed_has_other_ids() -> None:
    first, again = (list(records(Sample(500, END), SampleAccount())) for _ in range(2))
    assert first == again
    other = {record.value for record in records(Sample(500, END, seed=1, bad=0), SampleAccount())}
    assert other.isdisjoint(record.value for record in first)


def test_arrivals_fill_the_window_in_order_and_events_are_of_the_usual_size() -> None:
    made = list(records(SAMPLE, SampleAccount()))
    arrivals = [record.arrival for record in made]
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] == END.timestamp() * 1000
    assert (END - timedelta(hours=3)).timestamp() * 1000 <= arrivals[0] < arrivals[-1] - 10_000_000
    usual = [len(record.value or b"") for record in made if record.key]
    assert 480 < sum(usual) / len(usual) < 580


def test_the_sample_is_in_kafka_when_the_account_is_given(platform: Settings) -> None:
    with new_topic(platform) as settings:
        account = send(Sample(3_000, datetime.now(UTC), seed=3), settings)
        with KafkaOffsets(settings) as offsets:
            held = offsets.watermarks(settings.kafka_topic).values()
        assert sum(marks.high for marks in held) == account.records == 3_000
