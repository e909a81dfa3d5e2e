"""A running gateway, the real processes, in a place of its own, shared by the tests of one module.

Its server is forked from a process that has imported everything (``forked.py``); the server then forks its worker, as it
always does. ``servers/`` and the deployment start the gateway with ``python -m``.

- ``edge``: the gateway with its settings; ``edge.client()`` asks it with a key of the scopes that are named.
"""

import contextlib
import multiprocessing
import os
import signal
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.gateway import access, mode
from wotr_pipeline.gateway.__main__ import main
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.api_keys import ApiKeys, Scope

from ..conftest import new_space
from ..forked import Forked
from ..topics import wait_until

STARTED_SECONDS = 60.0
REFRESH_SECONDS = 1.0
"""Between two readings of keys and of maintenance mode; elsewhere it is five, and many tests wait for one."""
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: reading the machine's authorities takes each of them 20 ms, for nothing."""


@dataclass
class Edge:
    """A gateway and the place that it stands on."""

    settings: Settings
    log: Path
    process: Forked | None = None
    _clients: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.settings.wotr_gateway_url

    @cached_property
    def keys(self) -> ApiKeys:
        return ApiKeys(self.settings)

    def key(self, *scopes: Scope, events_per_minute: int | None = None) -> str:
        """The text of a new key."""
        return self.keys.create("a test", scopes, "pytest", events_per_minute=events_per_minute).text

    def client(self, *scopes: Scope, **headers: str) -> httpx.Client:
        """A client with a new key; without scopes, one without a key."""
        given = {"X-API-Key": self.key(*scopes)} if scopes else {}
        client = httpx.Client(
            base_url=self.url, headers=given | headers, timeout=60, trust_env=False, verify=NO_AUTHORITIES
        )
        self._clients.append(client)
        return client

    def start(self) -> None:
        self.process = Forked(_serve, self.settings, self.log)
        wait_until(self.answers, STARTED_SECONDS)

    def answers(self) -> bool:
        assert self.runs, self.log.read_text()
        try:
            answer = httpx.get(f"{self.url}/sign-in", timeout=2, trust_env=False, verify=NO_AUTHORITIES)
            return answer.status_code == 200
        except httpx.TransportError:
            return False

    @property
    def runs(self) -> bool:
        """Whether the server's process has not ended."""
        assert self.process is not None
        return self.process.process.exitcode is None

    @property
    def pid(self) -> int:
        """The server's; its worker is its child, and both are a process group."""
        assert self.process is not None
        assert self.process.process.pid is not None
        return self.process.process.pid

    def peak_mib(self) -> float:
        """The most memory that server and worker have had so far."""
        server = psutil.Process(self.pid)
        peaks = []
        for process in (server, *server.children(recursive=True)):
            text = Path(f"/proc/{process.pid}/status").read_text()
            peaks += [int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")]
        return max(peaks) / 1024

    def kill(self) -> None:
        """kill -9, server and worker."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with self.process as gone:
            gone.ended()

    def stop(self) -> None:
        assert self.process is not None
        self.process.process.terminate()
        try:
            self.process.process.join(30)
            assert not self.runs, "SIGTERM does not end it"
        finally:
            self.kill()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.keys.close()


def _serve(_: Settings, log: Path) -> None:
    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    access.REFRESH_SECONDS = mode.REFRESH_SECONDS = REFRESH_SECONDS
    multiprocessing.set_start_method("fork", force=True)  # the default of a process that was not forked
    main()


@contextlib.contextmanager
def running(
    servers: Platform, directory: Path, fill: Callable[[Edge], None] | None = None, **changed: str
) -> Iterator[Edge]:
    """A gateway on a fresh place; ``changed``: other settings, by field name.

    ``fill`` puts into the place what shall be there from the start: what the gateway has seen once, its pages show for
    some seconds.
    """
    port = free_port()
    address = {"wotr_gateway_port": str(port), "wotr_gateway_url": f"http://127.0.0.1:{port}"}
    with new_space(servers, **address, **changed) as settings:
        edge = Edge(settings, directory / "gateway.log")
        if fill:
            fill(edge)
        edge.start()
        try:
            yield edge
        finally:
            edge.stop()
            edge.close()


@contextlib.contextmanager
def beside(edge: Edge, directory: Path, **changed: Any) -> Iterator[Edge]:
    """Another gateway on the place of ``edge``, with other settings: for instance one that cannot find a store."""
    port = free_port()
    address = {"wotr_gateway_port": port, "wotr_gateway_url": f"http://127.0.0.1:{port}"}
    other = Edge(edge.settings.model_copy(update=address | changed), directory / "other.log")
    other.start()
    try:
        yield other
    finally:
        other.stop()
        other.close()


@pytest.fixture(scope="module")
def edge(platform: Settings, servers: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with running(servers, tmp_path_factory.mktemp("gateway")) as edge:
        yield edge
