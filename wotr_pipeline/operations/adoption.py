"""Raw objects that the ledger has no batch of: found, verified, and entered again.

A ledger that has lost rows, or all of them, is made whole from the names and the metadata of the raw
objects. What lies between them and is in no object is planned again if Kafka still holds it, and
entered as a loss if it does not. Always for the whole topic: a chain cannot be mended in part.

Belongs here: comparing the bucket with the ledger, and the decision what becomes of each difference.
Does not belong here: how it is entered (``stores/ledger_adoption.py``), or loading (``recovery.py``).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise

from wotr_pipeline.automation.planning import cut_again, hour_of
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import PlannedRange, RawObject
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import RAW, parse_raw_key, raw_key
from wotr_pipeline.stores.objects import ObjectStore

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Adoption:
    """What the ledger lacks. ``problems``: objects that are left alone, and why."""

    objects: tuple[RawObject, ...] = ()
    planned: tuple[PlannedRange, ...] = ()
    lost: Mapping[PlannedRange, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to enter."""
        return not (self.objects or self.planned or self.lost)

    @property
    def hours(self) -> Counter[datetime]:
        """How many of the objects are of each hour."""
        return Counter(found.range.hour for found in self.objects)


def missing_from_ledger(
    settings: Settings, ledger: Ledger, objects: ObjectStore, now: datetime, *, read_bytes: bool
) -> Adoption:
    """Compare the bucket, the ledger and Kafka; nothing is written.

    ``read_bytes``: compute the sum of every object that would be adopted; without it the sum is believed.
    Holds a few hundred bytes of memory an object that the ledger lacks, and one object at a time.

    Raises:
        TransientError: a store is away. Kafka is asked only if offsets are missing.
        PermanentError: a store refuses.
    """
    problems: list[str] = []
    there = ledger.planned_runs(settings.kafka_topic)
    free = _without_overlaps(_unknown(settings, ledger, objects), there, problems)
    found = [whole for key, range_ in free if (whole := _whole(objects, key, range_, read_bytes, problems))]
    planned: list[PlannedRange] = []
    lost: dict[PlannedRange, str] = {}
    if found or any(len(runs) > 1 for runs in there.values()):
        _fill(settings, there, found, now, planned, lost)
    return Adoption(tuple(found), tuple(planned), lost, tuple(problems))


def what_is_wrong(objects: ObjectStore, key: str, sha256: str, size: int, *, read_bytes: bool) -> str | None:
    """What is wrong with a raw object, or None. Without ``read_bytes`` only what the store says of it.

    Raises:
        TransientError: the object store is away.
    """
    info = objects.head(key)
    if info is None:
        return f"{key} is missing"
    noted = info.metadata.get("sha256")
    if info.size != size or noted not in (None, sha256):
        return f"{key} is not the object that was landed: {info.size} bytes, noted were {size}"
    if read_bytes and (digest := hashlib.sha256(objects.get(key)).hexdigest()) != sha256:
        return f"{key} is damaged: its sha256 is {digest[:12]}…, noted was {sha256[:12]}…"
    return None


def _unknown(settings: Settings, ledger: Ledger, objects: ObjectStore) -> Iterator[tuple[str, PlannedRange]]:
    """Objects of the topic that no batch of their hour is named like, hour by hour."""
    named = ((info.key, parse_raw_key(info.key)) for info in objects.list(RAW))
    ours = ((key, range_) for key, range_ in named if range_ and range_.topic == settings.kafka_topic)
    for hour, group in groupby(ours, key=lambda item: item[1].hour):
        # The objects first: a plan is older than its object, so a run at work cannot be mistaken.
        listed = list(group)
        known = {raw_key(batch) for batch in ledger.batches(hour)}
        yield from (item for item in listed if item[0] not in known)


def _without_overlaps(
    unknown: Iterator[tuple[str, PlannedRange]],
    there: Mapping[int, Sequence[tuple[int, int]]],
    problems: list[str],
) -> list[tuple[str, PlannedRange]]:
    free: list[tuple[str, PlannedRange]] = []
    by_offset = sorted(
        unknown, key=lambda item: (item[1].partition, item[1].first_offset, -item[1].last_offset)
    )
    for partition, group in groupby(by_offset, key=lambda item: item[1].partition):
        taken_until = -1
        for key, range_ in group:
            inside = any(
                first <= range_.last_offset and range_.first_offset <= last
                for first, last in there.get(partition, ())
            )
            if inside or range_.first_offset <= taken_until:
                whose = "a batch of the ledger" if inside else "another raw object"
                problems.append(f"{key} has offsets of {whose}; it is left alone")
                continue
            taken_until = range_.last_offset
            free.append((key, range_))
    return free


def _whole(
    objects: ObjectStore, key: str, range_: PlannedRange, read_bytes: bool, problems: list[str]
) -> RawObject | None:
    info = objects.head(key)
    noted = info.metadata if info else {}
    sha256, count = noted.get("sha256", ""), noted.get("records", "")
    if info is None or not (_SHA256.fullmatch(sha256) and count.isdecimal()):
        problems.append(f"{key} does not say its sha256 and records; it is left alone")
        return None
    records = int(count)
    wrong = what_is_wrong(objects, key, sha256, info.size, read_bytes=True) if read_bytes else None
    if wrong or records > range_.offsets:
        problems.append(f"{wrong or f'{key} claims more records than offsets'}; it is left alone")
        return None
    return RawObject(range_, key, records, sha256, info.size)


def _fill(
    settings: Settings,
    there: Mapping[int, Sequence[tuple[int, int]]],
    found: Sequence[RawObject],
    now: datetime,
    planned: list[PlannedRange],
    lost: dict[PlannedRange, str],
) -> None:
    """Plan, or enter as lost, what lies between the runs and the objects of each partition."""
    topic = settings.kafka_topic
    runs = {partition: list(known) for partition, known in there.items()}
    for whole in found:
        runs.setdefault(whole.range.partition, []).append((whole.range.first_offset, whole.range.last_offset))
    with KafkaOffsets(settings) as offsets:
        watermarks = offsets.watermarks(topic)
        for partition, chain in sorted(runs.items()):
            chain.sort()
            gaps = [
                (before + 1, after - 1) for (_, before), (after, _) in pairwise(chain) if after > before + 1
            ]
            held = watermarks.get(partition)
            low, high = (held.low, held.high) if held else (chain[-1][1] + 1, chain[-1][1] + 1)
            if partition not in there and low < chain[0][0]:
                # The ledger knew the partition's beginning and has lost it: Kafka's is the earliest it can be.
                gaps.insert(0, (low, chain[0][0] - 1))
            for first, last in gaps:
                start, end = max(first, low), min(last, high - 1)
                if start <= end:
                    planned += cut_again(offsets, settings, now, partition, start, end)
                pieces = ((first, min(last, low - 1)), (max(first, high, low), last))
                for piece_first, piece_last in pieces:
                    if piece_first <= piece_last:
                        piece = PlannedRange(topic, partition, piece_first, piece_last, hour_of(now))
                        lost[piece] = _reason(piece)


def _reason(piece: PlannedRange) -> str:
    return (
        f"LOST: the ledger has lost the batches of {piece.offsets} offsets, {piece.first_offset}-"
        f"{piece.last_offset} of {piece.topic}[{piece.partition}]; no raw object holds them, and Kafka no longer "
        "does either."
    )
