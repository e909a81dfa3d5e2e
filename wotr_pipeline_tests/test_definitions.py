"""The graph, as one readable text: a change of assets, checks or automation shows up in review.

To accept a change: ``python -m wotr_pipeline_tests.test_definitions > wotr_pipeline_tests/definitions.txt``.
"""

import warnings
from pathlib import Path

import dagster as dg

from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import build_definitions

SNAPSHOT = Path(__file__).with_name("definitions.txt")


def described() -> str:
    """Assets with their dependencies and checks, then jobs, sensors and schedules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        definitions = build_definitions(Settings())
        repository = definitions.get_repository_def()
    graph = repository.asset_graph
    lines = []
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        origin = "Kafka" if key.to_user_string() == "raw_objects" else "the stores"
        parents = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys)) or origin
        partitions = type(node.partitions_def).__name__.removesuffix("PartitionsDefinition").lower()
        lines.append(f"asset {key.to_user_string()} ({partitions}) <- {parents}")
        for check in sorted(node.check_keys, key=lambda check: check.name):
            spec = graph.get_check_spec(check)
            lines.append(f"  check {check.name}{' (blocking)' if spec.blocking else ''}")
    lines += [f"job {job.name}" for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)]
    lines += [
        f"sensor {sensor.name} ({sensor.default_status.value}, every {sensor.minimum_interval_seconds} s)"
        for sensor in repository.sensor_defs
    ]
    lines += [
        f"schedule {schedule.name} ({schedule.default_status.value}, {schedule.cron_schedule})"
        for schedule in repository.schedule_defs
    ]
    return "\n".join(lines) + "\n"


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    assert described() == SNAPSHOT.read_text()


def test_every_asset_says_what_it_is_and_whose_it_is() -> None:
    for key in (graph := build_definitions(Settings()).get_repository_def().asset_graph).get_all_asset_keys():
        node = graph.get(key)
        assert len(node.description or "") > 40, key
        assert node.owners, key
        assert node.kinds, key


if __name__ == "__main__":
    print(described(), end="")
