"""Where spans go: batches in the background, by OTLP over HTTP, to a collector that may be away.

A collector that is away costs no work: spans are dropped, which is logged once, and it is tried again every half a
minute. The queue is bounded by OpenTelemetry's own ``OTEL_BSP_*`` variables.

Belongs here: the SDK. Imported only where traces are wanted: it takes a tenth of a second.
Does not belong here: making spans (``telemetry.py``).
"""

import logging
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

_log = logging.getLogger(__name__)

NAME = "wotr_pipeline"
SEND_SECONDS = 3.0
"""How long one batch of spans is tried, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise."""
STOP_SECONDS = 4.0
"""How long the end of a process waits for its last spans."""
TRY_AGAIN_SECONDS = 30.0
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")

# They report every batch that fails. ``SparingExporter`` says it once.
logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)


class SpanSender:
    """The spans of one process on their way. ``endpoint``: the collector's base address, as OTEL_* means it."""

    def __init__(self, endpoint: str, service: str) -> None:
        # Not made OpenTelemetry's global provider: libraries that trace by themselves put paths and queries,
        # and thus content, into their spans.
        self._provider = TracerProvider(
            resource=Resource.create(
                {"service.name": service, "service.namespace": "wotr", "service.version": version(NAME)}
            ),
            shutdown_on_exit=False,
        )
        address = f"{endpoint.rstrip('/')}/v1/traces"
        timeout = None if any(map(os.environ.get, _TIMEOUTS)) else SEND_SECONDS
        exporter = OTLPSpanExporter(endpoint=address, timeout=timeout)
        self._provider.add_span_processor(BatchSpanProcessor(SparingExporter(exporter, endpoint)))

    def tracer(self) -> Tracer:
        """What makes spans."""
        return self._provider.get_tracer(NAME)

    def stop(self) -> None:
        """Send what is left; gives up after ``STOP_SECONDS``."""
        # In a thread, because the SDK's own bound is half a minute.
        stopping = Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)


class SparingExporter(SpanExporter):
    """Leaves a collector that failed in peace for ``TRY_AGAIN_SECONDS``, and says once that it did."""

    def __init__(self, exporter: SpanExporter, address: str) -> None:
        self._exporter = exporter
        self._address = address
        self._not_before = 0.0
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send, or drop."""
        if time.monotonic() < self._not_before:
            self._lost += len(spans)
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._lost:
                _log.warning(
                    "Traces reach %s again; %d spans were lost meanwhile.", self._address, self._lost
                )
            self._lost = 0
            return result
        if not self._lost:
            _log.warning(
                "Traces do not reach %s. Work goes on without them; they are tried again every %.0f s. Check that "
                "the collector is up and takes OTLP over HTTP, or unset OTEL_EXPORTER_OTLP_ENDPOINT.",
                self._address,
                TRY_AGAIN_SECONDS,
            )
        self._lost += len(spans)
        self._not_before = time.monotonic() + TRY_AGAIN_SECONDS
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()
