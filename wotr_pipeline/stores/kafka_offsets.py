"""What Kafka holds of a topic, told by offsets and times, without reading the events.

Belongs here: watermarks, offsets by time, arrival times, and the consumer group's commits.
Does not belong here: reading records in bulk (``kafka_records.py``), or what becomes of the offsets
(``automation/planning.py``).
Protocol: https://kafka.apache.org/protocol.html (ListOffsets, OffsetCommit)
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import KafkaError as ConfluentError
from confluent_kafka import TopicPartition as ConfluentTopicPartition
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import (
    AuthorizationError,
    KafkaConfigurationError,
    KafkaError,
    NoError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.structs import OffsetAndMetadata

from ..config import Settings
from .errors import PermanentError, TransientError

BOOTSTRAP_MS = 2_000
REQUEST_MS = 10_000
ARRIVAL_SECONDS = 5.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_log = logging.getLogger(__name__)
# It reports each refused connection by itself; callers get one error, that is enough.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Watermarks:
    """Kafka holds the offsets ``low`` (included) to ``high`` (excluded) of a partition.

    ``high`` is the last stable offset: what open transactions have written lies behind it.
    """

    low: int
    high: int


class KafkaOffsets:
    """Asks Kafka about offsets; to be entered with ``with``.

    Every method, and entering, raises TransientError when Kafka is away or slow, and PermanentError
    when it refuses or the topic does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers = settings.kafka_bootstrap.split(",")
        self._admin: Any = None
        self._consumer: Any = None

    def __enter__(self) -> Self:
        with self._translated("connect"):
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._servers,
                bootstrap_timeout_ms=BOOTSTRAP_MS,
                request_timeout_ms=REQUEST_MS,
                client_id="wotr-offsets",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            self._consumer.close()
        self._admin.close()

    def partitions(self, topic: str) -> list[int]:
        """Numbers of the topic's partitions, in order.

        Raises:
            PermanentError: there is no such topic.
        """
        with self._translated(f"describe topic {topic}", topic):
            (described,) = self._admin.describe_topics([topic])
            if described["error_code"]:
                raise for_code(described["error_code"])(topic)
        return sorted(partition["partition_index"] for partition in described["partitions"])

    def watermarks(self, topic: str) -> dict[int, Watermarks]:
        """What Kafka holds, by partition."""
        partitions = [TopicPartition(topic, partition) for partition in self.partitions(topic)]
        with self._translated(f"list the offsets of {topic}", topic):
            low = self._admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
            high = self._admin.list_partition_offsets(
                dict.fromkeys(partitions, OffsetSpec.LATEST), isolation_level="read_committed"
            )
        return {tp.partition: Watermarks(low[tp].offset, high[tp].offset) for tp in partitions}

    def first_offset_at(self, topic: str, partition: int, when: datetime) -> int | None:
        """The first offset of all whose record's timestamp is ``when`` or later, or None."""
        asked = TopicPartition(topic, partition)
        milliseconds = max(0, (when - EPOCH) // timedelta(milliseconds=1))
        with self._translated(f"look for a time in {topic}[{partition}]", topic):
            found = self._admin.list_partition_offsets({asked: milliseconds})[asked].offset
        return found if found >= 0 else None

    def arrival_of(self, topic: str, partition: int, offset: int) -> datetime | None:
        """Timestamp of the first committed record at ``offset`` or after it.

        None if there is none yet, or none with a timestamp that a calendar has.
        """
        if self._consumer is None:
            self._consumer = self._make_consumer()
        deadline = time.monotonic() + ARRIVAL_SECONDS
        reason = "no answer"
        try:
            self._consumer.assign([ConfluentTopicPartition(topic, partition, offset)])
            while time.monotonic() < deadline:
                message = self._consumer.poll(0.2)
                if message is None:
                    continue
                if message.error() is None:
                    return _moment(message.timestamp()[1])
                if message.error().code() == ConfluentError._PARTITION_EOF:
                    return None
                reason = message.error().str()
                if not message.error().retriable():
                    break
        except KafkaException as error:
            reason = error.args[0].str()
        raise TransientError(
            f"Kafka at {self._settings.kafka_bootstrap} did not tell when offset {offset} of {topic}[{partition}] "
            f"arrived ({reason}). Trying again is safe."
        )

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Tell the consumer group the next offset by partition, for lag tools; nothing here reads it.

        Raises:
            TransientError: also while somebody consumes as a member of the same group.
        """
        if not offsets:
            return
        commits = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets.items()
        }
        with self._translated(f"commit to group {self._settings.kafka_group}", topic):
            answers = self._admin.alter_group_offsets(self._settings.kafka_group, commits)
            for refused in set(answers.values()) - {NoError}:
                raise refused(f"for {topic}")

    def committed(self, topic: str) -> dict[int, int]:
        """The consumer group's next offsets by partition; partitions without a commit are absent."""
        group = self._settings.kafka_group
        with self._translated(f"read group {group}", topic):
            found = self._admin.list_group_offsets([group])[group]
        return {tp.partition: commit.offset for tp, commit in found.items() if tp.topic == topic}

    def _make_consumer(self) -> Any:
        # Not kafka-python's: it fails on headers that are not UTF-8 and on codecs it has no library for,
        # and whoever may produce could stop all planning with one such record.
        return Consumer(
            {
                "bootstrap.servers": self._settings.kafka_bootstrap,
                "client.id": "wotr-arrivals",
                "group.id": f"{self._settings.kafka_group}-arrivals",  # required, never used
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                # One record is wanted; a broker sends at least one whole record batch all the same.
                "max.partition.fetch.bytes": 4096,
                "queued.min.messages": 1,
                # By default a second passes between two records that are asked for: one is queued already.
                "fetch.queue.backoff.ms": 5,
                "fetch.wait.max.ms": 50,
                "log_level": 2,
            },
            logger=_log,
        )

    @contextmanager
    def _translated(self, what: str, topic: str = "") -> Iterator[None]:
        servers = self._settings.kafka_bootstrap
        try:
            yield
        except UnknownTopicOrPartitionError as error:
            raise PermanentError(
                f"Kafka at {servers} has no topic {topic}, or not that partition of it. "
                "Create it (`wotr up` does) or mend KAFKA_TOPIC."
            ) from error
        except (AuthorizationError, KafkaConfigurationError) as error:
            raise PermanentError(
                f"Kafka at {servers} refused to {what}: {type(error).__name__}. "
                "Check KAFKA_BOOTSTRAP and the access rules of the topic and the group."
            ) from error
        except (KafkaError, OSError) as error:
            raise TransientError(
                f"Kafka at {servers} did not {what} ({type(error).__name__}). Trying again is safe."
            ) from error


def _moment(milliseconds: int) -> datetime | None:
    if milliseconds < 0:
        return None
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
