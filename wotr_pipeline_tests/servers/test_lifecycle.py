"""What ``wotr up | down | status`` promise, held against real servers."""

import contextlib
import os
import socket
from pathlib import Path

import psutil
import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.data_directory import WANTED_PORTS, open_data_directory
from wotr_pipeline.servers.lifecycle import STORES, Platform
from wotr_pipeline.servers.server import ServerError
from wotr_pipeline.servers.supervision import MARK

QUICK = ("postgres", "objects")


def states(platform: Platform) -> dict[str, str]:
    return {server.name: server.state for server in platform.status()}


def marked_processes(platform: Platform) -> list[psutil.Process]:
    """Processes that carry the mark of this data directory (a server's workers may not show theirs)."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == platform.directory.secrets["supervision_mark"]:
                found.append(process)
    return found


def supervisord_of(platform: Platform) -> psutil.Process:
    return psutil.Process(int((platform.directory.path / "supervisord.pid").read_text()))


def test_a_second_up_finds_everything_running_and_restarts_nothing(
    platform: Settings, servers: Platform
) -> None:
    before = {name: servers.pid(name) for name in STORES}
    said: list[str] = []
    servers.up(STORES, said.append)
    assert {name: servers.pid(name) for name in STORES} == before
    assert [line.split()[0] for line in said] == list(STORES)


def test_a_second_copy_runs_beside_the_first_and_goes_without_a_trace(
    platform: Settings, servers: Platform, own_platform: Platform
) -> None:
    own_platform.up(QUICK)
    mine, theirs = own_platform.directory.ports, servers.directory.ports
    # Ports that people know are settled at the start: both would like them.
    assert {mine[name] for name in mine.keys() - WANTED_PORTS.keys()}.isdisjoint(theirs.values())
    assert set(own_platform.directory.secrets.values()).isdisjoint(servers.directory.secrets.values())
    assert {states(own_platform)[name] for name in QUICK} == {"ready"}
    # A new handle finds the same copy, with the ports and passwords it was given.
    again = Platform(own_platform.directory.path)
    assert again.directory == own_platform.directory
    family = [child for process in marked_processes(again) for child in process.children(recursive=True)]
    again.down()
    again.down()
    assert marked_processes(again) == []
    assert [process for process in family if process.is_running()] == []
    assert {states(servers)[name] for name in STORES} == {"ready"}


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log_and_nothing_stays_behind(
    own_platform: Platform,
) -> None:
    own_platform.up(("postgres",))
    own_platform.down()
    configuration = own_platform.directory.path / "postgres" / "postgresql.conf"
    configuration.write_text(configuration.read_text() + "\nno_such_setting = 1\n")
    with pytest.raises(ServerError, match=r"(?s)postgres ended before.*logs/postgres\.log:.*no_such_setting"):
        own_platform.up(QUICK)
    assert marked_processes(own_platform) == []


def test_a_failed_start_leaves_alone_what_ran_before(own_platform: Platform) -> None:
    own_platform.up(("postgres",))
    pid = own_platform.pid("postgres")
    with socket.create_server(("127.0.0.1", own_platform.directory.ports["objects_filer"])):
        with pytest.raises(ServerError, match=rf"objects cannot start: its port .* process {os.getpid()}"):
            own_platform.up(QUICK)
    assert own_platform.pid("postgres") == pid
    own_platform.up(QUICK)
    assert {states(own_platform)[name] for name in QUICK} == {"ready"}


def kill_supervisor(platform: Platform) -> psutil.Process:
    """Leaves PostgreSQL behind, which is returned."""
    orphan = psutil.Process(platform.pid("postgres"))
    supervisord = supervisord_of(platform)
    supervisord.kill()
    supervisord.wait(10)
    assert orphan.is_running()
    assert states(platform)["postgres"] == "stopped"
    return orphan


def test_after_the_supervisor_was_killed_its_orphans_are_found_and_ended(own_platform: Platform) -> None:
    own_platform.up(("postgres",))
    orphan = kill_supervisor(own_platform)
    own_platform.up(("postgres",))
    assert own_platform.pid("postgres") != orphan.pid
    assert states(own_platform)["postgres"] == "ready"
    assert not orphan.is_running()

    orphan = kill_supervisor(own_platform)
    own_platform.down()
    assert marked_processes(own_platform) == []
    assert not orphan.is_running()


def test_a_new_directory_keeps_the_backups_that_it_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WOTR_BACKUP_SIGNING_KEY", "of the machine that is gone")
    monkeypatch.setenv("WOTR_BACKUP_BUCKET", "its-backups")
    made = open_data_directory(tmp_path / "new").environment()
    assert made["WOTR_BACKUP_SIGNING_KEY"] == "of the machine that is gone"
    assert made["WOTR_BACKUP_BUCKET"] == "its-backups"
    monkeypatch.setenv("WOTR_BACKUP_SIGNING_KEY", "another one")
    again = open_data_directory(tmp_path / "new").environment()
    assert again["WOTR_BACKUP_SIGNING_KEY"] == "of the machine that is gone", "remembered, as every secret"


def test_what_holds_a_secret_is_readable_by_its_owner_alone(platform: Settings, servers: Platform) -> None:
    secrets = [secret.encode() for secret in servers.directory.secrets.values()]
    with_secrets = []
    for path in servers.directory.path.rglob("*"):
        small = path.is_file() and path.stat().st_size < 1_000_000
        if small and any(secret in path.read_bytes() for secret in secrets):
            with_secrets.append(path)
    names = {path.name for path in with_secrets}
    assert {"environment", "servers.json", "supervisord.conf", "clickhouse.xml"} <= names
    readable = [
        path for path in with_secrets if path.stat().st_mode & 0o077 and not _behind_closed_door(path)
    ]
    assert readable == []


def _behind_closed_door(path: Path) -> bool:
    return path.parent.stat().st_mode & 0o077 == 0


def test_no_secret_is_on_a_command_line(platform: Settings, servers: Platform) -> None:
    secrets = [secret for name, secret in servers.directory.secrets.items() if name != "kafka_cluster"]
    for process in marked_processes(servers):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())
            assert not any(secret in line for secret in secrets), process.name()


def test_every_server_listens_on_the_loopback_interface_only(platform: Settings, servers: Platform) -> None:
    for name in STORES:
        process = psutil.Process(servers.pid(name))
        listening = {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        assert listening, name
        assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, name
