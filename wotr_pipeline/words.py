"""Numbers, times and spans as pages and reports write them.

Belongs here: pure formatting, also as filters of the templates. Does not belong here: sentences of one page or report.
"""

from datetime import datetime, timedelta


def number(value: float) -> str:
    """With separators: 1,234."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def moment(value: datetime | None) -> str:
    """To the second, without the zone: every time on a page is UTC."""
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else "never"


def minute(value: datetime | None) -> str:
    """To the minute."""
    return f"{value:%Y-%m-%d %H:%M}" if value else "never"


def ago(span: timedelta) -> str:
    """A span as people say it: 45 s, 12 min, 3 h, 2 d."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def seconds(value: float | None) -> str:
    """A time that something took."""
    if value is None:
        return "none"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 120 else ago(timedelta(seconds=value))


def size(value: float) -> str:
    """Bytes, in the unit that reads best."""
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def share(part: float, whole: float) -> str:
    """Per cent; small ones are not rounded away."""
    if not whole or not part:
        return "0 %"
    value = 100 * part / whole
    return "< 0.1 %" if value < 0.1 else f"{value:.1f} %"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 batch``, ``2,000 batches``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


FILTERS = {
    "number": number,
    "moment": moment,
    "minute": minute,
    "ago": ago,
    "seconds": seconds,
    "size": size,
    "plural": plural,
}
