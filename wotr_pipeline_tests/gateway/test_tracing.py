"""A request's span: whose trace it goes on, what it says, and what it keeps to itself."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from fastapi.staticfiles import StaticFiles

from wotr_pipeline import telemetry
from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.gateway.headers import Application
from wotr_pipeline.gateway.request_log import RequestLog
from wotr_pipeline.gateway.tracing import traced
from wotr_pipeline_tests.collector import Collector, Span, collecting

CONTENT = "somebody@example.org"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector
    telemetry.stop_tracing()


@pytest.fixture
def app(collector: Collector) -> Application:
    app = FastAPI()
    app.add_middleware(RequestLog)
    router = APIRouter(prefix="/events")

    @router.get("/{event_id}")
    async def event(event_id: str) -> dict[str, str]:
        header = telemetry.traceparent()
        return {"header": header[1].decode() if header else ""}

    @app.post("/fails")
    async def fails(text: str) -> None:
        raise ValueError(text)

    @app.get("/away")
    async def away() -> Response:
        return Response(status_code=503)

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {}

    app.include_router(router, prefix="/v1")
    app.mount("/docs", StaticFiles(directory=PROJECT_ROOT / "docs"))
    return traced(app, Settings(otel_exporter_otlp_endpoint=collector.url))


def ask(app: Application, method: str, path: str, **headers: str) -> httpx.Response:
    async def asking() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asking())


def spans(collector: Collector) -> list[Span]:
    telemetry.stop_tracing()
    return collector.spans


def test_a_request_goes_on_with_the_clients_trace_and_hands_it_to_what_it_publishes(
    app: Application, collector: Collector
) -> None:
    answer = ask(app, "GET", f"/v1/events/{CONTENT}?q={CONTENT}", traceparent=f"00-{TRACE}-{PARENT}-01")
    [span] = spans(collector)
    assert (span.service, span.name, span.kind) == ("wotr-gateway", "GET /v1/events/{event_id}", "SERVER")
    assert (span.trace_id, span.parent_id) == (TRACE, PARENT)
    assert answer.json() == {"header": f"00-{TRACE}-{span.span_id}-01"}
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/events/{event_id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "wotr.request_id": answer.headers["x-request-id"],
    }
    assert CONTENT.encode() not in b"".join(collector.bodies)


def test_a_client_that_keeps_no_trace_decides_that_none_is_kept(
    app: Application, collector: Collector
) -> None:
    answer = ask(app, "GET", "/v1/events/7", traceparent=f"00-{TRACE}-{PARENT}-00")
    assert answer.json() == {"header": ""}
    assert spans(collector) == []


@pytest.mark.parametrize(
    "header", ["", "00", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "\x7f" * 99]
)
def test_a_header_that_is_none_begins_a_trace_of_its_own(
    app: Application, collector: Collector, header: str
) -> None:
    assert ask(app, "GET", "/v1/events/7", traceparent=header).status_code == 200
    [span] = spans(collector)
    assert span.parent_id == ""
    assert span.trace_id != TRACE


def test_a_request_that_failed_says_with_what_and_not_with_which_text(
    app: Application, collector: Collector
) -> None:
    assert ask(app, "POST", f"/fails?text={CONTENT}").status_code == 500
    [span] = spans(collector)
    assert span.failed
    assert span.attributes["error.type"] == "builtins.ValueError"
    assert span.attributes["http.response.status_code"] == 500
    assert CONTENT.encode() not in b"".join(collector.bodies)


@pytest.mark.parametrize(
    ("method", "path", "name", "status", "failed"),
    [
        ("GET", f"/{CONTENT}", "GET", 404, False),
        ("PUT", "/away", "PUT /away", 405, False),
        ("GET", "/away", "GET /away", 503, True),
        ("GET", "/docs/observability.md", "GET /docs", 200, False),
        (CONTENT, "/away", "HTTP /away", 405, False),
    ],
)
def test_a_span_has_the_name_of_a_route_and_never_of_what_the_client_wrote(
    app: Application, collector: Collector, method: str, path: str, name: str, status: int, failed: bool
) -> None:
    assert ask(app, method, path).status_code == status
    [span] = spans(collector)
    assert (span.name, span.failed) == (name, failed)
    assert CONTENT.encode() not in b"".join(collector.bodies)


def test_probes_make_no_spans(app: Application, collector: Collector) -> None:
    assert ask(app, "GET", "/health/live").status_code == 200
    assert spans(collector) == []
