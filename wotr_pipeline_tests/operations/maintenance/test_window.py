"""The window as a whole: it ends its mode whatever happens, is alone, and stops in time."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from pydantic import SecretStr

from wotr_pipeline.automation.maintenance import reason_to_skip
from wotr_pipeline.automation.maintenance_window import maintenance_automation
from wotr_pipeline.backups.verified import VerifiedBackups
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.maintenance import merging
from wotr_pipeline.operations.maintenance.job import STEP_NAMES, execute, maintenance_job
from wotr_pipeline.operations.maintenance.window import Report, Window, end_orphaned_mode, open_window
from wotr_pipeline.stores.backup_register import BackupRegister, RegisteredBackup
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.leases import LeaseTakenError
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.loading import Loader
from wotr_pipeline.stores.operations_log import STORES_WITH_BACKUPS, OperationsLog
from wotr_pipeline.stores.postgres_upkeep import PostgresUpkeep
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.killed import killed
from wotr_pipeline_tests.operations.maintenance.scenario import execute as execute_sql
from wotr_pipeline_tests.operations.maintenance.scenario import mode_is_on
from wotr_pipeline_tests.slack_sink import slack_sink

QUICK: dict[str, dict[str, object]] = {"watch": {"minutes": 0, "every_seconds": 1}}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def log(ledger_space: Settings) -> Iterator[OperationsLog]:
    opened = OperationsLog(ledger_space)
    yield opened
    opened.close()


def verify_backups(settings: Settings, age: timedelta = timedelta(hours=4)) -> None:
    taken = datetime.now(UTC) - age
    register = BackupRegister(settings)
    register.enter(
        RegisteredBackup(f"{store}-1", store, taken, "s3://backups", 1, verified_at=taken)
        for store in STORES_WITH_BACKUPS
    )
    register.close()


def run(settings: Settings, instance: dg.DagsterInstance, *only: str, **options: object) -> str:
    until = options.pop("until", datetime.now(UTC) + timedelta(hours=2))
    dry_run = bool(options.pop("dry_run", False))
    assert isinstance(until, datetime)
    told = options.pop("told", lambda _: None)
    return execute(
        settings,
        instance,
        VerifiedBackups(settings),
        dry_run=dry_run,
        until=until,
        only=only,
        ops=QUICK,
        told=told,  # type: ignore[arg-type]
    )


def test_a_whole_window_does_every_step_tells_people_and_ends_with_the_mode_off(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    verify_backups(space)
    lines: list[str] = []
    # A gateway that runs on these servers would put the event into its own topic.
    without_gateway = space.model_copy(update={"api_keys": SecretStr("")})
    with slack_sink() as sink:
        assert run(sink.settings(without_gateway), instance, told=lines.append) == ""
        begun, ended = sink.texts
    assert "has begun" in begun
    assert "has ended" in ended
    assert [line.partition(":")[0] for line in lines if line][:1] == ["pre_checks"]
    assert {line.partition(":")[0] for line in lines} == set(STEP_NAMES)
    assert any("was in the table once" in line for line in lines)
    assert not mode_is_on(space)
    turns = OperationsLog(space)
    assert [action.action for action in turns.actions()] == ["end maintenance", "begin maintenance"]
    turns.close()
    warehouse = Warehouse(space)
    assert warehouse.client.command("SELECT count() FROM ingested_data WHERE source = 'wotr-smoke-test'") == 1
    warehouse.close()
    with Ledger(space) as ledger:
        assert not ledger.unfinished(space.kafka_topic)


def test_a_dry_run_plans_every_step_and_changes_nothing(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    lines: list[str] = []
    with slack_sink() as sink:
        assert run(sink.settings(space), instance, dry_run=True, told=lines.append) == ""
        assert sink.texts == []
    assert {line.partition(":")[0] for line in lines} == set(STEP_NAMES)
    log = OperationsLog(space)
    assert log.maintenance() is None
    assert log.actions() == []
    log.close()
    with Ledger(space) as ledger:
        assert ledger.planned_until(space.kafka_topic) == {}


def test_the_pre_checks_say_all_that_is_wrong_at_once_and_nothing_is_changed(
    ledger_space: Settings, instance: dg.DagsterInstance, log: OperationsLog
) -> None:
    verify_backups(ledger_space, timedelta(hours=30))
    broken = ledger_space.model_copy(update={"minio_bucket": "no-such-bucket-here"})
    problem = run(broken, instance)
    for said in ("of minio is of", "of postgres is of", "of clickhouse is of", "no such bucket"):
        assert said in problem
    assert log.maintenance() is None


def test_a_step_that_fails_leaves_the_mode_off_and_people_know(
    ledger_space: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def fails(_window: Window) -> Report:
        seen.append(mode_is_on(ledger_space))
        raise TransientError("PostgreSQL went away.")

    monkeypatch.setattr(merging, "vacuum_postgres", fails)
    with slack_sink() as sink:
        problem = run(sink.settings(ledger_space), instance, "mode_on", "vacuum_postgres", "mode_off")
        (told,) = sink.messages
    assert seen == [True]
    assert problem == "The step vacuum_postgres failed: PostgreSQL went away."
    assert not mode_is_on(ledger_space)
    assert told.channel == ledger_space.wotr_slack_incidents_channel
    assert "vacuum_postgres" in told.text
    assert reason_to_skip(ledger_space) is None


def test_a_termination_in_a_step_leaves_the_mode_off(
    ledger_space: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_window: Window) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(merging, "vacuum_postgres", ended)
    with suppress(BaseException):  # Dagster's own, or the interrupt itself
        run(ledger_space, instance, "mode_on", "vacuum_postgres")
    log = OperationsLog(ledger_space)
    assert [action.action for action in log.actions()] == ["end maintenance", "begin maintenance"]
    log.close()


def test_a_second_window_is_refused_with_the_name_of_the_first(
    ledger_space: Settings, instance: dg.DagsterInstance
) -> None:
    with open_window(ledger_space, "the-first", dry_run=False) as window:
        window.turn_on()
        with (
            pytest.raises(LeaseTakenError, match="run the-first"),
            open_window(ledger_space, "second", dry_run=False),
        ):
            pass
        assert "run the-first" in run(ledger_space, instance, "vacuum_postgres")
        assert mode_is_on(ledger_space)
    assert not mode_is_on(ledger_space)


def test_after_its_time_no_work_begins_but_the_mode_is_ended(
    ledger_space: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []

    def takes_long(window: Window) -> Report:
        window.until = datetime.now(UTC) - timedelta(seconds=1)
        return Report(("Done.",))

    monkeypatch.setattr(merging, "vacuum_postgres", takes_long)
    only = (
        "mode_on",
        "vacuum_postgres",
        "optimize_clickhouse",
        "retention",
        "log_rotation",
        "smoke_test",
        "mode_off",
    )
    assert run(ledger_space, instance, *only, told=lines.append) == ""
    left_out = [line.partition(":")[0] for line in lines if "Left out" in line]
    assert left_out == ["optimize_clickhouse", "retention", "log_rotation", "smoke_test"]
    assert not mode_is_on(ledger_space)


def a_window_with(settings: Settings, step: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    with dg.DagsterInstance.ephemeral() as instance:
        execute(
            settings,
            instance,
            VerifiedBackups(settings),
            dry_run=False,
            until=until,
            only=["mode_on", step],
        )


def test_a_window_killed_in_a_step_is_ended_by_the_sensor_and_done_again_by_the_next_one(
    ledger_space: Settings, instance: dg.DagsterInstance
) -> None:
    killed(a_window_with, ledger_space, "vacuum_postgres", at=PostgresUpkeep.vacuum, call=2)
    assert mode_is_on(ledger_space)
    job = maintenance_job(ledger_space, VerifiedBackups(ledger_space))
    (sensor,) = maintenance_automation(ledger_space, job).sensors
    with slack_sink() as sink:
        told_by = maintenance_automation(sink.settings(ledger_space), job).sensors[0]
        found = told_by(dg.build_sensor_context())
        assert isinstance(found, dg.SkipReason)
        assert "has ended without a word" in str(found.skip_message)
        (message,) = sink.texts
    assert "was killed" in message
    assert not mode_is_on(ledger_space)
    again = sensor(dg.build_sensor_context())
    assert isinstance(again, dg.SkipReason)
    assert "No window" in str(again.skip_message)
    assert run(ledger_space, instance, "mode_on", "vacuum_postgres", "mode_off") == ""


def test_a_window_killed_after_its_smoke_test_sent_the_event_loses_and_doubles_nothing(
    space: Settings, instance: dg.DagsterInstance
) -> None:
    without_gateway = space.model_copy(update={"api_keys": SecretStr("")})
    killed(a_window_with, without_gateway, "smoke_test", at=Loader.load)
    assert run(without_gateway, instance, "mode_on", "smoke_test", "mode_off") == ""
    warehouse = Warehouse(space)
    counts = warehouse.client.query(
        "SELECT count(), uniqExact(id) FROM ingested_data WHERE source = 'wotr-smoke-test'"
    ).result_rows
    warehouse.close()
    assert counts == [(2, 2)]
    assert not mode_is_on(space)


def test_the_next_window_ends_the_mode_of_a_killed_one_even_without_the_sensor(
    ledger_space: Settings, instance: dg.DagsterInstance
) -> None:
    log = OperationsLog(ledger_space)
    log.turn_maintenance(True, "run 0000-killed", "the window")
    log.close()
    assert run(ledger_space, instance, "vacuum_postgres") == ""
    assert not mode_is_on(ledger_space)


def test_the_sensor_leaves_the_mode_of_a_person_and_of_a_living_window_alone(
    ledger_space: Settings, log: OperationsLog
) -> None:
    log.turn_maintenance(True, "anna", "new disks")
    assert end_orphaned_mode(ledger_space) is None
    assert mode_is_on(ledger_space)
    log.turn_maintenance(False, "anna", "done")
    with open_window(ledger_space, "alive", dry_run=False) as window:
        window.turn_on()
        assert end_orphaned_mode(ledger_space) is None
        assert mode_is_on(ledger_space)


def test_a_window_does_not_begin_while_a_person_has_the_mode_on(
    ledger_space: Settings, instance: dg.DagsterInstance, log: OperationsLog
) -> None:
    verify_backups(ledger_space)
    log.turn_maintenance(True, "anna", "new disks")
    assert "anna has turned maintenance on" in run(ledger_space, instance, "pre_checks")
    assert mode_is_on(ledger_space)


def test_a_window_waits_for_those_who_write_and_gives_up_with_their_names(
    ledger_space: Settings, instance: dg.DagsterInstance
) -> None:
    hour = datetime(2026, 11, 22, 8, tzinfo=UTC)
    with Ledger(ledger_space) as ledger, ledger.writer("busy", hour=hour):
        problem = execute(
            ledger_space,
            instance,
            VerifiedBackups(ledger_space),
            dry_run=False,
            until=datetime.now(UTC) + timedelta(hours=1),
            only=["mode_on"],
            ops={"mode_on": {"wait_minutes": 0}},
        )
    assert "wotr run busy still write" in problem
    assert not mode_is_on(ledger_space)


def test_a_window_whose_lease_is_lost_does_no_more(ledger_space: Settings) -> None:
    with open_window(ledger_space, "cut-off", dry_run=False) as window:
        assert window.go_on()
        execute_sql(
            ledger_space,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
            "wotr lease run cut-off",
        )
        with pytest.raises(TransientError, match="lost"):
            window.go_on()
