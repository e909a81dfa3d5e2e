"""Traces: what a request, a run and a batch did and for how long, as spans sent by OTLP.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set: then nothing of OpenTelemetry is imported here, and each function
below returns at once. Sampling, headers and time-outs of the sending are OpenTelemetry's own ``OTEL_*`` variables.

Attributes carry ids, counts, topics and offsets, never content. Of an error only the type is told: its text may quote
the value that caused it.

Belongs here: beginning and ending spans, passing a trace on, and finding it again.
Does not belong here: sending spans (``telemetry_export.py``), which work gets a span (whoever does the work).
"""

import atexit
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from wotr_pipeline.config import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from wotr_pipeline.telemetry_export import SpanSender

TRACEPARENT = "traceparent"
"""Header, of HTTP and of Kafka's records, that carries a trace on: https://www.w3.org/TR/trace-context/"""
MOST_LINKS = 32
MOST_LOOKED_AT = 1_024
"""Values of the header that are read for the links: anybody may write anything there."""

Attribute = str | int | float | bool | None
_SAMPLED = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f][13579bdf]")


@dataclass(frozen=True)
class _Tracing:
    sender: "SpanSender"
    tracer: "Tracer"
    configured: tuple[str, str]


_tracing: _Tracing | None = None
_work: ContextVar["Work | None"] = ContextVar("wotr_work", default=None)


def configure_tracing(settings: Settings, service: str) -> None:
    """Send this process's spans as those of ``service``, if the settings name who takes them.

    To be called by the process that does the work. Calling it again with the same is free; with another address or
    service, the spans so far are sent first.
    """
    global _tracing
    wanted = (settings.otel_exporter_otlp_endpoint, service)
    if _tracing is not None and _tracing.configured == wanted:
        return
    stop_tracing()
    if not settings.otel_exporter_otlp_endpoint:
        return
    from wotr_pipeline.telemetry_export import SpanSender

    sender = SpanSender(settings.otel_exporter_otlp_endpoint, service)
    _tracing = _Tracing(sender, sender.tracer(), wanted)
    atexit.register(stop_tracing)


def stop_tracing() -> None:
    """Send what is left, for a few seconds at most; nothing is traced afterwards."""
    global _tracing
    stopping, _tracing = _tracing, None
    if stopping is not None:
        atexit.unregister(stop_tracing)
        stopping.sender.stop()


def tracer() -> "Tracer | None":
    """OpenTelemetry's own door, for spans that need more than ``span`` offers; None while tracing is off."""
    return None if _tracing is None else _tracing.tracer


@contextmanager
def span(name: str, **attributes: Attribute) -> Iterator[None]:
    """The work inside is a span of this name. Not to be held open across the ``yield`` of a generator."""
    if _tracing is None:
        yield
        return
    with _recorded(_tracing.tracer, name, attributes, None):
        yield


class Work:
    """A span on which several threads work, one after the other: its ``step`` is a child in the thread at work."""

    def __init__(self, recorded: "Span | None") -> None:
        self._span = recorded

    @contextmanager
    def step(self, name: str, **attributes: Attribute) -> Iterator[None]:
        """What this thread does inside is a child of this name."""
        if self._span is None or _tracing is None:
            yield
            return
        token = _work.set(self)
        try:
            with _recorded(_tracing.tracer, name, attributes, self._span):
                yield
        finally:
            _work.reset(token)

    def end(self, error: BaseException | None = None, **attributes: Attribute) -> None:
        """The work is done, or ``error`` ended it."""
        if self._span is None:
            return
        self._span.set_attributes(_named(attributes))
        if error is not None:
            _tell_failure(self._span, error)
        self._span.end()


NO_WORK = Work(None)


def begin(name: str, **attributes: Attribute) -> Work:
    """Begin a span, as a child of the one that is open here; whoever ends the work calls ``end``."""
    return (
        NO_WORK if _tracing is None else Work(_tracing.tracer.start_span(name, attributes=_named(attributes)))
    )


def traceparent() -> tuple[str, bytes] | None:
    """The header that carries the trace open here on to a record; None if there is none, or nobody keeps it."""
    if _tracing is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return TRACEPARENT, f"00-{context.trace_id:032x}-{context.span_id:016x}-01".encode()


def trace_id() -> str | None:
    """The trace open here, for the log; None if there is none."""
    if _tracing is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def linked_to(traceparents: Iterable[bytes | None]) -> None:
    """Link the ``Work`` that is under way here with the traces of these headers: the first 32 distinct ones.

    What is no header, and what nobody keeps, is left out. While tracing is off, ``traceparents`` is not even looked
    at: a generator costs nothing.
    """
    work = _work.get()
    if work is None or work._span is None:
        return
    from opentelemetry.trace import SpanContext, TraceFlags

    linked: set[bytes] = set()
    for value in islice(traceparents, MOST_LOOKED_AT):
        found = _SAMPLED.fullmatch(value) if value is not None and value not in linked else None
        if found is None:
            continue
        linked.add(found[0])
        sampled = TraceFlags(TraceFlags.SAMPLED)
        work._span.add_link(
            SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=sampled)
        )
        if len(linked) == MOST_LINKS:
            return


def annotate(**attributes: Attribute) -> None:
    """Add attributes to the span that is open here."""
    if _tracing is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attributes(_named(attributes))


def failed(error: BaseException) -> None:
    """Say of the span that is open here that ``error``, which goes no further, ended its work."""
    if _tracing is not None:
        from opentelemetry.trace import get_current_span

        _tell_failure(get_current_span(), error)


@contextmanager
def _recorded(
    tracer: "Tracer", name: str, attributes: dict[str, Attribute], parent: "Span | None"
) -> Iterator[None]:
    from opentelemetry.trace import set_span_in_context

    with tracer.start_as_current_span(
        name,
        context=None if parent is None else set_span_in_context(parent),
        attributes=_named(attributes),
        # OpenTelemetry's own way would send the error's text and stack.
        record_exception=False,
        set_status_on_exception=False,
    ) as recorded:
        try:
            yield
        except BaseException as error:
            _tell_failure(recorded, error)
            raise


def _tell_failure(recorded: "Span", error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode

    kind = type(error)
    recorded.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
    recorded.set_status(Status(StatusCode.ERROR))


def _named(attributes: dict[str, Attribute]) -> dict[str, str | int | float | bool]:
    return {f"wotr.{name}": value for name, value in attributes.items() if value is not None}
