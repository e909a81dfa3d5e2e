"""The deployment as its users meet it: events go in by Kafka and come out in ClickHouse, whatever is killed."""

import secrets

import dagster as dg
import psutil
import pytest

from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline_tests.deployment import Deployment
from wotr_pipeline_tests.produced import event
from wotr_pipeline_tests.topics import wait_until

pytestmark = pytest.mark.chaos

SECONDS = 120.0


def send(deployment: Deployment, number: int) -> list[str]:
    """That many good events, each twice; returns their ids."""
    ids = [f"{secrets.token_hex(4)}-{n}" for n in range(number)]
    with EventProducer(deployment.settings) as producer:
        for name in ids + ids:
            producer.send(event(name))
    return ids


def assert_all_arrive_once(deployment: Deployment, ids: list[str]) -> None:
    wait_until(lambda: all(deployment.copies(ids)), SECONDS)
    assert deployment.copies(ids) == [1] * len(ids)


def test_events_on_the_topic_become_rows_by_the_sensor_and_its_run(deployment: Deployment) -> None:
    assert_all_arrive_once(deployment, send(deployment, 50))

    def succeeded() -> bool:
        runs = deployment.instance.get_runs(dg.RunsFilter(job_name="ingest_hour"), limit=1)
        return [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]

    wait_until(succeeded, SECONDS)


def test_a_run_that_is_killed_is_followed_by_one_that_finishes_its_work(deployment: Deployment) -> None:
    ids = send(deployment, 2000)
    killed: list[int] = []

    def killed_a_run() -> bool:
        # The code server starts each run as a process of its own.
        for process in psutil.Process(deployment.servers.pid("code-server")).children():
            if any("spawn_main" in word for word in process.cmdline()):
                process.kill()
                killed.append(process.pid)
        return bool(killed)

    wait_until(killed_a_run, SECONDS)
    assert_all_arrive_once(deployment, ids)


def test_a_code_server_that_is_killed_delays_events_and_loses_none(deployment: Deployment) -> None:
    deployment.servers.kill("code-server")
    ids = send(deployment, 50)
    deployment.servers.wait_ready("code-server")
    assert_all_arrive_once(deployment, ids)
