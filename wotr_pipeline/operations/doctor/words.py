"""Spans and counts as the doctor says them.

Does not belong here: sentences.
"""

from datetime import timedelta


def span(value: timedelta) -> str:
    """45 s, 12 min, 3 h, 2 d."""
    seconds = max(0, int(value.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def count(number: int, one: str, many: str = "") -> str:
    """``1 batch``, ``2,000 batches``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
