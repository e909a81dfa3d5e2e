"""Ten times the events: does the rate fall, does memory grow?

Each measurement has an engine started anew: an engine that has carried much keeps memory, and would
hide the growth. Batches are of a size that the small side fills several of as well: what grows with the
size of a batch is bounded by the setting, and not in question here.

Belongs here: that comparison. Does not belong here: the process that carries (``carry.py``).
"""

import time
from dataclasses import dataclass
from statistics import median

from benchmarks.carry import Carried, carry
from benchmarks.path import pids
from benchmarks.report import Line
from benchmarks.servers import place
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.event_trace import trace_event
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.warehouse import Warehouse

TOLERANCE = 0.10
TRACES = 9
WANTED_TRACE_SECONDS = 1.0
BATCH_EVENTS = 25_000


@dataclass(frozen=True)
class Scaled:
    """What it took to carry a topic, and then to trace one of its events."""

    carried: Carried
    rows: int
    trace_seconds: float


def measure(platform: Platform, topic: str) -> Scaled:
    """Carry the whole topic with a fresh engine."""
    platform.stop("clickhouse")
    platform.start("clickhouse")
    with place(platform, topic, wotr_batch_events=str(BATCH_EVENTS)) as settings:
        carried = carry(settings, pids(platform))
        return Scaled(carried, *_trace(settings))


def _trace(settings: Settings) -> tuple[int, float]:
    """Rows in the table, and the median time to trace one event of those that arrived last."""
    warehouse, taken = Warehouse(settings), []
    query = "SELECT id FROM ingested_data WHERE validation_status = 'valid' ORDER BY created_at DESC LIMIT {n:Int32}"
    ids = [row[0] for row in warehouse.client.query(query, {"n": TRACES}).result_rows]
    with Ledger(settings) as ledger, DeadLetterRegister(settings) as register:
        for event_id in ids:
            started = time.perf_counter()
            found = trace_event(event_id, ledger, register, warehouse)
            taken.append(time.perf_counter() - started)
            if not found.known:
                raise RuntimeError("An event that is in the table could not be traced.")
    rows = int(warehouse.client.query("SELECT count() FROM ingested_data").result_rows[0][0])
    warehouse.close()
    return rows, median(taken)


def lines(little: Scaled, much: Scaled) -> list[Line]:
    """Both measurements, and the ratios."""
    small, large = little.carried, much.carried
    rates = [carried.counts.records / carried.counts.seconds for carried in (small, large)]
    found = [
        Line(
            f"{small.counts.records:,} → {large.counts.records:,} events in batches of {BATCH_EVENTS:,}: rate",
            f"{rates[0]:,.0f} → {rates[1]:,.0f} events/s ({rates[1] / rates[0]:.2f})",
            f"falls by at most {TOLERANCE:.0%}",
            rates[1] >= rates[0] * (1 - TOLERANCE),
        )
    ]
    for name, process in (("python", "python"), ("engine", "clickhouse")):
        peaks = [carried.usage.peak_rss[process] / 2**20 for carried in (small, large)]
        found.append(
            Line(
                f"peak memory, {name}",
                f"{peaks[0]:,.0f} → {peaks[1]:,.0f} MiB ({peaks[1] / peaks[0]:.2f})",
                f"grows by at most {TOLERANCE:.0%}",
                peaks[1] <= peaks[0] * (1 + TOLERANCE),
            )
        )
    found.append(
        Line(
            f"trace of one event among {much.rows:,} rows, median of {TRACES}",
            f"{much.trace_seconds:.2f} s",
            f"below {WANTED_TRACE_SECONDS:.0f} s",
            much.trace_seconds < WANTED_TRACE_SECONDS,
        )
    )
    return found
