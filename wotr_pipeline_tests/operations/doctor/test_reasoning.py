"""The doctor's reasoning, case by case: from what was seen to what is named, and to what is named first."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.operations.doctor.diagnosis import Diagnosis, Verdict, diagnose
from wotr_pipeline.operations.doctor.evidence import (
    Batches,
    Evidence,
    Failures,
    Letters,
    Operations,
    Part,
    ServiceHealth,
    ServiceState,
)
from wotr_pipeline.stores.batch import Batch, BatchState, LedgerSummary, StateSummary
from wotr_pipeline.stores.dagster_instance import DagsterState
from wotr_pipeline.stores.dead_letter import LetterState, Switch
from wotr_pipeline.stores.engine_condition import Disk, EngineCondition, Failure, Mutation, Query
from wotr_pipeline.stores.event_counts import Count, Period
from wotr_pipeline.stores.lag import Lag, PartitionLag
from wotr_pipeline.stores.operations_log import Backup, Maintenance
from wotr_pipeline.stores.postgres_condition import DeadTuples, IdleTransaction, PostgresCondition

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERVICES = ("postgres", "minio", "kafka", "clickhouse", "gateway", "dagster")
BATCH = Batch("events", 0, 0, 99, NOW.replace(hour=0), planned_at=NOW - HOUR, attempts=3)
DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR")
ENGINE = EngineCondition(3, "ingested_data 202611", 1, 0.4, (), (), (), (Disk("default", 80, 100),))
POSTGRES = PostgresCondition({"idle": 5, "active": 1}, 97, (), (), 0)


def _batches(
    *, age: timedelta | None = None, oldest: Sequence[Batch] = (), quarantined: int = 0
) -> Part[Batches]:
    counts = dict.fromkeys(BatchState, 0) | {
        BatchState.PLANNED: int(age is not None),
        BatchState.QUARANTINED: quarantined,
    }
    states = tuple(StateSummary(state, number, 100 * number, 0) for state, number in counts.items())
    return Part(Batches(LedgerSummary(states, None, age), tuple(oldest), ()))


def _dagster(*, silent: timedelta = timedelta(), **runs: int) -> Part[DagsterState | None]:
    return Part(DagsterState(runs, dict.fromkeys(DAEMONS, (NOW - silent).timestamp())))


def _mode(enabled: bool, until: datetime | None) -> Part[Operations]:
    backups = {
        store: Backup(store, NOW - HOUR, "s3://…", 1, NOW, 1.0)
        for store in ("minio", "postgres", "clickhouse")
    }
    return Part(Operations(Maintenance(enabled, NOW - HOUR, "ada", "disks", until), backups))


def _failures(*found: Failure, events: int = 1_000) -> Part[Failures]:
    failed = sum(one.failed for one in found)
    counted = Count(NOW - timedelta(minutes=5), "metric", events, failed, 0, 1)
    return Part(Failures(Period(NOW - HOUR, NOW, timedelta(minutes=5), (counted,)), found))


HEALTHY = Evidence(
    now=NOW,
    seconds=0.5,
    services=tuple(ServiceHealth(name, ServiceState.UP, "", 9) for name in SERVICES),
    lag=Part(Lag((PartitionLag(0, 100, 100, None),))),
    batches=_batches(),
    letters=Part(Letters(dict.fromkeys(LetterState, 0), Switch(False, "", "", None))),
    operations=_mode(False, None),
    postgres=Part(POSTGRES),
    engine=Part(ENGINE),
    failures=_failures(),
    dagster=_dagster(started=1),
    disk=Part(Disk("/data", 80, 100)),
)
WAITING = replace(HEALTHY, batches=_batches(age=HOUR, oldest=[BATCH]))


def _seen(seen: Evidence) -> Diagnosis:
    return diagnose(seen, Settings())


def _down(seen: Evidence, *names: str) -> Evidence:
    gone = ServiceHealth("", ServiceState.DOWN, "It does not answer.", 2_000)
    return replace(
        seen,
        services=tuple(replace(gone, name=one.name) if one.name in names else one for one in seen.services),
    )


def _names(seen: Evidence) -> list[str]:
    return [finding.name for finding in _seen(seen).findings]


def test_a_healthy_platform_has_no_finding() -> None:
    assert _seen(HEALTHY).findings == ()
    assert _seen(HEALTHY).verdict is Verdict.HEALTHY


def test_what_could_not_be_seen_is_never_called_healthy() -> None:
    seen = replace(HEALTHY, engine=Part(None, "ClickHouse did not answer."))
    assert _seen(seen).verdict is Verdict.UNKNOWN
    assert [_seen(one).verdict.exit_code for one in (HEALTHY, WAITING, seen)] == [0, 1, 2]


ENGINE_STUCK = replace(
    ENGINE, mutations=(Mutation("ingested_data", "mutation_7.txt", 900, "UNKNOWN_IDENTIFIER"),)
)
ENGINE_PARTS = replace(ENGINE, parts=1_500)
ENGINE_BUSY = replace(ENGINE, running=(Query("q1", "reader", 300.0),))


@pytest.mark.parametrize(
    ("seen", "bottleneck"),
    [
        (_down(WAITING, "postgres"), "postgres_down"),
        (_down(WAITING, "kafka"), "kafka_down"),
        (_down(WAITING, "minio"), "minio_down"),
        (_down(WAITING, "clickhouse"), "clickhouse_down"),
        (replace(WAITING, operations=_mode(True, NOW + HOUR)), "maintenance_on"),
        (replace(WAITING, operations=_mode(True, NOW - HOUR)), "maintenance_left_on"),
        (replace(WAITING, dagster=_dagster(silent=HOUR)), "daemon_silent"),
        (replace(WAITING, dagster=_dagster(silent=HOUR, queued=4)), "daemon_silent"),
        (replace(WAITING, dagster=Part(DagsterState({}, {}))), "daemon_silent"),
        (replace(WAITING, dagster=_dagster(queued=4)), "runs_not_started"),
        (replace(WAITING, engine=Part(ENGINE_STUCK)), "mutation_stuck"),
        (replace(WAITING, engine=Part(ENGINE_PARTS)), "parts_many"),
        (replace(WAITING, engine=Part(ENGINE_BUSY)), "queries_long"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_events_wait_for_the_first_cause_on_their_way(seen: Evidence, bottleneck: str) -> None:
    found = _seen(seen)
    assert found.bottleneck is not None
    assert found.bottleneck.name == bottleneck
    wait = next(finding for finding in found.findings if finding.name == "events_wait")
    assert wait.because == bottleneck or (wait.because, bottleneck) == ("runs_not_started", "daemon_silent")


def test_an_engine_that_is_slow_explains_nothing_when_no_run_is_at_work() -> None:
    seen = replace(WAITING, engine=Part(ENGINE_STUCK), dagster=_dagster())
    (wait,) = (finding for finding in _seen(seen).findings if finding.name == "events_wait")
    assert wait.because == ""
    assert "the sensor kafka_offsets is off, or its ticks fail" in wait.cause


def test_a_failing_batch_is_told_with_its_error() -> None:
    failing = replace(BATCH, last_error="ClickHouse refused 'load_batch' with code 60.")
    (wait,) = _seen(replace(HEALTHY, batches=_batches(age=HOUR, oldest=[failing]))).findings
    assert "after 3 attempts: ClickHouse refused 'load_batch' with code 60." in wait.cause


def test_a_backlog_that_is_worked_off_is_called_one() -> None:
    behind = Lag((PartitionLag(0, 100, 5_100, NOW - HOUR),))
    (wait,) = _seen(replace(HEALTHY, lag=Part(behind))).findings
    assert wait.symptom.startswith("5,000 events in Kafka, the oldest for 60 min.")
    assert wait.cause == "Runs are at work, and more arrives than they carry."


def test_what_waits_for_less_than_a_quarter_of_an_hour_is_no_finding() -> None:
    behind = Lag((PartitionLag(0, 100, 5_100, NOW - timedelta(minutes=10)),))
    assert _names(replace(HEALTHY, lag=Part(behind))) == []


def test_a_full_disk_comes_before_the_stores_that_it_stopped() -> None:
    full = replace(WAITING, disk=Part(Disk("/data", 1, 100)))
    assert _names(_down(full, "postgres", "clickhouse")) == [
        "disk_full",
        "postgres_down",
        "events_wait",
        "clickhouse_down",
    ]


@pytest.mark.parametrize(
    ("failed", "cause"),
    [
        (
            [Failure("missing_field", f"app-{number}", 100) for number in range(3)],
            "One reason: 300 of 300 are missing_field",
        ),
        (
            [Failure(reason, "app-1", 100) for reason in ("a", "b", "c")],
            "One client: 300 of 300 come from the source 'app-1'",
        ),
        ([Failure(one, one, 100) for one in ("a", "b", "c")], "Several at once"),
    ],
)
def test_rejected_events_are_told_apart_by_reason_and_by_source(failed: list[Failure], cause: str) -> None:
    (finding,) = _seen(replace(HEALTHY, failures=_failures(*failed))).findings
    assert finding.name == "events_rejected"
    assert finding.cause.startswith(cause)


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (replace(HEALTHY, postgres=Part(replace(POSTGRES, connections={"idle": 90}))), "connections_tight"),
        (
            replace(HEALTHY, postgres=Part(replace(POSTGRES, idle=(IdleTransaction("job", 4711, 90.0),)))),
            "transactions_idle",
        ),
        (
            replace(
                HEALTHY, postgres=Part(replace(POSTGRES, dead=(DeadTuples("ingest_meta", 10, 200_000),)))
            ),
            "tuples_dead",
        ),
        (replace(HEALTHY, postgres=Part(replace(POSTGRES, new_letters=601))), "letters_growing"),
        (replace(HEALTHY, engine=Part(replace(ENGINE, slow=(Query("q", "reader", 40.0),)))), "queries_slow"),
        (replace(HEALTHY, engine=Part(replace(ENGINE, disks=(Disk("default", 4, 100),)))), "disk_tight"),
        (replace(HEALTHY, batches=_batches(quarantined=2)), "batches_quarantined"),
        (_down(HEALTHY, "gateway"), "gateway_down"),
        (_down(HEALTHY, "dagster"), "dagster_ui_down"),
        (
            replace(
                HEALTHY,
                letters=Part(Letters(dict.fromkeys(LetterState, 0), Switch(True, "ada", "flood", NOW))),
            ),
            "retries_stopped",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_each_thing_that_is_wrong_has_its_own_name(seen: Evidence, name: str) -> None:
    assert _names(seen) == [name]


def test_a_slow_gateway_is_explained_by_the_slow_store_that_its_requests_wait_for() -> None:
    def slow(*names: str) -> Evidence:
        services = (
            replace(one, milliseconds=1_500) if one.name in names else one for one in HEALTHY.services
        )
        return replace(HEALTHY, services=tuple(services))

    assert _names(slow("gateway", "clickhouse")) == ["gateway_slow", "clickhouse_slow"]
    assert _names(slow("gateway", "postgres")) == ["postgres_slow", "gateway_slow"]


def test_backups_that_are_missing_or_old_are_named_by_store() -> None:
    old = Backup("postgres", NOW - timedelta(hours=27), "s3://…", 1, NOW, 1.0)
    seen = replace(HEALTHY, operations=Part(Operations(None, {"postgres": old})))
    assert _names(seen) == ["backup_minio_missing", "backup_postgres_missing", "backup_clickhouse_missing"]


def test_only_one_service_is_told_when_only_one_is_asked_for() -> None:
    seen = _down(replace(HEALTHY, engine=Part(ENGINE_PARTS)), "gateway")
    assert [one.name for one in diagnose(seen, Settings(), "clickhouse").findings] == ["parts_many"]
    assert diagnose(seen, Settings(), "kafka").verdict is Verdict.HEALTHY


EVERYTHING = replace(
    _down(WAITING, *SERVICES),
    postgres=Part(
        PostgresCondition(
            {"idle": 97}, 97, (IdleTransaction("job", 1, 90.0),), (DeadTuples("a", 1, 200_000),), 999
        )
    ),
    engine=Part(
        replace(ENGINE_STUCK, parts=2_600, running=(Query("q", "u", 99.0),), slow=(Query("q", "u", 99.0),))
    ),
    dagster=_dagster(silent=HOUR, queued=1),
    failures=_failures(Failure("a", "b", 500)),
    operations=Part(Operations(Maintenance(True, NOW - HOUR, "ada", "w", NOW - HOUR), {})),
    batches=_batches(age=HOUR, quarantined=1),
)


def test_every_finding_leads_to_a_place_in_the_documentation_that_exists() -> None:
    found = _seen(EVERYTHING).findings
    assert len(found) > 20
    assert len({one.name for one in found}) == len(found)
    for finding in found:
        page, _, anchor = finding.page.partition("#")
        text = (PROJECT_ROOT / "docs" / page).read_text()
        headings = {
            line.lstrip("# ").lower().replace(" ", "-") for line in text.splitlines() if line.startswith("#")
        }
        assert not anchor or anchor in headings, finding.page
