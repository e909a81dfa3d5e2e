"""From Kafka's offsets to planned batches: what is cut where, and filed under which hour.

Belongs here: the rules of cutting and of the arrival hour, and the check of Kafka against the ledger.
Does not belong here: when to plan (``sensors.py``), how the ledger keeps its chains
(``stores/ledger_planning.py``), reading records (``stores/kafka_records.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import PlannedRange
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets, Watermarks
from wotr_pipeline.stores.ledger import Ledger

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Plan:
    """What one tick did: all of it is in the ledger.

    ``lag`` has the offsets by partition that are still to be planned. Each loss is a problem too;
    ``problems`` are sentences for an operator, and none of them holds up another partition.
    """

    ranges: tuple[PlannedRange, ...]
    lag: Mapping[int, int]
    losses: tuple[PlannedRange, ...]
    problems: tuple[str, ...]

    @property
    def backlog(self) -> int:
        """Offsets of all partitions that are still to be planned."""
        return sum(self.lag.values())


def plan_batches(offsets: KafkaOffsets, ledger: Ledger, settings: Settings, now: datetime) -> Plan:
    """Enter what is new in Kafka into the ledger, at most ``WOTR_PLANNED_BATCHES`` batches.

    Every partition gets one batch, then the oldest hour goes first. Offsets that Kafka no longer holds
    are entered as a loss; a partition that ends before its plan does is left alone and named.

    Raises:
        TransientError: Kafka or the ledger is away, or someone else planned at the same time.
        PermanentError: there is no such topic, or Kafka or the ledger refuses.
    """
    topic = settings.kafka_topic
    watermarks = offsets.watermarks(topic)
    planned = ledger.planned_until(topic)
    losses: list[PlannedRange] = []
    problems: list[str] = []
    starts: dict[int, int] = {}
    for partition, held in watermarks.items():
        start = planned.get(partition, held.low)
        if start > held.high:
            problems.append(_cut_off(topic, partition, start, held, settings))
            continue
        if start < held.low:
            lost = PlannedRange(topic, partition, start, held.low - 1, hour_of(now))
            problem = _lost(lost, settings)
            ledger.record_loss(topic, partition, start, held.low - 1, lost.hour, problem)
            losses.append(lost)
            problems.append(problem)
            start = held.low
        starts[partition] = start
    problems.extend(
        f"Kafka has no partition {partition} of {topic} any more, but the ledger has {until} offsets of it: "
        f"the topic was made anew. See {settings.runbook('operating.md#offsets')}."
        for partition, until in planned.items()
        if partition not in watermarks
    )
    cutter = _Cutter(offsets, settings, now)
    ranges = _fair(cutter, starts, watermarks, settings.wotr_planned_batches)
    ledger.plan(ranges)
    ends = starts | {range_.partition: range_.last_offset + 1 for range_ in ranges}
    lag = {partition: watermarks[partition].high - end for partition, end in ends.items()}
    return Plan(tuple(ranges), lag, tuple(losses), tuple(problems))


def cut_again(
    offsets: KafkaOffsets, settings: Settings, now: datetime, partition: int, first: int, last: int
) -> list[PlannedRange]:
    """Ranges for offsets ``first`` to ``last`` that Kafka holds and the ledger has lost, cut as any other.

    Raises:
        TransientError, PermanentError: Kafka is away or refuses.
    """
    cutter = _Cutter(offsets, settings, now)
    ranges: list[PlannedRange] = []
    while first <= last:
        ranges.append(cutter.cut(partition, first, last + 1))
        first = ranges[-1].last_offset + 1
    return ranges


def arrival_hour(arrival: datetime | None, now: datetime, first_hour: datetime) -> datetime:
    """The hour under which a batch is filed whose first record arrived at ``arrival``.

    The hour of planning (``now``) if the record has no timestamp, one before the first partition
    (``first_hour``), or one in the future: such a clock is wrong, and there may be no such partition.
    """
    if arrival is None or arrival < first_hour or arrival > now:
        return hour_of(now)
    return hour_of(arrival)


def hour_of(moment: datetime) -> datetime:
    """The full hour, in UTC, that ``moment`` lies in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class _Cutter:
    """Cuts one batch off the beginning of what a partition holds."""

    def __init__(self, offsets: KafkaOffsets, settings: Settings, now: datetime) -> None:
        self._offsets = offsets
        self._settings = settings
        self._now = now

    def cut(self, partition: int, start: int, high: int) -> PlannedRange:
        """The next batch of offsets ``start`` to ``high`` (excluded), one offset at least.

        It ends where the next hour begins: before the first of all records of the partition that is of
        that hour or later. Producers set timestamps, so records may be in any order; as that offset is
        one and the same for ever, an hour cuts a partition once at most, and no disorder can make
        batches small. What arrives out of order is filed with its neighbours.
        """
        topic = self._settings.kafka_topic
        last = min(start + self._settings.wotr_batch_events, high) - 1
        arrival = self._offsets.arrival_of(topic, partition, start)
        hour = arrival_hour(arrival, self._now, self._settings.wotr_first_hour)
        if hour + HOUR <= self._now:
            boundary = self._offsets.first_offset_at(topic, partition, hour + HOUR)
            if boundary is not None and start < boundary <= last:
                last = boundary - 1
        return PlannedRange(topic, partition, start, last, hour)


def _fair(
    cutter: _Cutter, starts: Mapping[int, int], watermarks: Mapping[int, Watermarks], most: int
) -> list[PlannedRange]:
    ranges: list[PlannedRange] = []
    counts = dict.fromkeys(starts, 0)
    # Sorted by: a partition's first batch before any second one, oldest hour, fewest batches.
    waiting: list[tuple[bool, datetime, int, int, PlannedRange]] = []

    def offer(partition: int, start: int) -> None:
        if start < watermarks[partition].high:
            cut = cutter.cut(partition, start, watermarks[partition].high)
            count = counts[partition]
            heappush(waiting, (count > 0, cut.hour, count, partition, cut))

    for partition, start in starts.items():
        offer(partition, start)
    while waiting and len(ranges) < most:
        *_, partition, cut = heappop(waiting)
        ranges.append(cut)
        counts[partition] += 1
        if len(ranges) < most:
            offer(partition, cut.last_offset + 1)
    return ranges


def _lost(lost: PlannedRange, settings: Settings) -> str:
    return (
        f"LOST: Kafka no longer holds {lost.offsets} offsets, {lost.first_offset}-{lost.last_offset} of "
        f"{lost.topic}[{lost.partition}], and they were never planned: its retention is shorter than the "
        f"pipeline's standstill. Planning goes on after them. See {settings.runbook('operating.md#offsets')}."
    )


def _cut_off(topic: str, partition: int, start: int, held: Watermarks, settings: Settings) -> str:
    return (
        f"{topic}[{partition}] ends at offset {held.high} in Kafka, but is planned to {start}: the topic was "
        "made anew or its log was cut. Nothing more is planned of this partition. "
        f"See {settings.runbook('operating.md#offsets')}."
    )
