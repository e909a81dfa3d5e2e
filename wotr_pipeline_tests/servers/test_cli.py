"""The command ``wotr`` as someone at a terminal meets it."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from wotr_pipeline.cli import main
from wotr_pipeline.config import Settings
from wotr_pipeline.servers import kafka_jars
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.servers.server import ServerError


def wotr(data_dir: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--data-dir", str(data_dir), *arguments])
    return done.exit_code, done.output


def test_status_and_down_of_a_place_where_nothing_was_started_say_so(tmp_path: Path) -> None:
    assert wotr(tmp_path, "status") == (3, f"Nothing was ever started in {tmp_path}.\n")
    assert wotr(tmp_path, "down") == (0, f"Nothing was ever started in {tmp_path}.\n")
    assert list(tmp_path.iterdir()) == []


def test_status_shows_every_server_and_fails_when_one_is_down(own_platform: Platform) -> None:
    path = own_platform.directory.path
    own_platform.up(("postgres",))
    code, table = wotr(path, "status")
    assert code == 0, table
    assert f"{own_platform.pid('postgres')}" in table
    own_platform.stop("postgres")
    code, table = wotr(path, "status")
    assert code == 3
    assert next(line for line in table.splitlines() if line.startswith("postgres")).split()[1] == "stopped"
    own_platform.start("postgres")
    code, table = wotr(path, "status")
    assert code == 0, table


def test_env_prints_secrets_only_when_asked(platform: Settings, servers: Platform) -> None:
    password = servers.directory.secrets["postgres"]
    told = wotr(servers.directory.path, "env")[1]
    assert [name for name, secret in servers.directory.secrets.items() if secret in told] == []
    assert f"export POSTGRES_PASSWORD={password}" in wotr(servers.directory.path, "env", "--show-secrets")[1]


def test_run_gives_a_command_the_environment_and_returns_its_exit_code(
    platform: Settings, servers: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    expected = servers.directory.environment()["KAFKA_BOOTSTRAP"]
    command = f'test "$KAFKA_BOOTSTRAP" = {expected} && exit 7'
    assert wotr(servers.directory.path, "run", "--", "sh", "-c", command)[0] == 7


def test_a_wrong_setting_is_plain_text_and_exit_code_2(
    platform: Settings, servers: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_PORT", "54x32")
    code, said = wotr(servers.directory.path, "up", "--no-dagster")
    assert code == 2
    assert "POSTGRES_PORT" in said
    assert "Traceback" not in said
    assert "54x32" not in said


def test_without_maven_central_the_missing_jars_and_the_remedy_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOTR_CACHE_DIR", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ServerError, match=r"(?s)kafka: .*Maven Central.*did not deliver.*HTTPS_PROXY"):
        kafka_jars.fetch()
    assert not kafka_jars.directory().exists()


def test_a_second_data_directory_reuses_the_jars(platform: Settings) -> None:
    before = {jar.name: jar.stat() for jar in kafka_jars.directory().iterdir()}
    kafka_jars.fetch()
    assert {jar.name: jar.stat() for jar in kafka_jars.directory().iterdir()} == before
    assert len(before) == len(kafka_jars.pinned())
    assert all(stat.S_ISREG(status.st_mode) for status in before.values())
