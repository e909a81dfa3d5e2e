"""The gateway's process under the supervisor.

Belongs here: its command line and its probe. Does not belong here: what it serves (``gateway/``).
"""

import sys

import requests

from wotr_pipeline.config import PROJECT_ROOT
from wotr_pipeline.servers.data_directory import DataDirectory
from wotr_pipeline.servers.server import NotReadyError, Server

PROBE_SECONDS = 4.0


def gateway(directory: DataDirectory) -> Server:
    """Describe the gateway of this data directory."""
    port = directory.ports["gateway"]
    address = f"http://127.0.0.1:{port}"
    return Server(
        name="gateway",
        address=address,
        command=(sys.executable, "-m", "wotr_pipeline.gateway"),
        probe=lambda: _probe(address),
        ports=(port,),
        environment=directory.environment(),
        directory=PROJECT_ROOT,
        stop_group=True,
        stop_within=30,
    )


def _probe(address: str) -> None:
    session = requests.Session()
    session.trust_env = False
    try:
        answer = session.get(f"{address}/health/ready", timeout=PROBE_SECONDS)
    except requests.RequestException as error:
        raise NotReadyError(type(error).__name__) from None
    if answer.status_code != 200:
        raise NotReadyError(f"it takes no events: /health/ready answers {answer.status_code}")
