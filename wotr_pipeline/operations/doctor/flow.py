"""From evidence to findings: what stops or slows the events between Kafka and ClickHouse, and why.

Events wait for one of few reasons, and each leaves other traces. In this order the first that holds is the cause:
a store that nothing goes on without is down; maintenance is on; the daemon is silent; batches fail, and their error says
at what; runs queue and none is started; runs work and the engine is slow; runs work, and more arrives than they carry;
nothing at all is tried: the sensor.

Belongs here: that reasoning. Pure. Does not belong here: what is wrong beside the way (``condition.py``).
"""

from collections.abc import Iterator
from datetime import timedelta

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.thresholds import DAEMON_SILENT, NAMES, STORE_EFFECTS
from wotr_pipeline.words import ago, plural

from .evidence import Evidence, ServiceState
from .finding import Finding, Severity

WORKS_FIRST = ("postgres", "kafka", "minio", "clickhouse")
"""The stores, in the order in which the way of an event needs them to be planned, landed and loaded."""
CRITICAL_DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")


def flow(seen: Evidence, settings: Settings) -> Iterator[Finding]:
    """Findings about the way of the events, causes before what follows from them."""
    found = [*_services(seen), *_maintenance(seen), *_daemon(seen), *_runs(seen), *_engine(seen)]
    yield from found
    yield from _waiting(seen, settings, {finding.name for finding in found})
    yield from _quarantined(seen)


def _services(seen: Evidence) -> Iterator[Finding]:
    for name in (*WORKS_FIRST, "gateway", "dagster"):
        for service in seen.down(name):
            log = f"wotr doctor --only {name}"
            if name in NAMES:
                yield Finding(
                    f"{name}_down",
                    Severity.P0,
                    f"{NAMES[name]} is down. {service.reason} {STORE_EFFECTS[name]}",
                    _cause_of_down(seen, name, service.reason),
                    log,
                    "Start it again: wotr up (compose: docker compose restart). What waits goes on by itself.",
                    "runbook/service-down.md",
                    because=_because_of_disk(seen),
                    services=(name,),
                )
            elif name == "gateway":
                yield Finding(
                    "gateway_down",
                    Severity.P0,
                    f"The gateway is down. {service.reason} No events are taken over HTTP; those in Kafka go on.",
                    "It ended, or was killed for its memory; its log says which.",
                    log,
                    "wotr up (compose: docker compose up --detach gateway). Producers send again by themselves.",
                    "runbook/service-down.md#gateway",
                    because=_because_of_disk(seen),
                    services=("gateway",),
                )
            else:
                yield Finding(
                    "dagster_ui_down",
                    Severity.P2,
                    f"Dagster's web server is down. {service.reason} Runs go on; nobody sees them, and pages start none.",
                    "It was not started, or it ended: its storage is in PostgreSQL.",
                    log,
                    "wotr up (compose: docker compose up --detach dagster-webserver).",
                    "runbook/service-down.md",
                    because="postgres_down" if seen.down("postgres") else "",
                    services=("dagster",),
                )


def _cause_of_down(seen: Evidence, name: str, reason: str) -> str:
    if _because_of_disk(seen):
        return "The disk is full."
    if "check" in reason or "wotr init" in reason:
        return "It runs, and its settings or contents are wrong: the sentence says which."
    if name == "postgres" and "connections" in reason:
        return "All connections are taken."
    away = [one for one in seen.services if one.state is ServiceState.DOWN]
    if len(away) == len(seen.services):
        return "Nothing answers: the platform was never started, was stopped, or the network is away."
    return "Its process ended (memory, disk), or the network is away; its log says which."


def _because_of_disk(seen: Evidence) -> str:
    disk = seen.disk.value
    return "disk_full" if disk is not None and disk.free < 0.02 * disk.total else ""


def _maintenance(seen: Evidence) -> Iterator[Finding]:
    mode = seen.operations.value.maintenance if seen.operations.value else None
    if mode is None or not mode.enabled:
        return
    overdue = mode.until is not None and mode.until < seen.now
    yield Finding(
        "maintenance_left_on" if overdue else "maintenance_on",
        Severity.P2 if overdue else Severity.P3,
        f"Maintenance has been on for {ago(seen.now - mode.at)}, by {mode.who}: {mode.why}. Nothing is planned; events wait.",
        "It was not turned off after the work."
        if overdue
        else "Somebody works on the platform; it is expected to end"
        + (f" {mode.until:%H:%M} UTC." if mode.until else " when they say so."),
        "wotr maintenance status",
        'If nobody works on it any more: wotr maintenance off --why "was left on"',
        "runbook/maintenance-missing.md#it-was-left-on",
    )


def _daemon(seen: Evidence) -> Iterator[Finding]:
    state = seen.dagster.value
    if state is None:
        return
    silent = {
        name: seen.now.timestamp() - state.heartbeats[name]
        for name in CRITICAL_DAEMONS
        if name in state.heartbeats
        and seen.now.timestamp() - state.heartbeats[name] > DAEMON_SILENT.total_seconds()
    }
    never = not state.heartbeats
    if silent or never:
        since = f"for {ago(timedelta(seconds=min(silent.values())))}" if silent else "ever"
        yield Finding(
            "daemon_silent",
            Severity.P1,
            f"Dagster's daemon gave no sign of life {since}: nothing is planned, and no run is started.",
            "It ended, hangs, or cannot reach PostgreSQL, where its heartbeats stand.",
            "wotr doctor --only daemon",
            "wotr up, or restart it (compose: docker compose restart dagster-daemon); that can lose or double nothing.",
            "runbook/stuck-batches.md#the-daemon-is-silent",
            services=("dagster",),
        )


def _runs(seen: Evidence) -> Iterator[Finding]:
    state = seen.dagster.value
    if state is None:
        return
    queued, working = state.runs.get("queued", 0), _working(seen)
    if queued and not working:
        yield Finding(
            "runs_not_started",
            Severity.P1,
            f"{plural(queued, 'run')} in Dagster's queue, and none is at work.",
            "The daemon does not take from its queue, or a limit of concurrency is held by runs that ended badly.",
            "wotr doctor --only daemon",
            "Restart the daemon; then Dagster, Deployment → Concurrency: free what no run holds.",
            "runbook/stuck-batches.md",
            because="daemon_silent" if any(_daemon(seen)) else "",
            services=("dagster",),
        )


def _working(seen: Evidence) -> int:
    state = seen.dagster.value
    return 0 if state is None else state.runs.get("started", 0) + state.runs.get("starting", 0)


def _engine(seen: Evidence) -> Iterator[Finding]:
    """What makes the engine slow, for it holds up everything behind it."""
    engine = seen.engine.value
    if engine is None:
        return
    stuck = [one for one in engine.mutations if one.failed_with]
    if stuck:
        yield Finding(
            "mutation_stuck",
            Severity.P2,
            f"{plural(len(stuck), 'mutation')} of ClickHouse cannot end: {stuck[0].mutation_id} of {stuck[0].table}, for "
            f"{ago(timedelta(seconds=stuck[0].seconds))} now, fails with {stuck[0].failed_with} and is tried again for ever.",
            "Its statement does not fit the rows; every try costs disk and processor.",
            "explorer, saved query 'Mutations that are not done'",
            f"KILL MUTATION WHERE mutation_id = '{stuck[0].mutation_id}', then mend the statement.",
            "runbook/doctor.md#mutation_stuck",
            services=("clickhouse",),
        )
    slow_mutations = [one for one in engine.mutations if not one.failed_with and one.seconds > 3600]
    if engine.parts > 1000 or engine.longest_merge_seconds > 3600 or slow_mutations:
        yield Finding(
            "parts_many",
            Severity.P1 if engine.parts > 2500 else Severity.P2,
            f"{engine.parts:,} parts in {engine.parts_place or 'no partition'}, {plural(engine.merges, 'merge')} at work, the "
            f"longest for {ago(timedelta(seconds=engine.longest_merge_seconds))}; ClickHouse slows inserts from 1,000 parts on "
            "and refuses them from 3,000 on.",
            "Small inserts come faster than they are merged, or the disk is slow.",
            "explorer, saved query 'Rows and bytes per table'",
            "Larger batches (WOTR_BATCH_EVENTS), fewer runs at once; merges catch up by themselves.",
            "runbook/doctor.md#parts_many",
            services=("clickhouse",),
        )
    if engine.running:
        first = engine.running[0]
        yield Finding(
            "queries_long",
            Severity.P2,
            f"{plural(len(engine.running), 'query', 'queries')} of ClickHouse at work for long, the longest for "
            f"{ago(timedelta(seconds=first.seconds))} ({first.query_id}, user {first.user}).",
            "A heavy query of a person or a report holds the processors that loads need.",
            "explorer, saved query 'Ten slowest finished queries'",
            f"KILL QUERY WHERE query_id = '{first.query_id}', if nobody needs it.",
            "runbook/doctor.md#queries_long",
            services=("clickhouse",),
        )


def _waiting(seen: Evidence, settings: Settings, found: set[str]) -> Iterator[Finding]:
    late = timedelta(minutes=settings.wotr_fresh_minutes)
    behind, batches = seen.lag.value, seen.batches.value
    oldest = seen.now - behind.oldest if behind is not None and behind.oldest is not None else timedelta()
    age = batches.summary.oldest_unprocessed_age if batches is not None else None
    waits = max(oldest, age or timedelta())
    if waits <= late:
        return
    told = []
    if behind is not None and behind.waiting:
        told.append(f"{plural(behind.waiting, 'event')} in Kafka")
    if batches is not None and batches.summary.unfinished:
        told.append(f"{plural(batches.summary.unfinished, 'batch', 'batches')} unfinished")
    because, cause, remedy = _why_waiting(seen, found)
    planned = because in ("maintenance_on", "maintenance_left_on")
    yield Finding(
        "events_wait",
        Severity.P3 if planned else Severity.P1 if waits > timedelta(minutes=30) else Severity.P2,
        f"{' and '.join(told) or 'Events'}, the oldest for {ago(waits)}. Nothing is lost while Kafka keeps it.",
        cause,
        "wotr batches --unfinished",
        remedy,
        "runbook/kafka-lag.md",
        because=because,
        services=("kafka", "dagster"),
    )


def _why_waiting(seen: Evidence, found: set[str]) -> tuple[str, str, str]:
    """(finding that explains it or '', likely cause, remedy)."""
    for name in (
        *(f"{store}_down" for store in WORKS_FIRST),
        "maintenance_left_on",
        "maintenance_on",
        "daemon_silent",
    ):
        if name in found:
            return (
                name,
                f"See {name}: the way is closed there.",
                "Mend that first; what waits goes on by itself.",
            )
    batches = seen.batches.value
    failing = [batch for batch in batches.oldest if batch.last_error] if batches else []
    if failing and not any(batch.claimed_by for batch in failing):
        return (
            "",
            f"Batches fail: {failing[0].batch_id} after {plural(failing[0].attempts, 'attempt')}: {failing[0].last_error}",
            "Mend what the error names; the sensor tries again within 5 minutes.",
        )
    if "runs_not_started" in found:
        return (
            "runs_not_started",
            "See runs_not_started: runs are asked for and none begins.",
            "Mend that first.",
        )
    if _working(seen):
        for name in ("mutation_stuck", "parts_many", "queries_long"):
            if name in found:
                return name, f"Runs are at work, and ClickHouse is slow: see {name}.", "Mend that first."
        return (
            "",
            "Runs are at work, and more arrives than they carry.",
            "wotr run-etl beside the sensor is safe; more concurrent runs in dagster.yaml if it lasts.",
        )
    return (
        "",
        "No run is at work and none is asked for: the sensor kafka_offsets is off, or its ticks fail.",
        "Dagster, Automation → kafka_offsets: turn it on, or read its last tick. Meanwhile: wotr run-etl",
    )


def _quarantined(seen: Evidence) -> Iterator[Finding]:
    batches = seen.batches.value
    held = batches.summary.of(BatchState.QUARANTINED) if batches else None
    if batches is None or held is None or not held.batches:
        return
    first = batches.quarantined[0] if batches.quarantined else None
    yield Finding(
        "batches_quarantined",
        Severity.P2,
        f"{plural(held.batches, 'batch', 'batches')} with {held.offsets:,} offsets cannot be loaded (QUARANTINED).",
        f"{first.batch_id}: {first.last_error or 'no error is noted'}" if first else "Their errors say it.",
        "wotr batches --state QUARANTINED",
        'Repair what the error names, then: wotr reopen BATCH --reason "…"',
        "runbook/stuck-batches.md",
    )
