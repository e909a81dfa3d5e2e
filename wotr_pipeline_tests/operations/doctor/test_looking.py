"""The doctor at real servers: what is wrong there is found, and what is away or hangs holds nothing up."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from dagster._daemon.types import DaemonHeartbeat

from wotr_pipeline.cli import main
from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.operations.doctor import condition
from wotr_pipeline.operations.doctor.diagnosis import diagnose
from wotr_pipeline.operations.doctor.evidence import Evidence, ServiceState
from wotr_pipeline.operations.doctor.finding import Finding
from wotr_pipeline.operations.doctor.looking import PATIENCE_SECONDS, look
from wotr_pipeline.operations.doctor.report import as_json, lines
from wotr_pipeline.operations.doctor.service import details
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.batch import PlannedRange
from wotr_pipeline.stores.engine_condition import engine_condition
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.ledger_database import batches, connect
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.conftest import environment_of, settings_of
from wotr_pipeline_tests.topics import wait_until

SCHEMA = json.loads(files("wotr_pipeline.operations.doctor").joinpath("doctor.1.json").read_text())


@pytest.fixture(autouse=True)
def no_dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the test run says, its Dagster is not looked at."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def _found(settings: Settings, path: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose(look(settings, path), settings).findings}


def _wotr(settings: Settings, data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**environment_of(settings), "WOTR_DATA_DIR": str(data_dir)}
    environment.pop("DAGSTER_HOME", None)
    command = [sys.executable, "-m", "wotr_pipeline.cli", "doctor", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def _told(said: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(said)
    jsonschema.validate(told, SCHEMA)
    return told


def _shows_no_secret(done: "subprocess.CompletedProcess[str] | Result", *secrets: str) -> None:
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown
    assert [secret for secret in secrets if secret in shown] == []


@contextlib.contextmanager
def _hanging() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def test_every_part_of_a_running_platform_is_seen(space: Settings, tmp_path: Path) -> None:
    seen = look(space, tmp_path)
    stores = {one.name: one.state for one in seen.services if one.name not in ("gateway", "dagster")}
    assert stores == dict.fromkeys(("postgres", "minio", "kafka", "clickhouse"), ServiceState.UP)
    assert seen.unknown == ()
    assert seen.engine.value is not None
    assert seen.engine.value.disks
    assert seen.postgres.value is not None
    assert seen.postgres.value.limit > seen.postgres.value.connected > 0
    assert seen.disk.value is not None


def test_with_every_server_silent_it_says_so_in_time_and_in_plain_words(
    platform: Settings, tmp_path: Path
) -> None:
    with _hanging() as port:
        done = _wotr(_all_at(platform, port), tmp_path / "nothing", "--json")
    told = _told(done.stdout)
    assert done.returncode == 1, done.stderr
    assert {one["state"] for one in told["services"]} == {"down"}
    assert told["bottleneck"] == "postgres_down"
    assert told["seconds"] < PATIENCE_SECONDS + 2
    assert len(told["unknown"]) >= 6
    _shows_no_secret(done, *_secrets_of(platform))


def test_with_everything_away_the_report_says_so(platform: Settings, tmp_path: Path) -> None:
    away = _all_at(platform, free_port())
    found = diagnose(look(away, tmp_path), away)
    told = as_json(found, away)
    jsonschema.validate(told, SCHEMA)
    assert found.verdict.exit_code == 1
    text = "\n".join(lines(found, away))
    assert "Mend first: postgres_down" in text
    assert "Nothing answers: the platform was never started, was stopped, or the network is away." in text


def _all_at(settings: Settings, port: int) -> Settings:
    return settings.model_copy(
        update={
            "kafka_bootstrap": f"127.0.0.1:{port}",
            "postgres_port": port,
            "clickhouse_port": port,
            "minio_endpoint": f"http://127.0.0.1:{port}",
            "wotr_gateway_url": f"http://127.0.0.1:{port}",
            "wotr_dagster_url": f"http://127.0.0.1:{port}",
        }
    )


def _secrets_of(settings: Settings) -> list[str]:
    names = (
        "postgres_password",
        "minio_secret_key",
        "clickhouse_password",
        "api_keys",
        "wotr_backup_signing_key",
    )
    return [secret for name in names if (secret := getattr(settings, name).get_secret_value())]


def _plan_long_ago(settings: Settings) -> None:
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    with Ledger(settings) as ledger:
        ledger.plan([PlannedRange(settings.kafka_topic, 0, 0, 99, hour)])
    engine = connect(settings, "test", dedicated=True)
    with engine.begin() as connection:
        connection.execute(sa.update(batches).values(planned_at=now - timedelta(hours=2)))


def test_a_batch_that_nobody_takes_is_found(space: Settings, tmp_path: Path) -> None:
    _plan_long_ago(space)
    wait = _found(space, tmp_path)["events_wait"]
    assert "1 batch unfinished" in wait.symptom
    assert "the sensor kafka_offsets is off" in wait.cause


def test_a_daemon_that_fell_silent_is_found_and_explains_what_waits(
    space: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PROJECT_ROOT / "dagster.yaml", tmp_path)
    for name, value in environment_of(space).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_POSTGRES_DB", space.postgres_db)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    _plan_long_ago(space)
    with dg.DagsterInstance.get() as instance:

        def beat(age: timedelta) -> None:
            moment = (datetime.now(UTC) - age).timestamp()
            for daemon in ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"):
                instance.add_daemon_heartbeat(DaemonHeartbeat(moment, daemon, "1", []))

        beat(timedelta(hours=3))
        found = _found(space, tmp_path)
        assert "no sign of life for 3 h" in found["daemon_silent"].symptom
        assert found["events_wait"].because == "daemon_silent"
        beat(timedelta())
        found = _found(space, tmp_path)
    assert "daemon_silent" not in found
    assert found["events_wait"].because == ""


def test_maintenance_that_was_left_on_is_found_and_explains_what_waits(
    ledger_space: Settings, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    log = OperationsLog(ledger_space)
    log.turn_maintenance(True, "ada", "disks", now + timedelta(hours=1))
    assert "maintenance_on" in _found(ledger_space, tmp_path)
    log.turn_maintenance(True, "ada", "disks", now - timedelta(hours=1))
    assert "ada: disks" in _found(ledger_space, tmp_path)["maintenance_left_on"].symptom
    log.turn_maintenance(False, "ada", "done")
    assert not {"maintenance_on", "maintenance_left_on"} & _found(ledger_space, tmp_path).keys()
    log.close()


def test_a_connection_that_sleeps_in_its_transaction_is_found(
    ledger_space: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(condition, "IDLE_SECONDS", 0)
    engine = connect(ledger_space, "test that sleeps", dedicated=True)
    with engine.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        idle = look(ledger_space, tmp_path).postgres.value
    assert idle is not None
    assert ("test that sleeps", pid) in {(one.application_name, one.pid) for one in idle.idle}


def test_a_mutation_that_cannot_end_is_found_without_the_content_of_its_error(
    space: Settings, tmp_path: Path
) -> None:
    client = Warehouse(space).client
    client.command("CREATE TABLE stuck (a UInt8, b String) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO stuck VALUES (1, 'content of an event')")
    client.command(
        "ALTER TABLE stuck UPDATE b = toString(throwIf(length(b) > 0, 'content of an event')) WHERE 1",
        settings={"mutations_sync": 0},
    )

    def failed() -> bool:
        return any(one.failed_with for one in engine_condition(Warehouse(space), 30.0).mutations)

    wait_until(failed)
    seen: Evidence = look(space, tmp_path)
    stuck = next(one for one in diagnose(seen, space).findings if one.name == "mutation_stuck")
    assert "of stuck" in stuck.symptom
    assert "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in stuck.symptom
    assert "content of an event" not in str(seen)
    (mutation,) = seen.engine.value.mutations if seen.engine.value else ()
    client.command(
        f"KILL MUTATION WHERE mutation_id = '{mutation.mutation_id}' AND database = '{space.clickhouse_db}'"
    )
    wait_until(lambda: not engine_condition(Warehouse(space), 30.0).mutations)


def test_a_stopped_store_is_found(own_platform: Platform) -> None:
    path = own_platform.directory.path
    own_platform.up(("postgres",))
    settings = settings_of(own_platform)
    assert "It has no tables of the platform: wotr init" in _found(settings, path)["postgres_down"].symptom
    own_platform.stop("postgres")
    assert "It does not answer." in _found(settings, path)["postgres_down"].symptom
    (server,) = details(settings, path, "postgres").servers
    assert server.pid is None
    assert server.log


def test_a_service_is_shown_from_near_with_its_log_its_resources_and_no_secret(
    servers: Platform, platform: Settings
) -> None:
    arguments = ["--data-dir", str(servers.directory.path), "doctor", "--only", "objects", "--json"]
    done = CliRunner().invoke(main, arguments, env=environment_of(platform))
    told = _told(done.stdout)["service"]
    (server,) = told["servers"]
    assert (told["name"], server["pid"]) == ("minio", servers.pid("objects"))
    assert server["memory_bytes"] > 1_000_000
    assert server["open_files"] > 3
    assert server["log"]
    assert told["configuration"]["MINIO_SECRET_KEY"] == "(set, not shown)"
    assert told["configuration"]["MINIO_BUCKET"] == platform.minio_bucket
    _shows_no_secret(done, *servers.directory.secrets.values())


def test_a_secret_in_a_log_is_blotted_out(own_platform: Platform) -> None:
    directory = own_platform.directory
    secret = directory.secrets["postgres"]
    directory.logs.mkdir(parents=True, exist_ok=True)
    (directory.logs / "postgres.log").write_text(f"connection postgresql://wotr:{secret}@127.0.0.1 failed\n")
    (server,) = details(settings_of(own_platform), directory.path, "postgres").servers
    assert server.log == ("connection postgresql://wotr:[secret]@127.0.0.1 failed",)


def test_a_service_that_does_not_exist_is_a_wrong_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--data-dir", str(tmp_path), "doctor", "--only", "mainframe"])
    assert done.exit_code == 2
    assert "There is no service 'mainframe'. There are: clickhouse" in done.output
