"""Produced → queryable, through the sensor, the daemon's queue and a run, while a light stream flows.

Belongs here: probes and their times. Does not belong here: throughput (``path.py``).
"""

import time
from dataclasses import dataclass
from statistics import median, quantiles
from threading import Event, Thread
from uuid import uuid4

import orjson

from benchmarks.report import Line
from benchmarks.servers import settings_of
from wotr_pipeline.cli import migrate
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import CODE_SERVER, DAGSTER, Platform
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.warehouse import Warehouse

WANTED_P95_SECONDS = 15.0
STREAM_PER_SECOND = 50
PROBE_EVERY_SECONDS = 3.3
"""Not a divisor of the sensor's 5 s: the probes fall on all phases of its interval."""
POLL_SECONDS = 0.1
LOST_AFTER_SECONDS = 120.0


@dataclass(frozen=True)
class Latencies:
    seconds: tuple[float, ...]


def measure(platform: Platform, probes: int) -> Latencies:
    """Send ``probes`` events, one every few seconds, and wait for each in ``ingested_data``.

    Raises:
        TimeoutError: a probe was not there after ``LOST_AFTER_SECONDS``.
    """
    settings = settings_of(platform)
    migrate(settings)
    platform.up(CODE_SERVER)
    platform.up(DAGSTER)
    warehouse = Warehouse(settings)
    stop = Event()
    stream = Thread(target=_stream, args=(settings, stop), daemon=True)
    stream.start()
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}
    try:
        with EventProducer(settings) as producer:
            # The first run pays for imports that later ones share: it is waited for, not counted.
            _wait(warehouse, {(first := _send(producer)): time.monotonic()}, {}, {first})
            following = time.monotonic()
            while len(sent) < probes:
                if time.monotonic() >= following:
                    sent[_send(producer)] = time.monotonic()
                    following += PROBE_EVERY_SECONDS
                _look(warehouse, sent, seen)
                time.sleep(POLL_SECONDS)
        _wait(warehouse, sent, seen, set(sent))
    finally:
        stop.set()
        stream.join()
        warehouse.close()
        for name in (*reversed(DAGSTER), *CODE_SERVER):
            platform.stop(name)
    return Latencies(tuple(seen[probe] - moment for probe, moment in sent.items()))


def _event(name: str) -> bytes:
    payload = {"event_type": "system_event", "source": "latency", "data": {"probe": name}}
    now = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z"
    return orjson.dumps({"id": name, "timestamp": now, "payload": payload})


def _send(producer: EventProducer) -> str:
    name = f"probe-{uuid4()}"
    producer.send(_event(name))
    producer.flush()
    return name


def _stream(settings: Settings, stop: Event) -> None:
    with EventProducer(settings) as producer:
        while not stop.wait(1 / STREAM_PER_SECOND):
            producer.send(_event(f"stream-{uuid4()}"))


def _look(warehouse: Warehouse, sent: dict[str, float], seen: dict[str, float]) -> None:
    waiting = [name for name in sent if name not in seen]
    if not waiting:
        return
    found = warehouse.client.query(
        "SELECT id FROM ingested_data WHERE id IN {waiting:Array(String)}", parameters={"waiting": waiting}
    )
    now = time.monotonic()
    seen.update((row[0], now) for row in found.result_rows)


def _wait(warehouse: Warehouse, sent: dict[str, float], seen: dict[str, float], names: set[str]) -> None:
    deadline = time.monotonic() + LOST_AFTER_SECONDS
    while not names <= seen.keys():
        if time.monotonic() > deadline:
            missing = len(names - seen.keys())
            raise TimeoutError(
                f"{missing} of {len(names)} probes were not queryable after {LOST_AFTER_SECONDS:.0f} s."
            )
        _look(warehouse, sent, seen)
        time.sleep(POLL_SECONDS)


def lines(latencies: Latencies) -> list[Line]:
    seconds = sorted(latencies.seconds)
    p95 = quantiles(seconds, n=20, method="inclusive")[-1]
    return [
        Line(
            f"produced → queryable through the sensor, {len(seconds)} probes, p50 / p95",
            f"{median(seconds):.1f} / {p95:.1f} s",
            f"p95 below {WANTED_P95_SECONDS:.0f} s",
            p95 < WANTED_P95_SECONDS,
        )
    ]
