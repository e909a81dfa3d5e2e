"""GET /metrics: what Prometheus reads, and the counters of the hot path.

No key is needed: it names no event, no key, no source, and every label is of a closed set. Keep the port on an
internal network all the same. What the stores tell is put in by ``collector.py``, every few seconds, so that a scrape
asks nobody.

Belongs here: names, labels, buckets, and counting requests. Does not belong here: asking stores.
"""

import asyncio
import math
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from ..events.reasons import Reason
from .headers import Application, Message, Receive, Scope, Send
from .routes import route_of

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds. 0.2 is where an incident is over, 1 where the alert begins (runbook: high latency)."""
WINDOW_SECONDS = 300.0
"""Over which the pages show percentiles."""
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
ROUTES = ("ingest", "batch")
OUTCOMES = ("accepted", "repeated", "rejected", "failed", "limited")
_HOT = (("POST", "/ingest"), ("POST", "/ingest/batch"))
_EXPECTED_ERRORS = ("500", "503")

disable_created_metrics()  # type: ignore[no-untyped-call]
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _Request:
    """The instruments of one method, route and status."""

    requests: Counter
    seconds: Histogram
    errors: Counter | None


class Metrics:
    """All metrics of one gateway, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        labels = ("method", "route", "status")
        self._requests = self._counter("fastapi_requests", "Requests that were answered.", labels)
        self._errors = self._counter(
            "fastapi_error",
            "Answers of 500 and above: what the platform could not do. A refusal of bad input is none.",
            labels,
        )
        self._seconds = Histogram(
            "fastapi_request_duration_seconds",
            "Time from a request's headers to the end of its answer.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        events = self._counter(
            "wotr_ingest", "Events over HTTP, by what became of them.", ("route", "outcome")
        )
        self._events = {
            (route, outcome): events.labels(route, outcome) for route in ROUTES for outcome in OUTCOMES
        }
        refused = self._counter(
            "wotr_validation_failures",
            "Events that the gateway refused, by the first rule broken.",
            ("reason",),
        )
        self._refused = {reason.value: refused.labels(reason.value) for reason in Reason}
        self._known: dict[tuple[str, str, int], _Request] = {}
        for method, route in _HOT:
            self._begin_errors(method, route)
        self._ticks: deque[tuple[float, dict[str, list[float]]]] = deque()

    def gauge(self, name: str, told: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A gauge of this registry. Until it is set it is not a number: zero would be a claim."""
        made = Gauge(name, told, labels, registry=self.registry)
        if not labels:
            made.set(math.nan)
        return made

    def ingested(self, route: str, outcome: str, events: int) -> None:
        """Count events of a request."""
        self._events[route, outcome].inc(events)

    def refused(self, reason: str, events: int) -> None:
        """Count events that broke the contract."""
        self._refused[reason].inc(events)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = self._known.get((method, route, status))
        if known is None:
            self._begin_errors(method, route)
            labels = (method, route, str(status))
            known = _Request(
                self._requests.labels(*labels),
                self._seconds.labels(method, route),
                self._errors.labels(*labels) if status >= 500 else None,
            )
            self._known[method, route, status] = known
        known.requests.inc()
        known.seconds.observe(seconds)
        if known.errors is not None:
            known.errors.inc()

    def _begin_errors(self, method: str, route: str) -> None:
        # A series that begins with its first error does not grow by it: Prometheus would miss the first ones.
        for status in _EXPECTED_ERRORS:
            self._errors.labels(method, route, status)

    def tick(self, now: float) -> None:
        """Remember where the counters are; to be called every few seconds, with the monotonic time."""
        self._ticks.append((now, self._buckets()))
        while len(self._ticks) > 1 and self._ticks[1][0] <= now - WINDOW_SECONDS:
            self._ticks.popleft()

    def p95(self, route: str) -> float | None:
        """Upper bound in seconds of 95 % of a route's requests over the last minutes; None without any.

        As ``histogram_quantile`` without its interpolation: the bucket's edge.
        """
        counts = self._buckets().get(route)
        if counts is None:
            return None
        before = self._ticks[0][1].get(route, [0.0] * len(counts)) if self._ticks else [0.0] * len(counts)
        grown = [now - then for now, then in zip(counts, before, strict=True)]
        if not grown[-1]:
            return None
        place = bisect_left(grown, 0.95 * grown[-1])
        return BUCKETS[min(place, len(BUCKETS) - 1)]

    def _buckets(self) -> dict[str, list[float]]:
        """Cumulative counts by route, over all methods, in the order of the buckets, +Inf last."""
        found: dict[str, list[float]] = {}
        for family in self._seconds.collect():
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    place = (
                        len(BUCKETS)
                        if sample.labels["le"] == "+Inf"
                        else BUCKETS.index(float(sample.labels["le"]))
                    )
                    counts = found.setdefault(sample.labels["route"], [0.0] * (len(BUCKETS) + 1))
                    counts[place] += sample.value
        return found

    def _counter(self, name: str, told: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, told, labels, registry=self.registry)


def with_request_metrics(app: Application, metrics: Metrics) -> Application:
    """``app``, with each request counted and timed."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, send_and_note)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            metrics.answered(method, route_of(scope) or "unmatched", status, time.perf_counter() - started)

    return answer


@router.get("/metrics")
async def scrape(request: Request) -> Response:
    """All of it, in the format that the scraper asks for."""
    metrics: Metrics = request.app.state.services.metrics
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    # It takes 15 ms with many routes: requests go on meanwhile.
    text = await asyncio.to_thread(encode, metrics.registry)
    return Response(text, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
