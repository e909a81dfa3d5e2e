"""``wotr up``, ``down`` and ``status`` for one data directory.

Belongs here: the list of servers in their order, waiting until each one is ready, and saying which
one is not and why.
Does not belong here: how supervision works (``supervision.py``), any server's own options, tables
(``wotr up`` lets the stores make theirs in between: see ``cli.py``).

A start that fails stops what the same call started and leaves what ran before alone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from wotr_pipeline.servers import data_directory
from wotr_pipeline.servers.clickhouse import clickhouse
from wotr_pipeline.servers.dagster import dagster
from wotr_pipeline.servers.data_directory import DataDirectory, port_is_free
from wotr_pipeline.servers.gateway import gateway
from wotr_pipeline.servers.kafka import kafka
from wotr_pipeline.servers.object_store import object_store
from wotr_pipeline.servers.postgres import postgres
from wotr_pipeline.servers.server import NotReadyError, Server, ServerError
from wotr_pipeline.servers.supervision import Supervisor

STORES = ("postgres", "objects", "kafka", "clickhouse")
CODE_SERVER = ("code-server",)
DAGSTER = ("webserver", "daemon")
"""They load the definitions from the code server when they start: it has to be ready before."""
GATEWAY = ("gateway",)
"""It takes events, so the stores and their tables have to be there before."""
STOP_ORDER = (
    ("gateway", "daemon", "webserver"),
    ("code-server",),
    ("clickhouse",),
    ("kafka", "objects", "postgres"),
)
"""Who uses another one goes before it; who does not wait for each other go together."""
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ServerStatus:
    """One line of ``wotr status``."""

    name: str
    state: str
    """ready, not answering, stopped, failed, or not started (nobody asked for it)."""
    detail: str
    """Why it is not ready; empty when it is."""
    pid: int | None
    address: str
    since: datetime | None


class Platform:
    """The servers of one data directory.

    Raises (all methods):
        ServerError: names the server, why it failed and the last lines of its log.
        DataDirectoryError: the directory itself cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.directory: DataDirectory = data_directory.open_data_directory(path)
        self._describe()

    def _describe(self) -> None:
        stores = (object_store, postgres, kafka, clickhouse)
        described = (
            *(describe(self.directory) for describe in stores),
            gateway(self.directory),
            *dagster(self.directory),
        )
        self._servers = {server.name: server for server in described}
        self._supervisor = Supervisor(self.directory, described)

    def up(self, names: Sequence[str] = STORES, report: Callable[[str], None] = lambda _: None) -> None:
        """Start the named servers that do not run, wait until all of them do their work."""
        with self.directory.locked():
            supervising = self._supervisor.running()
            if not supervising:
                self._supervisor.end_orphans()
                self.directory = self.directory.with_free_wanted_ports()
                self._describe()
            servers = [self._servers[name] for name in names]
            started: list[Server] = []
            try:
                if supervising:
                    self._supervisor.learn()
                else:
                    self._supervisor.start()
                self.directory.write_environment()
                for server in servers:
                    if not self._supervisor.state(server).alive:
                        self._supervisor.stop_servers(server)  # it may be between two vain attempts
                        self._check_ports(server)
                        server.prepare()
                        started.append(server)
                        self._supervisor.start_server(server)
                for server in servers:
                    self._wait_ready(server, server.ready_within)
                    server.complete()
                    report(f"{server.name} is ready at {server.address}")
            except BaseException:
                if supervising:
                    self._supervisor.stop_servers(*started)
                else:
                    self._shut_down()
                raise

    def down(self) -> None:
        """Stop everything, in reverse order; nothing to do where nothing runs."""
        with self.directory.locked():
            self._shut_down()

    def status(self) -> list[ServerStatus]:
        """Every server's state, each one asked whether it does its work."""
        supervising = self._supervisor.running()
        return [self._status(server, supervising) for server in self._servers.values()]

    def pid(self, name: str) -> int:
        """Process id of a running server."""
        state = self._supervisor.state(self._servers[name])
        if not state.pid:
            raise ServerError(f"{name} does not run ({state.state}).")
        return state.pid

    def kill(self, name: str) -> int:
        """``kill -9`` one server and return the process id it had; the supervisor starts it again."""
        process = psutil.Process(self.pid(name))
        process.kill()
        self._wait(
            lambda: not process.is_running() or self._supervisor.state(self._servers[name]).pid != process.pid
        )
        return process.pid

    def stop(self, name: str) -> None:
        """Stop one server; it stays stopped until ``start``."""
        self._supervisor.stop_servers(self._servers[name])

    def start(self, name: str) -> None:
        """Start one stopped server and wait until it is ready."""
        server = self._servers[name]
        if not self._supervisor.state(server).alive:
            self._supervisor.start_server(server)
        self._wait_ready(server, server.ready_within)

    def wait_ready(self, name: str, timeout: float = 120.0) -> None:
        """Wait until a server that was killed does its work again; restarts in between are expected."""
        self._wait_ready(self._servers[name], timeout, restarts_allowed=True)

    def log_tail(self, name: str) -> str:
        """The last lines of a server's log."""
        return self._supervisor.log_tail(name)

    def _shut_down(self) -> None:
        if self._supervisor.running():
            for together in STOP_ORDER:
                self._supervisor.stop_servers(*(self._servers[name] for name in together))
        self._supervisor.shut_down()

    def _wait(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise ServerError(f"What was waited for did not happen within {timeout:.0f} s.")
            time.sleep(POLL_SECONDS)

    def _wait_ready(self, server: Server, timeout: float, *, restarts_allowed: bool = False) -> None:
        deadline = time.monotonic() + timeout
        first_pid = 0
        while True:
            state = self._supervisor.state(server)
            first_pid = first_pid or state.pid
            ended = state.state in ("BACKOFF", "EXITED", "FATAL", "STOPPED") or state.pid != first_pid
            if ended and (not restarts_allowed or state.state == "FATAL"):
                raise ServerError(
                    f"{server.name} ended before it was ready. The last lines of "
                    f"{self.directory.logs}/{server.name}.log:\n{self.log_tail(server.name)}"
                )
            try:
                server.probe()
            except NotReadyError as not_ready:
                reason = str(not_ready)
            else:
                return
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{server.name} was not ready within {timeout:.0f} s ({reason}). The last lines of "
                    f"{self.directory.logs}/{server.name}.log:\n{self.log_tail(server.name)}"
                )
            time.sleep(POLL_SECONDS)

    def _check_ports(self, server: Server) -> None:
        taken = [port for port in server.ports if not port_is_free(port)]
        if taken:
            raise ServerError(
                f"{server.name} cannot start: its port {taken[0]} is taken{_holder(taken[0])}. "
                f"End that process, then try again. The last lines of {self.directory.logs}/{server.name}.log:\n"
                f"{self.log_tail(server.name)}"
            )

    def _status(self, server: Server, supervising: bool) -> ServerStatus:
        if not supervising:
            return ServerStatus(server.name, "stopped", "nothing is supervised", None, server.address, None)
        process = self._supervisor.state(server)
        state, detail = ("stopped" if process.ever_started else "not started"), ""
        if process.alive:
            try:
                server.probe()
                state = "ready"
            except NotReadyError as not_ready:
                state, detail = "not answering", str(not_ready)
        elif process.state in ("BACKOFF", "EXITED", "FATAL", "UNKNOWN"):
            state, detail = "failed", f"see {self.directory.logs}/{server.name}.log"
        return ServerStatus(server.name, state, detail, process.pid or None, server.address, process.since)


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        return ""  # not ours to see; the port's number has to do
    return ""
