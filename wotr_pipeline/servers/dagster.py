"""Dagster's three programs: code server, daemon and webserver.

Belongs here: DAGSTER_HOME's files, the command lines, the probes.
Does not belong here: definitions, assets, jobs.

The webserver has no authentication: it listens on the loopback interface only.
"""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from wotr_pipeline.config import PROJECT_ROOT
from wotr_pipeline.servers.data_directory import DataDirectory
from wotr_pipeline.servers.server import NotReadyError, Server, ServerError

LOCATION = "wotr_pipeline"
DEFINITIONS = "wotr_pipeline.definitions"
PROBE_SECONDS = 4.0
DAEMONS_QUERY = """\
{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }
"""
LOCATION_QUERY = """\
{ workspaceOrError { __typename ... on Workspace { locationEntries { loadStatus
  locationOrLoadError { __typename ... on PythonError { message } } } } } }
"""
WORKSPACE = """\
load_from:
  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: {location}}}
"""


def dagster(directory: DataDirectory) -> tuple[Server, ...]:
    """Describe the code server, the webserver and the daemon of this data directory."""
    home = directory.path / "dagster"
    code_port, web_port = directory.ports["dagster_code"], directory.ports["dagster_webserver"]
    address = f"http://127.0.0.1:{web_port}"
    workspace = str(home / "workspace.yaml")
    describe = partial(
        Server,
        prepare=lambda: _prepare(home, code_port),
        environment=directory.environment(),
        directory=PROJECT_ROOT,
        stop_group=True,
        ready_within=180.0,
        stop_within=60,
    )
    module = (sys.executable, "-m")
    listen = ("-h", "127.0.0.1", "-p")
    return (
        describe(
            name="code-server",
            address=f"127.0.0.1:{code_port}",
            command=(*module, "dagster", "api", "grpc", "-m", DEFINITIONS, *listen, str(code_port)),
            probe=lambda: _probe_code_server(code_port),
            ports=(code_port,),
        ),
        describe(
            name="webserver",
            address=address,
            command=(*module, "dagster_webserver", "-w", workspace, *listen, str(web_port)),
            probe=lambda: _probe_webserver(address),
            ports=(web_port,),
        ),
        describe(
            name="daemon",
            address="(no port)",
            command=(*module, "dagster._daemon", "run", "-w", workspace),
            # Its heartbeats are in Dagster's database; the webserver reads them.
            probe=lambda: _probe_daemon(address),
            ports=(),
        ),
    )


def _prepare(home: Path, code_port: int) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    source = PROJECT_ROOT / "dagster.yaml"
    try:
        shutil.copyfile(source, home / "dagster.yaml")
    except FileNotFoundError:
        raise ServerError(f"dagster: {source} is missing: run wotr from a checkout of the project.") from None
    (home / "workspace.yaml").write_text(
        WORKSPACE.format(port=code_port, location=LOCATION), encoding="utf-8"
    )


def _probe_code_server(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            asked = health_pb2.HealthCheckRequest(service="DagsterApi")
            answer = stub.Check(asked, timeout=PROBE_SECONDS)  # type: ignore[attr-defined]  # set at run time
        except grpc.RpcError as error:
            raise NotReadyError(str(error.code())) from None
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise NotReadyError("it does not serve yet")


def _ask(address: str, query: str) -> Any:
    session = requests.Session()
    session.trust_env = False
    try:
        answer = session.post(f"{address}/graphql", json={"query": query}, timeout=PROBE_SECONDS)
        answer.raise_for_status()
        return answer.json()["data"]
    except (requests.RequestException, ValueError, KeyError) as error:
        raise NotReadyError(type(error).__name__) from None


def _probe_webserver(address: str) -> None:
    found = _ask(address, LOCATION_QUERY)["workspaceOrError"]
    for entry in found.get("locationEntries", []):
        if (
            entry["loadStatus"] == "LOADED"
            and entry["locationOrLoadError"]["__typename"] == "RepositoryLocation"
        ):
            return
    raise NotReadyError("it has not loaded the definitions yet")


def _probe_daemon(address: str) -> None:
    statuses = _ask(address, DAEMONS_QUERY)["instance"]["daemonHealth"]["allDaemonStatuses"]
    late = [status["daemonType"] for status in statuses if status["required"] and not status["healthy"]]
    if late or not statuses:
        raise NotReadyError(f"no heartbeat from {', '.join(late) or 'any daemon'}")
