"""The real gateway in the log and in traces: it is wired as the parts' own tests assume."""

import json
from pathlib import Path

import httpx

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.kafka_records import RecordReader
from wotr_pipeline.stores.trace_headers import trace_headers

from ..collector import collecting
from ..produced import event
from .conftest import Edge, running

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CONTENT = "somebody@example.org"


def headers_in_kafka(edge: Edge) -> list[bytes | None]:
    """The header of each record there is."""
    topic = edge.settings.kafka_topic
    with KafkaOffsets(edge.settings) as offsets, RecordReader(edge.settings) as reader:
        filled = {
            partition: marks.high for partition, marks in offsets.watermarks(topic).items() if marks.high
        }
        return [
            value
            for partition, high in filled.items()
            for value in trace_headers(reader.read(partition, 0, high - 1, 1_000_000).table)
        ]


def test_a_refusal_is_one_line_of_the_log_and_an_event_is_one_span_and_one_record_that_names_it(
    platform: Settings, servers: Platform, tmp_path: Path
) -> None:
    with collecting() as collector:
        with running(servers, tmp_path, otel_exporter_otlp_endpoint=collector.url) as edge:
            client = edge.client(Scope.INGEST)
            given = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "Content-Type": "application/json"}
            answer = client.post("/ingest", content=event("e1", data={"who": CONTENT}), headers=given)
            assert answer.status_code == 202, answer.text
            refused = client.post("/ingest", content=b"{" + CONTENT.encode(), headers=given)
            assert refused.json()["request_id"] == refused.headers["x-request-id"]
            unknown = httpx.get(f"{edge.url}/{CONTENT}", trust_env=False)
            headers = headers_in_kafka(edge)
            text = edge.log.read_text()
        lines = {line.get("request_id"): line for line in map(json.loads, text.splitlines())}
        assert answer.headers["x-request-id"] not in lines, "accepted events are counted, not told one by one"
        line = lines[refused.headers["x-request-id"]]
        assert (line["event"], line["route"], line["status"]) == ("request", "/ingest", 422)
        assert line["trace_id"] == TRACE
        assert line["key_id"]
        assert lines[unknown.headers["x-request-id"]]["route"] is None
        assert CONTENT not in text
        span, of_refused = [span for span in collector.spans if span.trace_id == TRACE]
        assert (span.name, span.trace_id) == ("POST /ingest", TRACE)
        assert of_refused.attributes["http.response.status_code"] == 422
        assert headers == [f"00-{TRACE}-{span.span_id}-01".encode()]
        assert CONTENT.encode() not in b"".join(collector.bodies)
