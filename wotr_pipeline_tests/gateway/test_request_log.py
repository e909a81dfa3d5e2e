"""What the gateway's process writes to its log, held against all that it really writes, under the real server."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from wotr_pipeline.config import PROJECT_ROOT
from wotr_pipeline.servers.data_directory import free_port

from ..collector import collecting
from ..topics import wait_until

CONTENT = "somebody@example.org"
SECRETS = {
    "MINIO_SECRET_KEY": "minio-secret-0123456789",
    "POSTGRES_PASSWORD": 'postgres"secret\\0123456789',
    "CLICKHOUSE_PASSWORD": "clickhouse-secret-0123456789",
    "CLICKHOUSE_READER_PASSWORD": "reader-sécret-0123456789",
    "API_KEYS": "first-key-0123456789abcdef,second-key-0123456789abcdef",
    "WOTR_SESSION_SECRET": "session-secret-0123456789abcdef0123",
}


@dataclass
class Careless:
    """The process and all it wrote."""

    client: httpx.Client
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, request_id: str) -> list[dict[str, Any]]:
        """The lines of one request, once its access line is there."""

        def told() -> list[dict[str, Any]]:
            return [line for line in self.lines if line.get("request_id") == request_id]

        wait_until(lambda: any(line["event"] == "request" for line in told()))
        return told()


@contextlib.contextmanager
def running(output: Path, **environment: str) -> Iterator[Careless]:
    port = free_port()
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wotr_pipeline_tests.gateway.careless", str(port)],
            cwd=PROJECT_ROOT,
            env={**os.environ, "WOTR_DATA_DIR": "/nonexistent", **SECRETS, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        try:

            def answers() -> bool:
                assert process.poll() is None, output.read_text()
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/health/live").status_code == 200
                return False

            wait_until(answers)
            yield Careless(client, output)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def strings(value: object) -> Iterator[str]:
    """All text in a line, as it is behind JSON's quoting."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings([*value, *value.values()])
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Careless]:
    with running(tmp_path_factory.mktemp("careless") / "log") as careless:
        yield careless


def test_a_request_is_one_line_with_what_an_operator_looks_for(careless: Careless) -> None:
    before = datetime.now(UTC)
    answer = careless.client.get("/events/7", headers={"X-Request-Id": "client.made-1"})
    assert answer.headers["x-request-id"] == "client.made-1"
    [line] = careless.of("client.made-1")
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.fromisoformat(line.pop("timestamp")) - before) < timedelta(minutes=1)
    assert line.pop("duration_ms") >= 0
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "client.made-1",
        "method": "GET",
        "route": "/events/{event_id}",
        "status": 200,
        "key_id": "k-7",
        "logger": "wotr_pipeline.gateway.request_log",
    }


@pytest.mark.parametrize(
    "given", [None, "", "a" * 65, "with space", "two\tparts", '"quoted"', "naïve", "<b>"]
)
def test_an_id_that_is_not_decent_is_replaced_by_one_of_ours(careless: Careless, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode()}
    answer = careless.client.get("/events/7", headers=headers)
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    assert careless.of(answer.headers["x-request-id"])


def test_what_one_request_bound_is_not_said_of_the_next(careless: Careless) -> None:
    assert careless.client.get("/events/7").status_code == 200
    answer = careless.client.get("/nowhere")
    [line] = careless.of(answer.headers["x-request-id"])
    assert "key_id" not in line
    assert (line["route"], line["status"]) == (None, 404)


def test_probes_are_not_in_the_log(careless: Careless) -> None:
    careless.client.get("/health/live", headers={"X-Request-Id": "probe"})
    careless.client.get("/events/7", headers={"X-Request-Id": "after-the-probe"})
    assert careless.of("after-the-probe")
    assert not [line for line in careless.lines if line.get("request_id") == "probe"]


@pytest.mark.parametrize(
    ("path", "types"),
    [
        ("/fails", ["KeyError", "ValueError"]),
        ("/sql", ["sqlalchemy.exc.OperationalError", "sqlite3.OperationalError"]),
    ],
)
def test_an_error_nobody_caught_is_one_line_with_types_and_places_and_a_500_with_its_id(
    careless: Careless, path: str, types: list[str]
) -> None:
    answer = careless.client.post(path, content=CONTENT)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    request_id = answer.headers["x-request-id"]
    assert answer.json()["request_id"] == request_id
    assert answer.json()["status"] == 500
    failed, request = careless.of(request_id)
    assert (failed["level"], failed["event"], request["status"]) == ("error", "request failed", 500)
    assert [told["type"] for told in failed["exception"]] == types
    assert re.search(
        r"^wotr_pipeline_tests/gateway/careless\.py:\d+ \w+$",
        "\n".join(failed["exception"][0]["stack"]),
        re.M,
    )
    assert "message" not in failed["exception"][0]


def test_the_text_of_an_error_that_is_written_for_operators_is_told(careless: Careless) -> None:
    answer = careless.client.get("/away")
    failed, request = careless.of(answer.headers["x-request-id"])
    assert failed["exception"][0]["message"] == "Kafka at 127.0.0.1:9092 does not answer. wotr status."
    assert (failed["key_id"], request["key_id"]) == ("k-7", "k-7")


def test_half_an_answer_is_never_taken_for_a_whole_one(careless: Careless) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        careless.client.post("/half", content=CONTENT, headers={"X-Request-Id": "half"})
    failed, _ = careless.of("half")
    assert failed["exception"][0]["type"] == "ValueError"


def test_no_secret_and_no_content_is_ever_printed_and_every_line_is_json(careless: Careless) -> None:
    for path in ("/fails", "/sql", "/background", "/libraries", "/secrets"):
        careless.client.post(path, content=CONTENT)
    with contextlib.suppress(httpx.RemoteProtocolError):
        careless.client.post("/half", content=CONTENT)
    careless.client.get(f"/{CONTENT}?q={CONTENT}", headers={"User-Agent": CONTENT})
    careless.client.get("/events/7", headers={"X-Request-Id": "the-last"})
    careless.of("the-last")
    lines = careless.lines
    for line in lines:
        assert {"timestamp", "level", "event"} <= line.keys() or line[
            "event"
        ] == "a log line could not be written"
    assert CONTENT not in careless.text
    printed = "\n".join([careless.text, *(text for line in lines for text in strings(line))])
    for value in SECRETS.values():
        for secret in (value, *value.split(",")):
            assert secret not in printed
    events = [line["event"] for line in lines]
    assert "Task exception was never retrieved" in events, "the background task's error is told"
    assert "nobody caught an error" in events, "the thread's error is told"
    assert "broker 127.0.0.1:9092 is down" in events, "a library's warning is told"
    assert "a log line could not be written" in events
    assert any(line.get("logger") == "_granian" for line in lines), "the server's own lines are told"
    assert any("[secret]" in str(line) for line in lines)


def test_a_line_names_its_trace_where_there_is_one(tmp_path: Path) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with collecting() as collector:
        with running(tmp_path / "log", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as careless:
            given = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-Id": "traced"}
            careless.client.get("/events/7", headers=given)
            [line] = careless.of("traced")
            assert line["trace_id"] == trace
        # The process has ended, and sent its last spans before that.
        [span] = [span for span in collector.spans if span.trace_id == trace]
        assert span.attributes["wotr.request_id"] == "traced"
