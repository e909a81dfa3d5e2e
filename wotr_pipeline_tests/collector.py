"""Who takes traces in tests: a real HTTP server that decodes OTLP, and one that takes a request and never answers.

Belongs here: those two, and the spans as tests look at them. Does not belong here: what must be in a span.
"""

import contextlib
import gzip
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Span:
    """One span as the collector was sent it; ids in hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    failed: bool
    attributes: dict[str, object]
    links: tuple[tuple[str, str], ...]
    """Trace and span of each."""


@dataclass
class Collector:
    """What came so far."""

    url: str
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    status: int = 200
    """What it answers; another one than 200 takes no spans."""
    requests: int = 0

    def named(self, name: str) -> list[Span]:
        """The spans of one name, in the order in which they ended."""
        return [span for span in self.spans if span.name == name]

    def children(self, parent: Span) -> list[str]:
        """Names of a span's children, in the order in which they ended."""
        return [span.name for span in self.spans if span.parent_id == parent.span_id]

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            resource = {pair.key: _value(pair.value) for pair in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                self.spans += [_span(str(resource["service.name"]), span) for span in of_scope.spans]


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces", self.path
            collector.requests += 1
            if collector.status == 200:
                collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(collector.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Silent:
    """A collector that takes connections and says nothing."""

    url: str
    asked: threading.Event = field(default_factory=threading.Event)
    """Somebody connected."""


@contextlib.contextmanager
def silent() -> Iterator[Silent]:
    """As a collector whose machine hangs. It answers nothing until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        collector = Silent(f"http://127.0.0.1:{listening.getsockname()[1]}")
        held: list[socket.socket] = []

        def hold() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(listening.accept()[0])
                    collector.asked.set()

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def _span(service: str, sent: Sent) -> Span:
    return Span(
        service=service,
        name=sent.name,
        trace_id=sent.trace_id.hex(),
        span_id=sent.span_id.hex(),
        parent_id=sent.parent_span_id.hex(),
        kind=Sent.SpanKind.Name(sent.kind).removeprefix("SPAN_KIND_"),
        failed=sent.status.code == Status.STATUS_CODE_ERROR,
        attributes={pair.key: _value(pair.value) for pair in sent.attributes},
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in sent.links),
    )


def _value(value: AnyValue) -> object:
    return getattr(value, value.WhichOneof("value"))
