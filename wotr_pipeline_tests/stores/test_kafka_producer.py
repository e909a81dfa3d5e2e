"""What is acknowledged is kept; what is not, is said."""

from collections.abc import Iterator

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline_tests.topics import new_topic, read


@pytest.fixture
def settings(platform: Settings) -> Iterator[Settings]:
    with new_topic(platform, 1) as settings:
        yield settings


def test_everything_sent_is_acknowledged_and_in_order_when_the_block_ends(settings: Settings) -> None:
    with EventProducer(settings) as producer:
        for number in range(120_000):  # more than its queue holds
            producer.send(b"%d" % number)
    assert (producer.sent, producer.acknowledged) == (120_000, 120_000)
    assert read(settings, 0, 119_999).table["value"].to_pylist() == [
        b"%d" % number for number in range(120_000)
    ]


def test_a_record_larger_than_the_topic_takes_is_refused_at_once_and_the_others_are_kept(
    settings: Settings,
) -> None:
    with EventProducer(settings) as producer:
        producer.send(b"before")
        with pytest.raises(PermanentError, match="larger than the topic takes"):
            producer.send(b"x" * 2_000_000)
        producer.send(b"after")
    assert read(settings, 0, 1).table["value"].to_pylist() == [b"before", b"after"]


def test_a_refused_delivery_is_raised_with_what_is_safe(settings: Settings) -> None:
    producer = EventProducer(settings)
    with pytest.raises(PermanentError, match="does not take a record of that time.* 0 of the 1"), producer:  # noqa: RUF043
        producer.send(b"from the future", timestamp_ms=2**42)
    assert producer.acknowledged == 0


def test_a_missing_topic_is_permanent_and_kafka_being_away_is_transient(settings: Settings) -> None:
    with pytest.raises(PermanentError, match="no-such-topic"), EventProducer(settings, "no-such-topic"):
        pass
    away = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    with pytest.raises(TransientError, match=r"Kafka at 127\.0\.0\.1:1"), EventProducer(away):
        pass
