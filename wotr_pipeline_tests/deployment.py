"""The whole deployment: the session's servers with Dagster's code server, webserver and daemon on top.

Belongs here: starting it once, and asking Dagster and ClickHouse what it did.
Does not belong here: the servers themselves (``conftest.py``, which takes the fixture from here).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest

from wotr_pipeline.cli import migrate
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import CODE_SERVER, DAGSTER, GATEWAY, Platform
from wotr_pipeline.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Deployment:
    """What ``wotr up`` leaves running."""

    settings: Settings
    servers: Platform
    instance: dg.DagsterInstance
    warehouse: Warehouse

    @property
    def ui(self) -> str:
        """Address of the Dagster UI."""
        return f"http://127.0.0.1:{self.servers.directory.ports['dagster_webserver']}"

    def copies(self, ids: list[str]) -> list[int]:
        """How many rows each of the ids has, in their order."""
        found = self.warehouse.client.query(
            "SELECT id, count() FROM ingested_data WHERE id IN {ids:Array(String)} GROUP BY id",
            {"ids": ids},
        ).result_rows
        counts = dict(found)
        return [int(counts.get(name, 0)) for name in ids]


@pytest.fixture(scope="session")
def deployment(platform: Settings, servers: Platform) -> Iterator[Deployment]:
    migrate(platform)
    servers.up(GATEWAY)
    servers.up(CODE_SERVER)
    servers.up(DAGSTER)
    # Only while the instance is made: the tests after this one must not see these variables.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in servers.directory.environment().items():
            patch.setenv(name, value)
        instance = dg.DagsterInstance.get()
    with instance:
        yield Deployment(platform, servers, instance, Warehouse(platform))
