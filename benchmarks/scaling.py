"""Ten times the events: does the rate fall, does memory grow?

Each measurement has an engine started anew: an engine that has carried much keeps memory, and would
hide the growth. Batches are of a size that the small side fills several of as well: what grows with the
size of a batch is bounded by the setting, and not in question here.

Belongs here: that comparison. Does not belong here: the process that carries (``carry.py``).
"""

from benchmarks.carry import Carried, carry
from benchmarks.path import pids
from benchmarks.report import Line
from benchmarks.servers import place
from wotr_pipeline.servers.lifecycle import Platform

TOLERANCE = 0.10
BATCH_EVENTS = 25_000


def measure(platform: Platform, topic: str) -> Carried:
    """Carry the whole topic with a fresh engine."""
    platform.stop("clickhouse")
    platform.start("clickhouse")
    with place(platform, topic, wotr_batch_events=str(BATCH_EVENTS)) as settings:
        return carry(settings, pids(platform))


def lines(small: Carried, large: Carried) -> list[Line]:
    """Both measurements, and the ratios."""
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
    return found
