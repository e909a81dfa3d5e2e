"""Alerts and dashboards ask only for what the gateway really exports."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from ..gateway.conftest import Edge, edge  # noqa: F401 - a fixture
from ..topics import wait_until
from .configured import expressions, metrics_of, unknown

_ENDINGS = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("", "_count", "_sum"),
}
COLLECTED_SECONDS = 60.0
"""The count of dead letters is exported once it has been read."""


def exported(text: str) -> set[str]:
    """The names that a scrape gives, also those that have no sample yet, such as the errors when there was none."""
    return {
        family.name.removesuffix(ending) + ending
        for family in text_string_to_metric_families(text)
        for ending in _ENDINGS.get(family.type, ("",))
    }


def test_every_metric_of_alerts_and_dashboards_is_exported(edge: Edge) -> None:  # noqa: F811
    def names() -> set[str]:
        return exported(httpx.get(f"{edge.url}/metrics", timeout=10, trust_env=False).text)

    wait_until(lambda: "wotr_dlq_messages_total" in names(), COLLECTED_SECONDS)
    assert list(unknown(names(), expressions())) == []


def test_alerts_and_dashboards_show_the_metrics_that_other_systems_know() -> None:
    asked = {name for one in expressions() for name in metrics_of(one.query)}
    assert asked >= {
        "fastapi_requests_total", "fastapi_error_total", "fastapi_request_duration_seconds_bucket",
        "wotr_ingest_total", "wotr_validation_failures_total", "wotr_dlq_messages_total", "wotr_data_quality_score",
        "postgres_status", "clickhouse_status", "minio_status", "kafka_status",
    }  # fmt: skip
