"""How dead letters look in a terminal: lines for someone who reads them at 2 AM.

Belongs here: text. Does not belong here: any decision, or content that was not masked before.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from wotr_pipeline.config import Settings
from wotr_pipeline.events.reasons import Reason
from wotr_pipeline.events.rules import Accepted, Rejected
from wotr_pipeline.events.transformations import for_reason
from wotr_pipeline.operations.dead_letters.repairing import RepairReport
from wotr_pipeline.operations.dead_letters.retrying import Retried
from wotr_pipeline.operations.dead_letters.triage import Triaged
from wotr_pipeline.stores.dead_letter import OPEN, Group, Letter, LetterFilter
from wotr_pipeline.stores.dead_letter_reading import LetterReading

PAGE = "runbook/dead-letters.md"
LETTER_LINE = "{:<36} {:<12} {:>5}  {:<22} {:<20} {:<16} {:<14} {}"
LETTER_HEADINGS = ("name", "state", "tries", "reason", "field", "source", "event type", "arrived (UTC)")


def open_ones(wanted: LetterFilter) -> LetterFilter:
    """The same, of letters that are open."""
    return replace(wanted, states=OPEN)


def letter_lines(letters: Iterable[Letter]) -> list[str]:
    """A line a letter."""
    lines = [
        LETTER_LINE.format(
            letter.name,
            letter.state.value,
            letter.tries,
            letter.reason,
            letter.field or "-",
            letter.source or "-",
            letter.event_type or "-",
            f"{letter.arrived_at:%Y-%m-%d %H:%M:%S}",
        )
        for letter in letters
    ]
    return [LETTER_LINE.format(*LETTER_HEADINGS), *lines] if lines else ["No such dead letter."]


def stats_lines(register: LetterReading, settings: Settings) -> Iterator[str]:
    """Counts by state, then the groups of open letters with what is offered for each."""
    counts = register.by_state()
    yield "  ".join(f"{state.value} {count:,}" for state, count in counts.items())
    switch = register.switch()
    if switch.stopped:
        yield f"Retries are STOPPED by {switch.who} since {_time(switch.at)}: {switch.why}"
    groups = register.groups()
    if not groups:
        yield "No dead letter is open."
        return
    yield ""
    line = "{:>8} {:>8}  {:<22} {:<24} {:<18} {:<8} {:<17} {:<17} {}"
    yield line.format(
        "letters", "states", "reason", "field", "source", "version", "first (UTC)", "last (UTC)", "offered"
    )
    for group in groups:
        yield line.format(
            f"{group.letters:,}",
            _waiting(group),
            group.reason,
            group.field or "-",
            group.source or "-",
            group.version or "-",
            _time(group.first_seen),
            _time(group.last_seen),
            ", ".join(offers(group.reason, group.field)) or "patch, payload or a change of rules",
        )
    yield ""
    yield f"What to do: {settings.runbook(PAGE)}"


def _waiting(group: Group) -> str:
    quiet = [f"{count:,} {state.value[:1]}" for state, count in group.states.items() if count]
    return " ".join(quiet)


def offers(reason: str, field: str) -> list[str]:
    """Names of the transformations for a class of letters."""
    try:
        return [transformation.name for transformation in for_reason(Reason(reason), field)]
    except ValueError:
        return []


def letter_page(register: LetterReading, letter: Letter) -> Iterator[str]:
    """All that is known of a letter, but its content."""
    yield f"dead letter {letter.name}"
    yield f"  state      {letter.state.value} since {_time(letter.since)}, {letter.tries} tries"
    yield f"  reason     {letter.reason}, field {letter.field or '(the message)'}: {letter.message}"
    yield f"  event      id {letter.event_id or '(unreadable)'}, {letter.event_type or '(type unreadable)'}"
    yield f"  source     {letter.source or '(unreadable)'}, version {letter.version or '(unreadable)'}"
    yield f"  arrived    {_time(letter.arrived_at)}, {letter.size:,} bytes, judged by rules {letter.rules_version}"
    yield f"  envelope   {letter.object_key}, line {letter.line + 1}"
    if letter.fix_key is not None and letter.fix_line is not None:
        yield f"  repaired   version {letter.fix_version}: {letter.fix_key}, line {letter.fix_line + 1}"
    offered = offers(letter.reason, letter.field)
    if offered and letter.state in OPEN:
        yield f"  offered    wotr dlq fix {letter.name} --transform {' | '.join(offered)}"
    yield "history (UTC):"
    for change in register.history(letter):
        before = f"{change.from_state.value} → " if change.from_state else ""
        yield f"  {change.at:%Y-%m-%d %H:%M:%S}  {before}{change.to_state.value}  {change.who}: {change.why}"
    attempts = register.attempts(letter)
    if attempts:
        yield "retries:"
    for attempt in attempts:
        place = "no place in Kafka on record yet"
        if attempt.offset is not None:
            place = f"{attempt.topic}:{attempt.partition}:{attempt.offset}"
        yield f"  {attempt.attempt}. version {attempt.fix_version}, {place}: {attempt.outcome or 'no verdict yet'}"


def verdict_line(verdict: Accepted | Rejected) -> str:
    """What today's rules say of a letter's newest version."""
    if isinstance(verdict, Accepted):
        return f"today's rules: it passes, as event {verdict.id} (wotr trace {verdict.id})"
    return f"today's rules: {verdict.reason}, field {verdict.field or '(the message)'}: {verdict.message}"


def repair_lines(done: RepairReport) -> Iterator[str]:
    """What a repair did or would do."""
    yield f"{done.chosen:,} NEW or QUARANTINED dead letters are chosen."
    yield f"{done.passing:,} pass after the repair" + (
        f", {done.unchanged:,} of them unchanged by it." if done.unchanged else "."
    )
    yield from _counted("would still be rejected", done.failing)
    yield from _counted("cannot be repaired so", done.refused)
    if done.examples:
        yield f"  for example {', '.join(done.examples[:3])}"
    yield from done.unreadable[:10]
    if done.applied:
        yield f"{done.kept:,} new versions are kept. Next: wotr dlq retry, with the same choice."
    else:
        yield 'Nothing was changed. To do it: --apply --why "…"'


def rejudge_lines(done: RepairReport) -> Iterator[str]:
    """What today's rules say of open letters."""
    yield f"{done.chosen:,} open dead letters were judged by today's rules: {done.passing:,} pass now."
    yield from _counted("are still rejected", done.failing)
    yield from _counted("cannot be judged", done.refused)
    yield from done.unreadable[:10]
    if done.passing:
        yield 'Send those that pass: wotr dlq retry --apply --why "…", with the same choice.'


def retry_lines(done: Retried) -> Iterator[str]:
    """What a retry did or would do."""
    yield f"{done.chosen:,} NEW dead letters are chosen; {done.passing:,} pass today's rules."
    yield from _counted("would come back, so they are not sent", done.failing)
    yield from done.unreadable[:10]
    if not done.applied:
        yield 'Nothing was sent. To do it: --apply --why "…"'
        return
    if done.resumed:
        yield f"{done.resumed:,} that an earlier retry had begun were sent first."
    yield f"{done.sent:,} sent: {done.passed:,} passed, {done.rejected:,} rejected, {done.waiting:,} without a verdict yet."
    if done.stopped:
        yield done.stopped
    elif done.waiting:
        yield "The rest get their verdicts with the next triage: wotr dlq stats."


def triage_lines(done: Triaged) -> Iterator[str]:
    """What a triage did."""
    yield (
        f"Entered {done.letters:,} rejected records of {done.batches:,} batches, {done.received:,} records of the "
        f"dead-letter topic, {done.others:,} letters of others' objects."
    )
    settled = done.settled
    yield (
        f"Retries: {settled.passed:,} passed, {settled.rejected:,} rejected ({settled.quarantined:,} of them for the "
        f"last time). {settled.judged_anew:,} letters changed by a reprocess."
    )
    if done.published:
        yield f"{done.published:,} envelopes were published to the dead-letter topic."
    yield from done.problems


def exported(letter: Letter, value: bytes | None, *, unmask: bool) -> Mapping[str, Any]:
    """A letter as a line of an export; its content only unmasked, as base64."""
    told: dict[str, Any] = {
        "name": letter.name,
        "state": letter.state.value,
        "reason": letter.reason,
        "field": letter.field,
        "message": letter.message,
        "event_id": letter.event_id if unmask else "",
        "event_type": letter.event_type,
        "source": letter.source,
        "version": letter.version,
        "arrived_at": letter.arrived_at.isoformat(),
        "size_bytes": letter.size,
    }
    if unmask:
        told["content_base64"] = base64.b64encode(value or b"").decode()
    return told


def _counted(what: str, counts: Mapping[str, int]) -> Iterator[str]:
    if counts:
        total = sum(counts.values())
        listed = ", ".join(
            f"{reason} {count:,}" for reason, count in sorted(counts.items(), key=lambda c: -c[1])
        )
        yield f"{total:,} {what}: {listed}"


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
