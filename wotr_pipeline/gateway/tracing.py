"""A span for each request, as a part of the client's trace where it sent one.

FastAPI and Starlette have middleware of this kind; theirs puts path, query and user agent into the span, which hold
content. Here it is the method, the route's template and the status.

Belongs here: that span. Does not belong here: passing the trace on to Kafka (``telemetry.traceparent``, called by the
publisher), sending spans (``telemetry_export.py``).
"""

import asyncio

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import telemetry
from ..config import Settings
from .headers import Application, Message, Receive, Scope, Send
from .routes import is_probe, route_of

SERVICE = "wotr-gateway"
"""Name of the gateway's process in traces."""
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_CARRIERS = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_propagator = TraceContextTextMapPropagator()


def traced(app: Application, settings: Settings) -> Application:
    """``app`` with a span around each request; ``app`` itself if no traces are wanted."""
    telemetry.configure_tracing(settings, SERVICE)
    tracer = telemetry.tracer()
    return app if tracer is None else _with_spans(app, tracer)


def _with_spans(app: Application, tracer: Tracer) -> Application:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, _stopping_first(send))
            return
        if scope["type"] != "http" or is_probe(scope):
            await app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        name = "HTTP" if method == "_OTHER" else method
        span = tracer.start_span(
            name,
            context=_trace_of(scope),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.scheme": scope.get("scheme", "http")},
        )

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_attribute("error.type", str(status))
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                await app(scope, receive, send_and_note)
            except BaseException as error:
                telemetry.failed(error)
                raise
            finally:
                route = route_of(scope)
                if route is not None:
                    span.update_name(f"{name} {route}")
                    span.set_attribute("http.route", route)

    return answer


def _stopping_first(send: Send) -> Send:
    async def send_last(message: Message) -> None:
        # The server's worker processes end without Python's atexit.
        if message["type"].startswith("lifespan.shutdown."):
            await asyncio.to_thread(telemetry.stop_tracing)
        await send(message)

    return send_last


def _trace_of(scope: Scope) -> Context | None:
    carrier: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _CARRIERS:
            carrier[_CARRIERS[name]] = value.decode("latin-1")
    return _propagator.extract(carrier) if "traceparent" in carrier else None
