"""From a client's request to the rows in ClickHouse as a collector is sent it, through real servers."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import httpx
import pytest

from wotr_pipeline import telemetry
from wotr_pipeline.assets.partitions import hour_key
from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.config import Settings
from wotr_pipeline.definitions import INGEST_JOB, build_definitions
from wotr_pipeline.gateway.headers import Application, Receive, Scope, Send
from wotr_pipeline.gateway.tracing import traced
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.collector import Collector, Span, collecting, silent
from wotr_pipeline_tests.produced import BAD, event

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
CLIENT_TRACE, CLIENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTENT = "somebody@example.org"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector
    telemetry.stop_tracing()


@pytest.fixture
def ledger(space: Settings) -> Iterator[Ledger]:
    with Ledger(space) as ledger:
        yield ledger


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def publishing(producer: EventProducer, values: list[bytes]) -> Application:
    """What the gateway's publisher does: the header of the request's trace on each of its records."""

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        header = telemetry.traceparent()
        for value in values:
            stamp = int(HOUR.timestamp() * 1000) + 1
            producer.send(value, partition=0, timestamp_ms=stamp, headers=[header] if header else None)
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return answer


def send_through_http(settings: Settings, values: list[bytes], **headers: str) -> None:
    async def asking() -> None:
        with EventProducer(settings) as producer:
            transport = httpx.ASGITransport(app=traced(publishing(producer, values), settings))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                assert (await client.post("/ingest/batch", headers=headers)).status_code == 202

    asyncio.run(asking())


def plan(settings: Settings, ledger: Ledger) -> None:
    with KafkaOffsets(settings) as offsets:
        plan_batches(offsets, ledger, settings, datetime.now(UTC))


def execute(
    settings: Settings, instance: dg.DagsterInstance, reprocess: bool = False
) -> dg.ExecuteInProcessResult:
    return (
        build_definitions(settings)
        .resolve_job_def(INGEST_JOB)
        .execute_in_process(
            partition_key=hour_key(HOUR),
            run_config={"ops": {"ingest": {"config": {"reprocess": reprocess}}}},
            instance=instance,
            raise_on_error=False,
        )
    )


def only(spans: list[Span]) -> Span:
    [span] = spans
    return span


def test_a_request_is_found_again_in_the_batch_that_loaded_its_events_and_in_its_run(
    space: Settings, ledger: Ledger, instance: dg.DagsterInstance, collector: Collector
) -> None:
    settings = space.model_copy(update={"otel_exporter_otlp_endpoint": collector.url})
    values = [event(f"e{n}", HOUR, data={"who": CONTENT}) for n in range(20)]
    send_through_http(settings, [*values, *BAD], traceparent=f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01")
    send_through_http(settings, [event("another", HOUR)])
    with topics.sending(settings) as send:  # a producer that knows nothing of traces
        send(event("untraced", HOUR), partition=0, timestamp_ms=int(HOUR.timestamp() * 1000) + 1)
    plan(settings, ledger)
    result = execute(settings, instance)
    assert result.success
    telemetry.stop_tracing()

    first, second = [span for span in collector.spans if span.kind == "SERVER"]
    assert (first.service, first.trace_id, first.parent_id) == ("wotr-gateway", CLIENT_TRACE, CLIENT_SPAN)
    assert (second.parent_id, second.trace_id != CLIENT_TRACE) == ("", True)

    run, batch = only(collector.named("run")), only(collector.named("batch"))
    assert (run.service, run.parent_id) == ("wotr-pipeline", "")
    assert run.attributes == {
        "wotr.run_id": result.run_id,
        "wotr.job": INGEST_JOB,
        "wotr.hour": hour_key(HOUR),
    }
    assert (batch.trace_id, batch.parent_id, batch.failed) == (run.trace_id, run.span_id, False)
    assert batch.links == ((first.trace_id, first.span_id), (second.trace_id, second.span_id))
    told = {name.removeprefix("wotr."): value for name, value in batch.attributes.items()}
    assert told["batch_id"] == f"{settings.kafka_topic}:0:0-25"
    assert (told["state"], told["records"], told["valid"], told["rejected"]) == ("LOADED", 26, 22, 4)
    assert collector.children(batch) == ["land", "judge", "validate", "load"]
    assert CONTENT.encode() not in b"".join(collector.bodies)

    assert execute(settings, instance, reprocess=True).success
    telemetry.stop_tracing()
    _, again = collector.named("batch")
    assert again.attributes["wotr.generation"] == 2
    assert again.links == (), "it landed in the earlier run, whose batch has the links"
    assert collector.children(again) == ["judge", "validate", "load"]


def test_batches_at_work_at_the_same_time_keep_their_spans_apart_and_a_failed_one_says_so(
    space: Settings, ledger: Ledger, instance: dg.DagsterInstance, collector: Collector
) -> None:
    settings = space.model_copy(update={"otel_exporter_otlp_endpoint": collector.url, "wotr_batch_events": 5})
    for number in range(3):
        send_through_http(settings, [event(f"e{number}-{n}", HOUR, data={"who": CONTENT}) for n in range(5)])
    plan(settings, ledger)
    # The second batch's object is landed and then lost: judging it fails for good.
    gone, *_ = [batch for batch in ledger.batches(HOUR) if batch.first_offset == 5]
    with ledger.writer("another") as writer:
        claimed = writer.claim(gone)
        assert claimed is not None
        writer.landed(claimed, records=5, raw_key="raw/gone.parquet", raw_sha256="0" * 64, raw_bytes=1)
    assert not execute(settings, instance).success
    telemetry.stop_tracing()

    requests = [span for span in collector.spans if span.kind == "SERVER"]
    batches = {span.attributes["wotr.first_offset"]: span for span in collector.named("batch")}
    assert {span.parent_id for span in batches.values()} == {only(collector.named("run")).span_id}
    for first, request in ((0, requests[0]), (10, requests[2])):
        assert batches[first].links == ((request.trace_id, request.span_id),)
        assert collector.children(batches[first]) == ["land", "judge", "validate", "load"]
        assert not batches[first].failed
    failed = batches[5]
    assert failed.failed
    assert failed.attributes["error.type"] == "wotr_pipeline.stores.errors.PermanentError"
    assert collector.children(failed) == ["land", "judge"]
    assert CONTENT.encode() not in b"".join(collector.bodies)
    states = {batch.first_offset: batch.state for batch in ledger.batches(HOUR)}
    assert states == {0: BatchState.LOADED, 5: BatchState.QUARANTINED, 10: BatchState.LOADED}


def test_a_run_whose_collector_hangs_loads_every_event(
    space: Settings, ledger: Ledger, instance: dg.DagsterInstance
) -> None:
    with silent() as collector:
        settings = space.model_copy(update={"otel_exporter_otlp_endpoint": collector.url})
        send_through_http(settings, [event(f"e{n}", HOUR) for n in range(20)])
        plan(settings, ledger)
        assert execute(settings, instance).success
        assert collector.asked.is_set(), "the collector was asked, and has said nothing so far"
        telemetry.stop_tracing()
    counted = Warehouse(settings).client.query("SELECT count() FROM ingested_data").result_rows
    assert [tuple(row) for row in counted] == [(20,)]
    assert len(list(ObjectStore(settings).list("raw/"))) == 1
