"""Is what gets rejected usual? Growth, new reasons, a producer that broke, retries that do not get on.

All four warn: nothing is held back by them, and nothing is lost. Each says how many, since when, where three of
them lie, and what to do.

Belongs here: these comparisons and their results, for the asset ``open_dead_letters``.
Does not belong here: the gate's share of rejected rows (``quality.py``), or entering letters
(``operations/dead_letters/``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.checks.presentation import Line, first_three, moment, table
from wotr_pipeline.checks.volume import DAYS, HOUR, compare
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_reading import LetterReading
from wotr_pipeline.stores.warehouse import Warehouse

ASSET = "open_dead_letters"
SURGE, FEW_LETTERS = 3.0, 50
"""More than so many times the usual number, and more than so many in all, is a surge."""
NEW_HOURS, KNOWN_DAYS = 24, 30
BROKEN_SHARE, BROKEN_TIMES, BROKEN_LEAST = 0.20, 5.0, 20
"""A source is broken when so much of what it sends is rejected, so many times its usual share, and so many events."""

SURGES, NEW_REASONS, BROKEN, STUCK = (
    "dead_letters_are_as_many_as_usual",
    "no_new_reason",
    "no_producer_broke",
    "no_stuck_retry",
)
DESCRIPTIONS = {
    SURGES: f"The last finished hour has at most {SURGE:.0f} times the usual number of rejected events. Warns.",
    NEW_REASONS: f"No reason, field and source in the last {NEW_HOURS} hours that {KNOWN_DAYS} days have not seen. Warns.",
    BROKEN: f"No source of which {BROKEN_SHARE:.0%} is rejected, and {BROKEN_TIMES:.0f} times its usual share. Warns.",
    STUCK: "No retry without a verdict for longer than WOTR_FRESH_MINUTES, and no quarantined letter. Warns.",
}


def check_specs() -> list[dg.AssetCheckSpec]:
    """Specs of the four checks of ``open_dead_letters``."""
    return [
        dg.AssetCheckSpec(name, asset=ASSET, description=text, blocking=False)
        for name, text in DESCRIPTIONS.items()
    ]


def check_results(
    settings: Settings, warehouse: Warehouse, register: LetterReading, now: datetime
) -> Iterator[dg.AssetCheckResult]:
    """The four results. Raises TransientError or PermanentError when a store is away or refuses."""
    for name, finding in (
        (SURGES, surge(warehouse, now)),
        (NEW_REASONS, new_reasons(warehouse, now)),
        (BROKEN, broken_sources(warehouse, now)),
        (STUCK, stuck(register, timedelta(minutes=settings.wotr_fresh_minutes), now)),
    ):
        yield dg.AssetCheckResult(
            asset_key=ASSET,
            check_name=name,
            passed=not finding.count,
            severity=dg.AssetCheckSeverity.WARN,
            description=finding.text,
            metadata={
                "count": finding.count,
                "what": table(list(finding.lines)),
                "what to do": dg.MetadataValue.url(settings.runbook(f"runbook/dead-letters.md#{name}")),
            },
        )


@dataclass(frozen=True)
class Finding:
    """What a check found: how many (0 passes), in a sentence, in a table."""

    count: int
    text: str
    lines: tuple[Line, ...] = ()


def surge(warehouse: Warehouse, now: datetime) -> Finding:
    """Compare the last finished hour's rejected events with the hours before it."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    first = hour - timedelta(days=DAYS)
    found = warehouse.select(
        "check_dead_letters_by_hour",
        {"first_hour": int(first.timestamp()), "last_hour": int(hour.timestamp())},
    ).to_pylist()
    letters = {datetime.fromtimestamp(row["hour"], UTC): int(row["letters"]) for row in found}
    began = _history(warehouse, first)
    if began is not None:
        letters.setdefault(began, 0)  # an hour without rejected events is history too
    compared = compare(letters, hour, now)
    told = f"{moment(hour)}: {compared.rows:,} rejected events"
    if compared.usual is None:
        return Finding(0, f"{told}. Not compared: {compared.basis}.")
    told += f"; usual are {compared.usual:,.0f} ({compared.basis})."
    if compared.rows <= max(FEW_LETTERS, SURGE * compared.usual):
        return Finding(0, told)
    return Finding(compared.rows, f"{told} Which reason, which source: wotr dlq stats.")


def new_reasons(warehouse: Warehouse, now: datetime) -> Finding:
    """Reasons, with field and source, of the last day that the month before has not seen."""
    first, since = now - timedelta(days=KNOWN_DAYS), now - timedelta(hours=NEW_HOURS)
    began = _history(warehouse, first)
    if began is None or began > since:
        return Finding(0, f"Not compared: there is less than {NEW_HOURS} hours of history.")
    found = warehouse.select(
        "check_new_reasons", {"first_hour": int(first.timestamp()), "new_since": int(since.timestamp())}
    ).to_pylist()
    lines: tuple[Line, ...] = tuple(
        {
            "reason": row["reason"],
            "field": row["field"],
            "source": row["source"] or "(unreadable)",
            "letters": int(row["letters"]),
            "first seen": moment(row["first_seen"]),
            "examples, partition:offset": ", ".join(row["examples"]),
        }
        for row in found
    )
    if not lines:
        return Finding(
            0, f"Every reason of the last {NEW_HOURS} hours was seen in the {KNOWN_DAYS} days before."
        )
    names = [f"{line['reason']} of {line['field'] or 'the message'} from {line['source']}" for line in lines]
    return Finding(
        len(lines),
        f"{len(lines):,} new: {first_three(names)}. A producer has changed its events, or the rules were changed. "
        "Look at one (wotr dlq list, wotr dlq show), then tell the producer or repair the class.",
        lines,
    )


def broken_sources(warehouse: Warehouse, now: datetime) -> Finding:
    """Sources of which suddenly much is rejected."""
    since = now - 2 * HOUR
    found = warehouse.select(
        "check_sources",
        {"first_hour": int((now - timedelta(days=DAYS)).timestamp()), "since": int(since.timestamp())},
    ).to_pylist()
    lines: list[Line] = []
    for row in found:
        share = row["failed"] / row["events"]
        usual = row["earlier_failed"] / row["earlier_events"] if row["earlier_events"] else 0.0
        # Of what cannot be read it is not known who sent it: its share is always the whole.
        if not row["source"] or row["failed"] < BROKEN_LEAST:
            continue
        if share >= BROKEN_SHARE and share >= BROKEN_TIMES * usual:
            lines.append(
                {
                    "source": row["source"],
                    "rejected": int(row["failed"]),
                    "events": int(row["events"]),
                    "percent": round(100 * share, 1),
                    "usual percent": round(100 * usual, 1),
                }
            )
    if not lines:
        return Finding(0, "No source has suddenly much rejected in the last two hours.")
    names = [f"{line['source']} ({line['percent']} %, usually {line['usual percent']} %)" for line in lines]
    return Finding(
        len(lines),
        f"{len(lines):,} producers broke: {first_three(names)}. Tell their owners, with examples: "
        "wotr dlq export --source SOURCE --to FILE.",
        tuple(lines),
    )


def stuck(register: LetterReading, limit: timedelta, now: datetime) -> Finding:
    """Retries that wait too long, and letters in quarantine."""
    waiting = [
        letter
        for letter in register.find(LetterFilter(states=(LetterState.RETRYING,)), 1_000)
        if now - letter.since > limit
    ]
    quarantined = register.find(LetterFilter(states=(LetterState.QUARANTINED,)), 50)
    count = len(waiting) + register.count(LetterFilter(states=(LetterState.QUARANTINED,)))
    lines: tuple[Line, ...] = tuple(
        {
            "letter": letter.name,
            "state": letter.state.value,
            "since": moment(letter.since),
            "reason": letter.reason,
            "source": letter.source,
            "tries": letter.tries,
        }
        for letter in [*waiting, *quarantined]
    )
    if not count:
        return Finding(0, "Every retry has its verdict, and nothing is in quarantine.")
    names = [str(line["letter"]) for line in lines]
    return Finding(
        count,
        f"{len(waiting):,} retries have waited for a verdict for over {limit.total_seconds() / 60:.0f} minutes, and "
        f"{count - len(waiting):,} letters are in quarantine: {first_three(names)}. Waiting ones: do the runs of "
        "ingest_hour get on? Quarantined ones: repair or discard them.",
        lines,
    )


def _history(warehouse: Warehouse, first: datetime) -> datetime | None:
    """The first hour with events since ``first``."""
    found = warehouse.select("check_history", {"first_hour": int(first.timestamp())}).to_pylist()
    seconds = found[0]["first_hour"]
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
