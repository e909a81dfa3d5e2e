"""The first line of the admin page: is all well, and if not, what is wrong, how much, and what to do next.

Belongs here: sentences. Pure: from an ``Overview`` to ``Finding``s, the worst first.
Does not belong here: gathering (``overview.py``), thresholds that others share (``stores/thresholds.py``), alerts that wake people (``observability/``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

from ..config import Settings
from ..stores.batch import BatchState
from ..stores.dead_letter import LetterState
from ..stores.operations_log import STORES_WITH_BACKUPS
from ..stores.thresholds import (
    BACKUP_AGE,
    FAILED_PER_MINUTE,
    FAILED_SHARE,
    NAMES,
    SLOW_SECONDS,
    STORE_EFFECTS,
)
from ..words import ago, minute, plural, seconds
from .overview import Overview


class Severity(IntEnum):
    """How soon someone has to act."""

    NOW = 1
    TODAY = 2
    KNOWN = 3

    @property
    def word(self) -> str:
        """As the page has it."""
        return {self.NOW: "Act now", self.TODAY: "Look today", self.KNOWN: "Know"}[self]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be. ``page`` is one of docs/, ``link`` one of the gateway's."""

    severity: Severity
    what: str
    do: str
    page: str
    link: str = ""


def findings(
    seen: Overview, settings: Settings, answered: Mapping[str, float | None] | None = None
) -> list[Finding]:
    """What someone has to know or do, the worst first. ``answered``: p95 in seconds by route of the gateway."""
    found = [
        *_stores(seen),
        *_maintenance(seen),
        *_latency(answered or {}),
        *_waiting(seen, settings),
        *_batches(seen, settings),
        *_failures(seen),
        *_letters(seen),
        *_backups(seen),
    ]
    return sorted(found, key=lambda finding: finding.severity)


def headline(found: list[Finding], seen: Overview) -> str:
    """The verdict in one line."""
    urgent = sum(finding.severity is Severity.NOW for finding in found)
    today = sum(finding.severity is Severity.TODAY for finding in found)
    unknown = any(part.away for part in (seen.hour, seen.lag, seen.batches, seen.letters, seen.operations))
    if urgent:
        return f"{plural(urgent, 'thing')} to be done now."
    if unknown:
        return "Some of it cannot be seen just now; nothing else is wrong."
    if today:
        return f"Events flow. {plural(today, 'thing')} to be looked at today."
    return "All is well."


def _stores(seen: Overview) -> Iterator[Finding]:
    for store in seen.health.stores:
        if not store.up:
            yield Finding(
                Severity.NOW,
                f"{store.name} is down. {store.reason} {STORE_EFFECTS[store.store]}",
                "See its log and its disk (wotr status), start it again; what waits goes on by itself.",
                "admin.md#a-store-is-down",
            )


def _maintenance(seen: Overview) -> Iterator[Finding]:
    mode = seen.operations.value.maintenance if seen.operations.value else None
    if mode is not None and mode.enabled and mode.until is not None and mode.until < seen.now:
        yield Finding(
            Severity.TODAY,
            f"Maintenance should have ended {ago(seen.now - mode.until)} ago. Nothing new is planned meanwhile.",
            f"Ask {mode.who}, then end it.",
            "admin.md#maintenance-mode",
            "/admin/maintenance/",
        )


def _latency(answered: Mapping[str, float | None]) -> Iterator[Finding]:
    for route, p95 in answered.items():
        if p95 is not None and p95 >= SLOW_SECONDS:
            yield Finding(
                Severity.NOW,
                f"POST {route} takes {seconds(p95)} or more (p95 of the last minutes).",
                "Is Kafka or PostgreSQL slow or full? Grafana shows since when, Jaeger where the time goes.",
                "admin.md#requests-are-slow",
            )


def _waiting(seen: Overview, settings: Settings) -> Iterator[Finding]:
    behind = seen.lag.value
    late = timedelta(minutes=settings.wotr_fresh_minutes)
    mode = seen.operations.value.maintenance if seen.operations.value else None
    paused = mode is not None and mode.enabled
    if behind is not None and behind.oldest is not None and seen.now - behind.oldest > late:
        yield Finding(
            Severity.KNOWN if paused else Severity.NOW,
            f"{behind.waiting:,} events wait in Kafka, the oldest for {ago(seen.now - behind.oldest)}.",
            "They are taken when maintenance ends."
            if paused
            else "Is the sensor kafka_offsets on, and do its runs succeed? Dagster shows both.",
            "operating.md#no_late_batches",
        )
    speed = seen.speed.value
    if speed is not None and speed.p95 is not None and speed.p95 > late.total_seconds():
        yield Finding(
            Severity.TODAY,
            f"In the last hour, events took {ago(timedelta(seconds=speed.p95))} to the table (p95).",
            "Do runs queue? Dagster's runs page shows it; it may only be a backlog that is worked off.",
            "operating.md#events_are_queryable_in_time",
        )


def _batches(seen: Overview, settings: Settings) -> Iterator[Finding]:
    batches = seen.batches.value
    if batches is None:
        return
    quarantined = batches.summary.of(BatchState.QUARANTINED)
    if quarantined.batches:
        yield Finding(
            Severity.NOW,
            f"{plural(quarantined.batches, 'batch', 'batches')} with {quarantined.offsets:,} offsets cannot be loaded (QUARANTINED).",
            "Read the error below, repair what it names, then: wotr reopen BATCH --reason …",
            "operating.md#a-batch-does-not-load",
        )
    age = batches.summary.oldest_unprocessed_age
    if age is not None and age > timedelta(minutes=settings.wotr_fresh_minutes):
        yield Finding(
            Severity.NOW,
            f"{plural(batches.summary.unfinished, 'batch', 'batches')} unfinished, the oldest planned {ago(age)} ago.",
            "Is a run at work on their hour? Dagster's runs page shows it, and why the last one failed.",
            "operating.md#no_late_batches",
        )


def _failures(seen: Overview) -> Iterator[Finding]:
    hour = seen.hour.value
    if hour is None:
        return
    recent = hour.failed_since(seen.now - timedelta(minutes=10))
    many = recent > 10 * FAILED_PER_MINUTE
    if many or (hour.events >= 100 and hour.failed_share > FAILED_SHARE):
        yield Finding(
            Severity.NOW if many and hour.failed_share > FAILED_SHARE else Severity.TODAY,
            f"{hour.failed:,} of {hour.events:,} events of the last hour were rejected ({hour.failed_share:.1%}), "
            f"{recent:,} of them in the last ten minutes.",
            "One reason on all sources is a change of the contract; many on one source is one broken client.",
            "operating.md#few_rows_are_rejected",
            "/admin/dead-letters/",
        )
    day = seen.day.value
    if day is not None and not hour.events and day.events:
        newest = max(count.start for count in day.counts) + day.step
        yield Finding(
            Severity.TODAY,
            f"No event is in the table from the last hour; the newest came before {newest:%H:%M} UTC.",
            "Ask the producers; or do events wait in Kafka (see the lag)?",
            "operating.md#volume_is_usual",
        )


def _letters(seen: Overview) -> Iterator[Finding]:
    letters = seen.letters.value
    if letters is None:
        return
    if letters.switch.stopped:
        yield Finding(
            Severity.TODAY,
            f"Retries are stopped by {letters.switch.who} since {minute(letters.switch.at)}: {letters.switch.why}",
            "When the cause is mended: wotr dlq go --why …",
            "runbook/dead-letters.md#something-goes-wrong",
        )
    quarantined = letters.states[LetterState.QUARANTINED]
    if quarantined:
        yield Finding(
            Severity.TODAY,
            f"{plural(quarantined, 'dead letter')} came back too often (QUARANTINED).",
            "Repair or discard them by class; nothing happens to them by itself.",
            "runbook/dead-letters.md",
            "/admin/dead-letters/?state=QUARANTINED",
        )


def _backups(seen: Overview) -> Iterator[Finding]:
    operations = seen.operations.value
    if operations is None:
        return
    never = [NAMES[store] for store in STORES_WITH_BACKUPS if store not in operations.backups]
    if never:
        told = " and ".join([", ".join(never[:-1]), never[-1]] if never[1:] else never).replace(
            " The ", " the "
        )
        yield Finding(
            Severity.TODAY,
            f"{told} {'have' if never[1:] else 'has'} no verified backup: what is lost there is lost for good.",
            "Take one and let a restore drill verify it.",
            "admin.md#backups",
        )
    for store in operations.failed_drills:
        yield Finding(
            Severity.TODAY,
            f"{NAMES[store]}'s newest backup could not be restored, and does not count.",
            "Read what the drill found in Dagster, mend it, and take a new one.",
            "runbook/backups-missing.md",
        )
    for store, backup in operations.backups.items():
        if seen.now - backup.taken_at > BACKUP_AGE[store]:
            yield Finding(
                Severity.TODAY,
                f"{NAMES[store]}'s newest verified backup is {ago(seen.now - backup.taken_at)} old.",
                "See why newer ones were not taken or not verified, in Dagster.",
                "admin.md#backups",
            )
