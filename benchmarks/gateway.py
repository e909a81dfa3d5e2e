"""The gateway under load: single events at a fixed rate, batches, and its memory over minutes.

Belongs here: those three attacks and what is read off. Does not belong here: the generator (``load_generator.py``).
Broker, PostgreSQL and the generator share the machine's cores with the one worker.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil
import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from benchmarks.load_generator import Report, attack, write_targets
from benchmarks.report import Line
from benchmarks.servers import environment_of, place
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.sample_events import Sample, SampleAccount, records
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets

SINGLE_PER_SECOND = 1_000
BATCHES_PER_SECOND, BATCH = 20, 1_000
CONNECTIONS = 64
P95_MS = 20.0
CHUNK_SECONDS = 20
"""Requests of so many seconds are prepared at once: their file would grow with the minutes otherwise."""


@dataclass(frozen=True)
class Attacked:
    """One attack, with what the gateway's processes used for it."""

    report: Report
    cores: float
    """CPU time of the gateway per second."""


@dataclass(frozen=True)
class Measured:
    single: Attacked
    batches: Attacked
    lost: int
    """Acknowledged events that Kafka does not hold. Never anything but 0."""
    minutes: float
    memory: tuple[float, float]
    """MiB after the first minute (or chunk) and at the end."""


def measure(platform: Platform, topic: str, seconds: int, minutes: float) -> Measured:
    """Attack a gateway on a place of its own."""
    port = free_port()
    changed = {"wotr_gateway_port": str(port), "wotr_gateway_url": f"http://127.0.0.1:{port}"}
    key = "benchmark-key-of-24-or-more-characters"
    with (
        place(platform, topic, api_keys=key, wotr_events_per_minute="100000000", **changed) as settings,
        _running(settings) as process,
        tempfile.TemporaryDirectory() as scratch,
    ):
        targets, headers = Path(scratch) / "targets", {"X-API-Key": key}
        events = _events()
        url = settings.wotr_gateway_url
        one = headers | {"Content-Type": "application/json"}
        many = headers | {"Content-Type": "application/x-ndjson"}

        def singly(duration: int) -> Attacked:
            write_targets(
                targets, f"{url}/ingest", one, (next(events) for _ in range(duration * SINGLE_PER_SECOND))
            )
            return _attack(process, targets, SINGLE_PER_SECOND, duration)

        singly(3)  # connections, caches
        single = singly(seconds)
        bodies = (b"\n".join(next(events) for _ in range(BATCH)) for _ in range(seconds * BATCHES_PER_SECOND))
        write_targets(targets, f"{url}/ingest/batch", many, bodies)
        batches = _attack(process, targets, BATCHES_PER_SECOND, seconds)
        acknowledged = sum(
            attacked.report.statuses.get("202", 0) * each
            for attacked, each in ((single, 1), (batches, BATCH))
        )
        with KafkaOffsets(settings) as offsets:
            held = sum(mark.high - mark.low for mark in offsets.watermarks(topic).values())
        memory: list[float] = []
        until = time.monotonic() + minutes * 60
        while not memory or time.monotonic() < until:
            singly(CHUNK_SECONDS)
            memory.append(_memory(process))
        after_a_minute = memory[min(60 // CHUNK_SECONDS, len(memory)) - 1]
    return Measured(single, batches, max(0, acknowledged - held), minutes, (after_a_minute, memory[-1]))


def lines(found: Measured) -> list[Line]:
    """The table's rows."""
    single, batches = found.single.report, found.batches.report
    first, last = found.memory
    return [
        Line(
            f"POST /ingest at {single.rate:,.0f} requests/s, p50 / p95 / p99",
            f"{single.p50:.1f} / {single.p95:.1f} / {single.p99:.1f} ms, {single.failed} of {single.requests:,} failed, "
            f"gateway {found.single.cores:.2f} cores",
            f"p95 below {P95_MS:.0f} ms at {SINGLE_PER_SECOND:,}/s",
            single.p95 < P95_MS and not single.failed and single.rate > 0.99 * SINGLE_PER_SECOND,
        ),
        Line(
            f"POST /ingest/batch, {BATCH:,} events each: p50 / p95",
            f"{batches.rate * BATCH:,.0f} events/s, {batches.p50:.0f} / {batches.p95:.0f} ms, {batches.failed} of "
            f"{batches.requests:,} failed, gateway {found.batches.cores:.2f} cores",
            f"{BATCHES_PER_SECOND * BATCH:,} events/s",
            not batches.failed and batches.rate > 0.99 * BATCHES_PER_SECOND,
        ),
        Line("acknowledged events that Kafka does not hold", f"{found.lost}", "0", not found.lost),
        Line(
            f"gateway's memory after the first minute → after {found.minutes:.0f} of {SINGLE_PER_SECOND:,} requests/s",
            f"{first:.0f} → {last:.0f} MiB ({last / first:.2f})",
            "grows by at most 10%",
            last <= 1.1 * first,
        ),
    ]


def _events() -> Iterator[bytes]:
    """Good events without end, each with an id of its own."""
    from datetime import UTC, datetime

    for seed in count():
        sample = Sample(100_000, datetime.now(UTC), hours=0.1, seed=seed, bad=0, retried=0, late=0)
        for record in records(sample, SampleAccount()):
            yield record.value or b""


@contextmanager
def _running(settings: Settings) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "wotr_pipeline.gateway"]
    process = subprocess.Popen(command, env=environment_of(settings), stdout=subprocess.DEVNULL)
    try:
        session = requests.Session()
        session.trust_env = False
        Retrying(
            stop=stop_after_delay(60),
            wait=wait_fixed(0.2),
            retry=retry_if_exception_type(requests.ConnectionError),
        )(session.get, f"{settings.wotr_gateway_url}/sign-in", timeout=2)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _attack(process: psutil.Process, targets: Path, per_second: int, seconds: int) -> Attacked:
    before, started = _cpu(process), time.perf_counter()
    report = attack(targets, per_second, seconds, CONNECTIONS)
    return Attacked(report, (_cpu(process) - before) / (time.perf_counter() - started))


def _cpu(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def _memory(process: psutil.Process) -> float:
    return float(sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))) / 2**20
