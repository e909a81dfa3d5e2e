"""What dagster.yaml and workspace.yaml promise, held against a real instance on a real Postgres."""

import logging
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.workspace.load import location_origins_from_yaml_paths

from wotr_pipeline.config import PROJECT_ROOT, Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dagster-home")
    shutil.copy(PROJECT_ROOT / "dagster.yaml", path)
    return path


@pytest.fixture(scope="module")
def instance(home: Path, platform: Settings) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("POSTGRES_HOST", platform.postgres_host)
        patch.setenv("POSTGRES_PORT", str(platform.postgres_port))
        patch.setenv("POSTGRES_USER", platform.postgres_user)
        patch.setenv("POSTGRES_PASSWORD", platform.postgres_password.get_secret_value())
        patch.setenv("DAGSTER_POSTGRES_DB", "dagster")
        with dg.DagsterInstance.get() as opened:
            yield opened


def test_what_is_materialized_can_be_read_back_from_postgres(
    instance: dg.DagsterInstance, home: Path
) -> None:
    key = dg.AssetKey(["test", secrets.token_hex(5)])

    @dg.asset(key=key)
    def counted(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        context.log.info("counting")
        return dg.MaterializeResult(metadata={"records": 3})

    assert dg.materialize([counted], instance=instance).success
    with dg.DagsterInstance.get() as another:
        event = another.get_latest_materialization_event(key)
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["records"].value == 3
    assert not list(home.rglob("*.db")), "something still goes to SQLite"
    instance.wipe_assets([key])


def test_what_the_projects_modules_log_in_a_run_is_in_its_event_log_with_its_id(
    instance: dg.DagsterInstance,
) -> None:
    log = logging.getLogger("wotr_pipeline.stores.kafka_records")

    @dg.op
    def reading() -> None:
        log.info("told by a store")
        log.debug("too much detail")
        thread = threading.Thread(target=log.warning, args=("told by a thread of its own",))
        thread.start()
        thread.join()

    @dg.job
    def logging_job() -> None:
        reading()

    result = logging_job.execute_in_process(instance=instance)
    log.info("told after the run")
    told = {entry.user_message: entry for entry in instance.all_logs(result.run_id)}
    assert {"told by a store", "told by a thread of its own"} <= set(told)
    assert not {"too much detail", "told after the run"} & set(told)
    assert told["told by a thread of its own"].level == logging.WARNING
    assert {entry.run_id for entry in told.values()} == {result.run_id}
    steps = {entry.dagster_event_type for entry in told.values()}
    assert dg.DagsterEventType.STEP_START in steps, "Dagster's own events below INFO are kept"


def test_an_event_does_not_wait_for_the_queue_longer_than_a_second(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert instance.run_coordinator.dequeue_interval_seconds == 1


def test_runs_are_bounded_and_one_hour_is_worked_on_by_one_run(instance: dg.DagsterInstance) -> None:
    run_queue = instance.get_concurrency_config().run_queue_config
    assert run_queue is not None
    assert run_queue.max_concurrent_runs == 4
    assert run_queue.tag_concurrency_limits == [
        {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    ]


def test_a_run_whose_process_died_is_failed_and_never_resumed(instance: dg.DagsterInstance) -> None:
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_resume_run_attempts == 0
    assert instance.run_monitoring_poll_interval_seconds <= 10


def test_only_a_dead_process_is_retried_as_a_whole_run(instance: dg.DagsterInstance) -> None:
    assert instance.run_retries_enabled
    assert not instance.run_retries_retry_on_asset_or_op_failure


def test_nothing_is_sent_home_and_no_window_covers_the_ui(instance: dg.DagsterInstance) -> None:
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled


def test_what_runs_print_stays_below_dagster_home(instance: dg.DagsterInstance, home: Path) -> None:
    logs = instance.compute_log_manager
    assert isinstance(logs, LocalComputeLogManager)
    written = logs.get_captured_local_path(["run", "step"], "out")
    assert Path(written).is_relative_to(home)


def test_the_workspace_names_the_definitions() -> None:
    [origin] = location_origins_from_yaml_paths([str(PROJECT_ROOT / "workspace.yaml")])
    assert origin.location_name == "wotr_pipeline"
    assert origin.loadable_target_origin.module_name == "wotr_pipeline.definitions"


def test_dagster_yaml_holds_no_secret() -> None:
    database = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())["storage"]["postgres"][
        "postgres_db"
    ]
    assert all(isinstance(value, dict) and set(value) == {"env"} for value in database.values())
