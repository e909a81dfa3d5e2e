"""From evidence to findings: what is wrong beside the way of the events, and may stop it tomorrow.

Belongs here: space, connections, slowness, rejected events, dead letters, backups. Pure.
Does not belong here: why events wait (``flow.py``).
"""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from wotr_pipeline.stores.dead_letter import LetterState
from wotr_pipeline.stores.operations_log import STORES_WITH_BACKUPS
from wotr_pipeline.stores.thresholds import (
    BACKUP_AGE,
    FAILED_PER_MINUTE,
    FAILED_SHARE,
    LETTERS_PER_HOUR,
    NAMES,
    SLOW_SECONDS,
)
from wotr_pipeline.words import ago, plural

from .evidence import Evidence, ServiceState
from .finding import Finding, Severity

CONNECTIONS_SHARE = 0.8
IDLE_SECONDS = 60
DEAD_SHARE, DEAD_LEAST = 0.5, 100_000
_NAMED = {"gateway": "The gateway", **NAMES}
DOMINATES = 0.8
"""Share from which on one reason or one source explains the rejected events."""


def condition(seen: Evidence) -> Iterator[Finding]:
    """All of them."""
    yield from _disks(seen)
    yield from _slow_services(seen)
    yield from _connections(seen)
    yield from _dead_tuples(seen)
    yield from _slow_queries(seen)
    yield from _failures(seen)
    yield from _letters(seen)
    yield from _backups(seen)


def _disks(seen: Evidence) -> Iterator[Finding]:
    of_engine = seen.engine.value.disks if seen.engine.value else ()
    disks = (*((seen.disk.value,) if seen.disk.value else ()), *of_engine)
    tight = [disk for disk in disks if disk.free < 0.1 * disk.total]
    if tight:
        disk = min(tight, key=lambda one: one.free / one.total)
        left = disk.free / disk.total
        yield Finding(
            "disk_full" if left < 0.02 else "disk_tight",
            Severity.P0 if left < 0.02 else Severity.P1 if left < 0.05 else Severity.P2,
            f"{left:.1%} of the disk {disk.name} is free ({disk.free / 1e9:,.1f} GB). A full one stops every store.",
            "Data grew, or old backups, logs or Kafka's segments fill it.",
            "df -h; wotr doctor --json",
            "Add space, or let retention drop what is past its time. Never delete objects, volumes or the data directory by hand.",
            "runbook/service-down.md",
            services=("postgres", "kafka", "minio", "clickhouse"),
        )


def _slow_services(seen: Evidence) -> Iterator[Finding]:
    slow = [
        one
        for one in seen.services
        if one.state is ServiceState.UP and one.name in _NAMED and one.milliseconds > 1000 * SLOW_SECONDS
    ]
    stores = {one.name for one in slow}
    # A request waits for these two, and for nothing else.
    behind_gateway = next((f"{name}_slow" for name in ("postgres", "kafka") if name in stores), "")
    for service in slow:
        at_gateway = service.name == "gateway"
        yield Finding(
            f"{service.name}_slow",
            Severity.P1 if at_gateway else Severity.P2,
            f"{_NAMED[service.name]} took {service.milliseconds / 1000:.1f} s to answer the smallest question.",
            "It waits for a store, or has no processor to spare."
            if at_gateway
            else "It is overloaded, or its disk or the machine is; a store that answers late is often about to be down.",
            f"wotr doctor --only {service.name}",
            "See what loads it; more processors or a faster disk if it lasts.",
            "runbook/high-latency.md",
            because=behind_gateway if at_gateway else "",
            services=(service.name,),
        )


def _connections(seen: Evidence) -> Iterator[Finding]:
    postgres = seen.postgres.value
    if postgres is None:
        return
    idle = [one for one in postgres.idle if one.seconds > IDLE_SECONDS]
    if idle:
        yield Finding(
            "transactions_idle",
            Severity.P2,
            f"{plural(len(idle), 'connection')} of PostgreSQL in a transaction without doing anything, the longest for "
            f"{ago(timedelta(seconds=idle[0].seconds))} ({idle[0].application_name or 'unnamed'}, pid {idle[0].pid}).",
            "A client hangs or forgot to commit: its locks hold others up, and vacuum cannot clean.",
            "SELECT pid, application_name, state, state_change FROM pg_stat_activity WHERE state LIKE 'idle in tr%'",
            f"End it: SELECT pg_terminate_backend({idle[0].pid}), then mend the client.",
            "runbook/doctor.md#transactions_idle",
            services=("postgres",),
        )
    if postgres.limit and postgres.connected > CONNECTIONS_SHARE * postgres.limit:
        most = ", ".join(f"{number} {state}" for state, number in sorted(postgres.connections.items()))
        yield Finding(
            "connections_tight",
            Severity.P1,
            f"{postgres.connected} of {postgres.limit} connections of PostgreSQL are taken ({most}).",
            "More processes than it was made for, or clients that do not close theirs.",
            "SELECT application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC",
            "End what hangs, or raise max_connections and restart PostgreSQL.",
            "runbook/doctor.md#connections_tight",
            because="transactions_idle" if idle else "",
            services=("postgres",),
        )


def _dead_tuples(seen: Evidence) -> Iterator[Finding]:
    for table in seen.postgres.value.dead if seen.postgres.value else ():
        if table.dead > DEAD_LEAST and table.dead > DEAD_SHARE * table.live:
            yield Finding(
                "tuples_dead",
                Severity.P3,
                f"{table.dead:,} dead rows beside {table.live:,} living ones in PostgreSQL's table {table.table}.",
                "Vacuum does not keep up, or an old transaction holds it back.",
                "SELECT relname, n_dead_tup, last_autovacuum FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 10",
                f"VACUUM ANALYZE {table.table}: in the maintenance window, or at once if queries are slow.",
                "runbook/doctor.md#tuples_dead",
                services=("postgres",),
            )
            return


def _slow_queries(seen: Evidence) -> Iterator[Finding]:
    slow = seen.engine.value.slow if seen.engine.value else ()
    if slow:
        yield Finding(
            "queries_slow",
            Severity.P3,
            f"{plural(len(slow), 'query', 'queries')} of the last hour took long, the longest {slow[0].seconds:.0f} s "
            f"({slow[0].query_id}, user {slow[0].user}).",
            "They read more than they need, or the engine was busy.",
            "explorer, saved query 'Ten slowest finished queries'",
            "Narrow them by event_type and created_at, which order the table.",
            "runbook/doctor.md#queries_slow",
            services=("clickhouse",),
        )


def _failures(seen: Evidence) -> Iterator[Finding]:
    failures = seen.failures.value
    if failures is None:
        return
    hour = failures.hour
    recent = hour.failed_since(seen.now - timedelta(minutes=10))
    many = recent > 10 * FAILED_PER_MINUTE
    if not many and (hour.events < 100 or hour.failed_share <= FAILED_SHARE):
        return
    by_reason, by_source = Counter[str](), Counter[str]()
    for one in failures.by_reason_and_source:
        by_reason[one.reason] += one.failed
        by_source[one.source] += one.failed
    cause, remedy = (
        "Several at once: neither one reason nor one source stands out.",
        "wotr dlq stats shows the classes.",
    )
    total = sum(by_reason.values())
    reason, of_reason = (by_reason.most_common(1) or [("", 0)])[0]
    source, of_source = (by_source.most_common(1) or [("", 0)])[0]
    if total and of_source >= DOMINATES * total and len(by_source) + len(by_reason) > 2:
        cause = f"One client: {of_source:,} of {total:,} come from the source '{source}'."
        remedy = "Tell its owner, with examples: wotr dlq list. If it harms: wotr keys revoke ID"
    elif total and of_reason >= DOMINATES * total:
        cause = f"One reason: {of_reason:,} of {total:,} are {reason}, from {plural(len(by_source), 'source')}: a change upstream."
        remedy = "Which producer was deployed last? Adapt it or the contract, then: wotr dlq retry"
    yield Finding(
        "events_rejected",
        Severity.P2,
        f"{hour.failed:,} of {hour.events:,} events of the last hour were rejected ({hour.failed_share:.1%}), "
        f"{recent:,} of them in the last ten minutes.",
        cause,
        "wotr dlq stats",
        remedy,
        "runbook/validation-failures.md",
    )


def _letters(seen: Evidence) -> Iterator[Finding]:
    new = seen.postgres.value.new_letters if seen.postgres.value else 0
    if new > LETTERS_PER_HOUR:
        yield Finding(
            "letters_growing",
            Severity.P2,
            f"{new:,} new dead letters in the last hour. Good events go on.",
            "One class of events broke, or a producer did.",
            "wotr dlq stats",
            "Repair the class, not the letters: see the page.",
            "runbook/dead-letters.md",
            because="events_rejected" if any(_failures(seen)) else "",
        )
    letters = seen.letters.value
    if letters is None:
        return
    if letters.switch.stopped:
        yield Finding(
            "retries_stopped",
            Severity.P3,
            f"Retries of dead letters are stopped by {letters.switch.who}: {letters.switch.why}",
            "Somebody stopped them on purpose.",
            "wotr dlq stats",
            'When the cause is mended: wotr dlq go --why "…"',
            "runbook/dead-letters.md#something-goes-wrong",
        )
    if letters.states[LetterState.QUARANTINED]:
        yield Finding(
            "letters_quarantined",
            Severity.P3,
            f"{plural(letters.states[LetterState.QUARANTINED], 'dead letter')} came back too often (QUARANTINED).",
            "A retry without a repair.",
            "wotr dlq list --state QUARANTINED",
            "Repair or discard them by class.",
            "runbook/dead-letters.md",
        )


def _backups(seen: Evidence) -> Iterator[Finding]:
    operations = seen.operations.value
    if operations is None:
        return
    for store in STORES_WITH_BACKUPS:
        backup = operations.backups.get(store)
        if backup is None or seen.now - backup.taken_at > BACKUP_AGE[store]:
            age = "there is none" if backup is None else f"it is {ago(seen.now - backup.taken_at)} old"
            yield Finding(
                f"backup_{store}_missing",
                Severity.P2,
                f"No fresh verified backup of {store}: {age}. A disaster now would cost that time.",
                "None was taken, or no restore drill has proven it.",
                "Dagster, Runs: the last one of the backup; or /admin/, Backups",
                "Launch the backup, and its drill.",
                "runbook/backups-missing.md",
                services=(store,),
            )
