"""What supervisord does for any program it is given, whatever the program is."""

import sys
from pathlib import Path

from wotr_pipeline.servers.data_directory import open_data_directory
from wotr_pipeline.servers.server import Server
from wotr_pipeline.servers.supervision import LOG_BACKUPS, LOG_BYTES, Supervisor

from ..topics import wait_until

WRITTEN = 6 * LOG_BYTES
CHATTY = f"""
import sys, time
line = b"x" * 65_535 + b"\\n"
for _ in range({WRITTEN} // len(line)):
    sys.stdout.buffer.write(line)
sys.stderr.write("the last words\\n")
sys.stdout.flush()
time.sleep(600)
"""


def test_a_programs_log_is_rotated_and_takes_no_more_than_its_share_of_the_disk(tmp_path: Path) -> None:
    program = tmp_path / "chatty.py"
    program.write_text(CHATTY)
    directory = open_data_directory(tmp_path / "data")
    chatty = Server(
        name="chatty",
        address="(no port)",
        command=(sys.executable, str(program)),
        probe=lambda: None,
        ports=(),
    )
    supervisor = Supervisor(directory, [chatty])
    supervisor.start()
    try:
        supervisor.start_server(chatty)
        wait_until(lambda: "the last words" in supervisor.log_tail("chatty", lines=2))
        kept = sorted(directory.logs.glob("chatty.log*"))
        assert [path.name for path in kept] == [
            "chatty.log",
            *(f"chatty.log.{n + 1}" for n in range(LOG_BACKUPS)),
        ]
        # supervisord looks after each piece that it reads, of 128 KiB at most.
        assert max(path.stat().st_size for path in kept) <= LOG_BYTES + 128 * 1024
    finally:
        supervisor.shut_down()


def test_a_supervisord_of_an_earlier_version_learns_of_a_server_that_is_new(tmp_path: Path) -> None:
    directory = open_data_directory(tmp_path / "data")
    known, new = (
        Server(
            name=name,
            address="(no port)",
            command=(sys.executable, "-c", "import time; time.sleep(600)"),
            probe=lambda: None,
            ports=(),
            stop_signal="KILL",
        )
        for name in ("known", "new")
    )
    Supervisor(directory, [known]).start()
    supervisor = Supervisor(directory, [known, new])
    try:
        supervisor.start_server(known)
        wait_until(lambda: supervisor.state(known).alive)
        pid = supervisor.state(known).pid
        assert not supervisor.state(new).alive
        supervisor.stop_servers(new, known, new)
        supervisor.start_server(known)
        wait_until(lambda: supervisor.state(known).pid not in (0, pid))
        supervisor.learn()
        supervisor.start_server(new)
        wait_until(lambda: supervisor.state(new).alive and supervisor.state(known).alive)
    finally:
        supervisor.shut_down()
