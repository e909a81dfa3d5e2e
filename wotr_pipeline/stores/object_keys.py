"""Names of the objects in the bucket, derived from the batch alone.

Belongs here: the layout of the keys, both ways. A name that depends on nothing but the batch makes
a repeated step write the same object again instead of a second one.
Does not belong here: reading or writing objects (``objects.py``).
"""

import re
from datetime import UTC, date, datetime

from .batch import Batch, PlannedRange

RAW = "raw/"
VALIDATED = "validated/"
DEAD_LETTERS = "dead-letters/"
CURATED = "curated/"
REPORTS = "reports/"

FIRST_GENERATION = 1

REPAIRED = f"{DEAD_LETTERS}repaired/"
"""Fixed versions of dead letters, one object an operation."""
RECEIVED = f"{DEAD_LETTERS}received/"
"""What other services put into the dead-letter topic, one object a slice of offsets."""

_DEAD_LETTERS_KEY = re.compile(
    r"dead-letters/date=\d{4}-\d\d-\d\d/hour=\d\d/"
    r"(?P<topic>[A-Za-z0-9._-]+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)(\.g\d+)?\.jsonl"
)
_RAW_KEY = re.compile(
    r"raw/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?P<topic>[A-Za-z0-9._-]+)-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)\.parquet"
)


def raw_key(batch: Batch | PlannedRange) -> str:
    """``raw/date=2026-11-23/hour=08/ingest-events-0-0-199999.parquet``."""
    return f"{RAW}{_name(batch)}.parquet"


def validated_key(batch: Batch, generation: int) -> str:
    """As ``raw_key``, below ``validated/``; a repeated judgement ends in ``.g<generation>.parquet``."""
    return f"{VALIDATED}{_name(batch)}{_generation_suffix(generation)}.parquet"


def dead_letters_key(batch: Batch, generation: int) -> str:
    """As ``validated_key``, below ``dead-letters/`` and ending in ``.jsonl``."""
    return f"{DEAD_LETTERS}{_name(batch)}{_generation_suffix(generation)}.jsonl"


def hour_prefix(root: str, hour: datetime) -> str:
    """What the keys below ``root`` (``RAW``, ``VALIDATED`` …) of one arrival hour begin with."""
    return f"{root}{hour.astimezone(UTC):date=%Y-%m-%d/hour=%H/}"


def parse_raw_key(key: str) -> PlannedRange | None:
    """The range of offsets that a raw object holds, or None if ``key`` is not a raw object's."""
    match = _RAW_KEY.fullmatch(key)
    if match is None:
        return None
    try:
        return PlannedRange(
            topic=match["topic"],
            partition=int(match["partition"]),
            first_offset=int(match["first"]),
            last_offset=int(match["last"]),
            hour=datetime.strptime(f"{match['date']} {match['hour']}", "%Y-%m-%d %H").replace(tzinfo=UTC),
        )
    except ValueError:
        return None


def repaired_key(operation: str, number: int) -> str:
    """``dead-letters/repaired/<operation>-<number>.jsonl``; ``operation`` is unique."""
    return f"{REPAIRED}{operation}-{number}.jsonl"


def received_key(topic: str, partition: int, first: int, last: int) -> str:
    """``dead-letters/received/dlq-events-0-17-42.jsonl``: offsets of the dead-letter topic, both included."""
    return f"{RECEIVED}{topic}-{partition}-{first}-{last}.jsonl"


def report_key(name: str, first_day: date, ending: str) -> str:
    """``reports/slow_queries/2026-11-23.html``: a report on the period that begins with that day."""
    return f"{REPORTS}{name}/{first_day:%Y-%m-%d}.{ending}"


def batch_of_dead_letters(key: str) -> str | None:
    """The name of the batch that writes its dead letters to ``key``, or None if no batch does."""
    match = _DEAD_LETTERS_KEY.fullmatch(key)
    return match and f"{match['topic']}:{match['partition']}:{match['first']}-{match['last']}"


def _name(batch: Batch | PlannedRange) -> str:
    offsets = f"{batch.first_offset}-{batch.last_offset}"
    return f"{hour_prefix('', batch.hour)}{batch.topic}-{batch.partition}-{offsets}"


def _generation_suffix(generation: int) -> str:
    return f".g{generation}" if generation > FIRST_GENERATION else ""
