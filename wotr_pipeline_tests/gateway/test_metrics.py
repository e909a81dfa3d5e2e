"""What Prometheus reads: the fixed names, true counts, and no label that a client chooses."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from wotr_pipeline.config import Settings
from wotr_pipeline.gateway.metrics import BUCKETS, Metrics
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.kafka_producer import EventProducer

from ..operations.dead_letters.scenario import Desk, carry
from ..produced import BAD, event
from ..topics import wait_until
from .conftest import NO_AUTHORITIES, Edge, running
from .test_ingest import JSON, NDJSON

FIXED = {
    "fastapi_requests_total", "fastapi_error_total", "fastapi_request_duration_seconds_bucket", "wotr_ingest_total",
    "wotr_validation_failures_total", "wotr_dlq_messages_total", "wotr_data_quality_score", "postgres_status",
    "clickhouse_status", "minio_status", "kafka_status",
}  # fmt: skip
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def edge(platform: Settings, servers: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A gateway that looks at the stores often."""
    with running(servers, tmp_path_factory.mktemp("gateway"), wotr_collect_seconds="0.5") as edge:
        yield edge


def scraped(edge: Edge) -> Samples:
    """Every sample, by name and labels."""
    text = httpx.get(f"{edge.url}/metrics", trust_env=False, verify=NO_AUTHORITIES).text
    families = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(edge: Edge, name: str, **labels: str) -> float | None:
    return scraped(edge).get((name, frozenset(labels.items())))


def test_the_names_that_other_systems_use_are_there(edge: Edge) -> None:
    edge.client().get("/nothing")

    def missing() -> set[str]:
        return FIXED - {name for name, _ in scraped(edge)}

    wait_until(lambda: not missing())


def test_the_first_error_is_the_growth_of_a_counter_that_was_there(edge: Edge) -> None:
    edge.client().get("/sign-in")
    for method, route in (("POST", "/ingest"), ("POST", "/ingest/batch"), ("GET", "/sign-in")):
        for status in ("500", "503"):
            labels = {"method": method, "route": route, "status": status}
            assert value(edge, "fastapi_error_total", **labels) == 0, labels


def test_events_and_refusals_are_counted_to_the_number(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    before = scraped(edge)
    lines = [event("counted-1"), event("counted-2"), event("counted-1"), *BAD]
    assert client.post("/ingest/batch", content=b"\n".join(lines), headers=NDJSON).status_code == 202
    assert client.post("/ingest", content=event("counted-2"), headers=JSON).status_code == 202
    after = scraped(edge)

    def grown(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert grown("wotr_ingest_total", route="batch", outcome="accepted") == 2
    assert grown("wotr_ingest_total", route="batch", outcome="repeated") == 1
    assert grown("wotr_ingest_total", route="batch", outcome="rejected") == len(BAD)
    assert grown("wotr_ingest_total", route="ingest", outcome="repeated") == 1
    assert grown("wotr_validation_failures_total", reason="malformed_json") == 2
    assert grown("wotr_validation_failures_total", reason="unknown_event_type") == 1
    assert grown("fastapi_requests_total", method="POST", route="/ingest/batch", status="202") == 1
    assert grown("fastapi_request_duration_seconds_count", method="POST", route="/ingest") == 1


def test_no_client_can_make_a_label(edge: Edge) -> None:
    client = edge.client(Scope.ADMIN)
    for name in ("one", "two"):
        client.get(f"/events/made-up-{name}")
        client.get(f"/made-up-{name}")
        client.request(f"MADEUP{name.upper()}", "/ingest")
        client.post("/ingest", content=event(f"made-up-{name}", source=f"made-up-{name}"), headers=JSON)
    text = httpx.get(f"{edge.url}/metrics", trust_env=False).text.lower()
    assert "made-up" not in text
    assert "madeup" not in text


def test_what_the_stores_hold_comes_after_some_seconds(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    assert client.post("/ingest", content=event("in-the-stores"), headers=JSON).status_code == 202
    topic = edge.settings.kafka_topic

    def lag() -> float:
        return sum(
            samples
            for (name, labels), samples in scraped(edge).items()
            if name == "wotr_kafka_lag_records" and ("topic", topic) in labels
        )

    wait_until(lambda: lag() > 0 and (value(edge, "wotr_oldest_unprocessed_seconds") or 0) > 0)
    with DeadLetterRegister(edge.settings) as register:
        with EventProducer(edge.settings) as producer:
            producer.send(BAD[2])
        carry(edge.settings)
        Desk(edge.settings, register).triage()
        wait_until(lambda: lag() == 0 and value(edge, "wotr_dlq_messages_total") == 1)
        wait_until(lambda: value(edge, "wotr_dead_letters", state="NEW", reason="unknown_event_type") == 1)
    wait_until(lambda: 0 < (value(edge, "wotr_data_quality_score") or 0) < 1)
    wait_until(lambda: (value(edge, "wotr_ledger_batches", state="LOADED") or 0) >= 1)
    assert value(edge, "kafka_status") == 1


@pytest.mark.parametrize(("seconds", "expected"), [(0.001, 0.005), (0.15, 0.2), (0.9, 1.0), (99.0, 10.0)])
def test_the_percentile_is_the_edge_of_the_bucket_that_holds_it(seconds: float, expected: float) -> None:
    metrics = Metrics()
    assert metrics.p95("/ingest") is None
    for _ in range(94):
        metrics.answered("POST", "/ingest", 202, 0.0001)
    for _ in range(6):
        metrics.answered("POST", "/ingest", 202, seconds)
    assert metrics.p95("/ingest") == expected
    assert expected in BUCKETS


def test_the_percentile_forgets_what_is_long_ago() -> None:
    metrics = Metrics()
    metrics.answered("POST", "/ingest", 202, 5)
    metrics.tick(0)
    metrics.tick(301)
    assert metrics.p95("/ingest") is None
    metrics.answered("POST", "/ingest", 202, 0.01)
    assert metrics.p95("/ingest") == 0.01
