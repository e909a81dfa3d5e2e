"""supervisord (the library ``supervisor``) for one data directory: its configuration, its voice, its orphans.

Belongs here: everything that knows supervisord: configuration file, RPC, process states, log rotation,
and the processes that a killed supervisord left behind.
Does not belong here: which servers there are, in which order they come up (``lifecycle.py``).

Processes are recognised by a random mark of the data directory in their environment, never by a name:
``wotr down`` can end only what ``wotr up`` started.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

import psutil
from supervisor import xmlrpc as supervisor_xmlrpc

from wotr_pipeline.servers.data_directory import DataDirectory, write_private
from wotr_pipeline.servers.server import Server, ServerError

MARK = "WOTR_SUPERVISION_MARK"
LOG_BYTES, LOG_BACKUPS = 10 * 1024 * 1024, 3
ANSWER_WITHIN_SECONDS = 30.0
ORPHANS_STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
STOPPED_STATES = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")


class UnknownServerError(ServerError):
    """The supervisord that runs was started by a version that did not have this server."""


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says of one program."""

    state: str
    """supervisord's word: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN."""
    pid: int
    """0 where no process runs."""
    since: datetime | None
    """When the process started."""
    ever_started: bool
    """Whether this supervisord was ever asked to start it."""

    @property
    def alive(self) -> bool:
        return self.state in ("STARTING", "RUNNING")


class Supervisor:
    """supervisord of one data directory. Methods raise ServerError when it does not answer."""

    def __init__(self, directory: DataDirectory, servers: Sequence[Server]) -> None:
        self._directory = directory
        self._servers = servers
        self._socket = directory.run / "supervisor.sock"
        self._configuration = directory.path / "supervisord.conf"
        self._mark = directory.secrets["supervision_mark"]

    def running(self) -> bool:
        """Whether supervisord answers."""
        try:
            self._rpc().getPID()
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False
        return True

    def start(self) -> None:
        """Start supervisord as a daemon, without any server yet."""
        write_private(self._configuration, self._render())
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + ANSWER_WITHIN_SECONDS
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.running():
                return
            time.sleep(POLL_SECONDS)
        said = (done.stdout + done.stderr).strip() or self.log_tail("supervisord")
        raise ServerError(f"supervisord did not start within {ANSWER_WITHIN_SECONDS:.0f} s. It said:\n{said}")

    def shut_down(self) -> None:
        """Stop supervisord with whatever still runs under it, then whatever was left behind."""
        if self.running():
            with contextlib.suppress(OSError, HTTPException, xmlrpc.client.Error):
                process = psutil.Process(self._rpc().getPID())
                self._rpc().shutdown()
                process.wait(timeout=sum(server.stop_within for server in self._servers) + 10)
        self.end_orphans()
        self._socket.unlink(missing_ok=True)

    def start_server(self, server: Server) -> None:
        self._call("startProcess", server.name, False)

    def stop_servers(self, *servers: Server) -> None:
        """Stop servers at the same time and wait until they are gone; they stay stopped."""
        stopping = [server for server in servers if self.state(server).state not in STOPPED_STATES]
        for server in stopping:
            if self.state(server).state != "STOPPING":
                self._call("stopProcess", server.name, False)
        deadline = time.monotonic() + max((server.stop_within for server in stopping), default=0) + 10
        for server in stopping:
            while self.state(server).state not in STOPPED_STATES:
                if time.monotonic() > deadline:
                    raise ServerError(f"{server.name} could not be stopped, not even killed.")
                time.sleep(POLL_SECONDS)

    def learn(self) -> None:
        """Tell a supervisord that an earlier version started of the servers that it does not know."""
        write_private(self._configuration, self._render())
        ((added, _changed, _removed),) = self._call("reloadConfig")
        for name in added:
            self._call("addProcessGroup", name)

    def state(self, server: Server) -> ProcessState:
        try:
            told = self._call("getProcessInfo", server.name)
        except UnknownServerError:
            return ProcessState("STOPPED", 0, None, False)
        since = datetime.fromtimestamp(told["start"], UTC) if told["pid"] else None
        return ProcessState(told["statename"], told["pid"], since, bool(told["start"]))

    def log_tail(self, name: str, lines: int = 60) -> str:
        """The last lines of a server's log, indented."""
        log = self._directory.logs / f"{name}.log"
        try:
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            last = []
        return "\n".join(f"    {line}" for line in last) or "    (its log is empty)"

    def end_orphans(self) -> int:
        """End marked processes that no supervisord answers for, politely first; returns how many."""
        orphans = [process for process in psutil.process_iter() if self._is_ours(process)]
        if not orphans:
            return 0
        # A supervisord among them stops its servers itself, in order.
        family = {child for orphan in orphans for child in _descendants(orphan)} | set(orphans)
        stop_signals = {server.name: server.stop_signal for server in self._servers}
        for orphan in orphans:
            with contextlib.suppress(psutil.Error):
                name = orphan.environ().get("SUPERVISOR_PROCESS_NAME", "")
                orphan.send_signal(signal.Signals[f"SIG{stop_signals.get(name, 'TERM')}"])
        _, stubborn = psutil.wait_procs(list(family), timeout=ORPHANS_STOP_SECONDS)
        for process in stubborn:
            with contextlib.suppress(psutil.Error):
                process.kill()
        _, immortal = psutil.wait_procs(stubborn, timeout=10)
        if immortal:
            pids = ", ".join(str(process.pid) for process in immortal)
            raise ServerError(
                f"Processes {pids} of {self._directory.path} could not be ended, not even killed."
            )
        return len(orphans)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark
        except (psutil.Error, OSError):
            return False

    def _rpc(self) -> Any:
        transport = supervisor_xmlrpc.SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            return getattr(self._rpc(), method)(*arguments)
        except xmlrpc.client.Fault as fault:
            kind = UnknownServerError if fault.faultCode == supervisor_xmlrpc.Faults.BAD_NAME else ServerError
            raise kind(f"supervisord refused {method}{arguments}: {fault.faultString}") from None
        except (OSError, HTTPException) as error:
            raise ServerError(
                f"supervisord of {self._directory.path} does not answer ({type(error).__name__}). "
                "Run `wotr up` again: it ends what was left behind and starts anew."
            ) from None

    def _render(self) -> str:
        directory = self._directory
        supervisord: dict[str, object] = {
            "logfile": directory.logs / "supervisord.log",
            "logfile_maxbytes": LOG_BYTES,
            "logfile_backups": LOG_BACKUPS,
            "pidfile": directory.path / "supervisord.pid",
            "umask": "077",
            "minfds": 8192,
            "childlogdir": directory.logs,
            "environment": _environment({MARK: self._mark}),
        }
        if os.geteuid() == 0:
            supervisord["user"] = "root"  # said aloud, or it warns
        factory = "supervisor.rpcinterface:make_main_rpcinterface"
        sections = [
            _section("supervisord", supervisord),
            _section("unix_http_server", {"file": self._socket, "chmod": "0700"}),
            _section("rpcinterface:supervisor", {"supervisor.rpcinterface_factory": factory}),
        ]
        for priority, server in enumerate(self._servers):
            options: dict[str, object] = {
                "command": " ".join(shlex.quote(part) for part in server.command).replace("%", "%%"),
                "environment": _environment({MARK: self._mark, **server.environment}),
                "directory": str(server.directory or "/"),
                "priority": priority,
                "autostart": "false",  # `wotr up` starts them in order and watches them become ready
                "autorestart": "true",
                "startsecs": 1,
                "startretries": 10,
                "stopsignal": server.stop_signal,
                "stopwaitsecs": server.stop_within,
                "stopasgroup": str(server.stop_group).lower(),
                "killasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": directory.logs / f"{server.name}.log",
                "stdout_logfile_maxbytes": LOG_BYTES,
                "stdout_logfile_backups": LOG_BACKUPS,
            }
            if server.user:
                options["user"] = server.user
            sections.append(_section(f"program:{server.name}", options))
        return "\n".join(sections)


def _section(name: str, options: Mapping[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{option}={value}" for option, value in options.items()), ""])


def _environment(variables: dict[str, str]) -> str:
    pairs = (f'{name}="{value}"' for name, value in variables.items() if value)
    return ",".join(pairs).replace("%", "%%")


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []
