"""The whole deployment: the session's servers with Dagster's code server, webserver and daemon on top.

Belongs here: starting it once, sending it events once, and asking Dagster and ClickHouse what it did.
Does not belong here: the servers themselves (``conftest.py``, which takes the fixtures from here).
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import psutil
import pytest

from wotr_pipeline.cli import migrate
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import TRIAGE_JOB, build_definitions
from wotr_pipeline.servers.lifecycle import CODE_SERVER, DAGSTER, GATEWAY, Platform
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.operations.dead_letters.scenario import epoch_event
from wotr_pipeline_tests.produced import BAD, event
from wotr_pipeline_tests.topics import wait_until

SECONDS = 180.0


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

    def send(self, number: int, *more: bytes) -> list[str]:
        """That many good events, each twice, and ``more``; returns the ids of the good ones."""
        ids = [f"{secrets.token_hex(4)}-{n}" for n in range(number)]
        with EventProducer(self.settings) as producer:
            for value in (*(event(name) for name in ids + ids), *more):
                producer.send(value)
        return ids

    def wait_for_run(self, began: datetime) -> dg.DagsterRun:
        """The first run of the job of hours that was asked for since then, once it has succeeded.

        It follows its hour, so it ends and reports some seconds after the rows are there.
        """
        succeeded = dg.RunsFilter(
            job_name="ingest_hour", statuses=[dg.DagsterRunStatus.SUCCESS], created_after=began
        )
        wait_until(lambda: bool(self.instance.get_runs(succeeded)), SECONDS)
        return self.instance.get_runs(succeeded)[-1]

    def processes_of_runs(self) -> list[psutil.Process]:
        """Those at work now: the code server starts each run as a process of its own."""
        children = psutil.Process(self.servers.pid("code-server")).children()
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]


@dataclass(frozen=True)
class Delivered:
    """What was sent to the deployment, came out of it, and was triaged."""

    ids: list[str]
    """Good events, each sent twice."""
    repairable: str
    """The id of an event whose timestamp is a number, and the name of its source."""
    began: datetime


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


@pytest.fixture(scope="session")
def delivered(deployment: Deployment) -> Delivered:
    began = datetime.now(UTC)
    repairable = f"repairable-{secrets.token_hex(4)}"
    ids = deployment.send(50, *BAD, epoch_event(repairable, source=repairable))
    wait_until(lambda: all(deployment.copies(ids)), SECONDS)
    # The sensor for dead letters asks for the same once a minute (operations/dead_letters/test_in_dagster.py).
    triage = build_definitions(deployment.settings).resolve_job_def(TRIAGE_JOB)
    assert triage.execute_in_process(instance=deployment.instance).success
    return Delivered(ids, repairable, began)
