"""The deployment as its users meet it: events go in by Kafka and come out in ClickHouse, whatever is killed."""

import pytest

from wotr_pipeline_tests.deployment import SECONDS, Delivered, Deployment
from wotr_pipeline_tests.topics import wait_until

pytestmark = pytest.mark.chaos


def assert_all_arrive_once(deployment: Deployment, ids: list[str]) -> None:
    wait_until(lambda: all(deployment.copies(ids)), SECONDS)
    assert deployment.copies(ids) == [1] * len(ids)


def test_events_on_the_topic_become_rows_by_the_sensor_and_its_run(
    deployment: Deployment, delivered: Delivered
) -> None:
    assert deployment.copies(delivered.ids) == [1] * len(delivered.ids)
    assert deployment.wait_for_run(delivered.began).tags["dagster/sensor_name"] == "kafka_offsets"


def test_a_run_that_is_killed_is_followed_by_one_that_finishes_its_work(deployment: Deployment) -> None:
    ids = deployment.send(2000)
    killed: list[int] = []

    def killed_a_run() -> bool:
        for process in deployment.processes_of_runs():
            process.kill()
            killed.append(process.pid)
        return bool(killed)

    wait_until(killed_a_run, SECONDS)
    assert_all_arrive_once(deployment, ids)


def test_a_code_server_that_is_killed_delays_events_and_loses_none(deployment: Deployment) -> None:
    deployment.servers.kill("code-server")
    ids = deployment.send(50)
    deployment.servers.wait_ready("code-server")
    assert_all_arrive_once(deployment, ids)
