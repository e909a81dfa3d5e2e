"""How far the pipeline is behind Kafka, by partition: what arrived and is not in a raw object yet.

Counted from the ledger, which is the truth; the consumer group's commits follow it, for other lag tools to read.

Belongs here: that count. Does not belong here: planning (``automation/planning.py``), thresholds, pages.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from ..config import Settings
from .errors import TransientError
from .kafka_offsets import KafkaOffsets
from .ledger import Ledger

ARRIVALS_SECONDS = 1.0
"""How long partitions are asked for the arrival of their oldest waiting event; the rest is then left out."""


@dataclass(frozen=True)
class PartitionLag:
    """One partition. Offsets below ``landed`` are in raw objects; ``end`` is the next that Kafka will give."""

    partition: int
    landed: int
    end: int
    oldest: datetime | None
    """Arrival of the first event that waits; None if none does or it was not told in time."""

    @property
    def waiting(self) -> int:
        """Offsets that wait."""
        return max(0, self.end - self.landed)


@dataclass(frozen=True)
class Lag:
    """All partitions of the topic, in order."""

    partitions: tuple[PartitionLag, ...]

    @property
    def waiting(self) -> int:
        """Offsets that wait, in all."""
        return sum(partition.waiting for partition in self.partitions)

    @property
    def oldest(self) -> datetime | None:
        """Arrival of the oldest event that waits, as far as it is known."""
        return min((lag.oldest for lag in self.partitions if lag.oldest is not None), default=None)


def lag(settings: Settings, ledger: Ledger) -> Lag:
    """The lag now.

    Raises:
        TransientError, PermanentError: Kafka or the ledger is away, or there is no such topic.
    """
    topic = settings.kafka_topic
    landed = ledger.landed_until(topic)
    found = []
    with KafkaOffsets(settings) as offsets:
        until = time.monotonic() + ARRIVALS_SECONDS
        for partition, held in offsets.watermarks(topic).items():
            start = max(landed.get(partition, held.low), held.low)
            oldest = None
            if start < held.high and time.monotonic() < until:
                try:
                    oldest = offsets.arrival_of(topic, partition, start)
                except TransientError:
                    oldest = None  # the count is known all the same
            found.append(PartitionLag(partition, min(start, held.high), held.high, oldest))
    return Lag(tuple(found))
