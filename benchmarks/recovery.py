"""The table rebuilt from the raw objects, against the first load of the same events in the same run.

First load: the whole path, from Kafka (``carry.py``). Recovery: the table is dropped, then everything is
rebuilt with all its promises: the sum of each object, rules, gate, validated objects, dead letters, the same
duplicates, aggregates. Pairs alternate with the first loads, so that a busy moment hits both.

Belongs here: the pairs. Does not belong here: the recovery (``wotr_pipeline/operations/recovery.py``).
"""

import logging
import time
from dataclasses import dataclass
from statistics import median

from benchmarks.carry import carry
from benchmarks.path import pids
from benchmarks.report import Line
from benchmarks.servers import place
from wotr_pipeline.checks import expectations
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.recovery import Recovery, Stores
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import TABLES, Warehouse

WANTED_RATIO = 0.50
CHECKSUM = (
    "SELECT count(), sum(cityHash64(id, payload, toString(validation_status), kafka_partition, kafka_offset)) "
    "FROM ingested_data"
)


@dataclass(frozen=True)
class Pair:
    records: int
    load_seconds: float
    recovery_seconds: float


def measure(platform: Platform, topic: str, pairs: int) -> list[Pair]:
    """Load the topic and recover it, each time in a place of its own; one warm-up before.

    Raises:
        RuntimeError: what came back is not what was there.
    """
    expectations.warm()
    return [_pair(platform, topic) for _ in range(pairs + 1)][1:]


def _pair(platform: Platform, topic: str) -> Pair:
    with place(platform, topic) as settings:
        counts = carry(settings, pids(platform)).counts
        return Pair(counts.records, counts.seconds, _recover(settings))


def _recover(settings: Settings) -> float:
    warehouse = Warehouse(settings)
    before = warehouse.client.query(CHECKSUM).result_rows
    for table in TABLES:
        warehouse.execute("drop_table", {"table": table})
    with Ledger(settings) as ledger:
        stores = Stores(settings, ledger, ObjectStore(settings), warehouse)
        recovery = Recovery(stores, None, "benchmark", logging.getLogger("benchmarks"))
        started = time.perf_counter()
        for _ in recovery.apply():
            pass
        seconds = time.perf_counter() - started
    if not recovery.result.complete or warehouse.client.query(CHECKSUM).result_rows != before:
        raise RuntimeError(
            "\n".join(["The recovery did not bring the same rows back.", *recovery.result.lines()])
        )
    warehouse.close()
    return seconds


def lines(pairs: list[Pair]) -> list[Line]:
    """Medians of the pairs."""
    ratio = median(pair.load_seconds / pair.recovery_seconds for pair in pairs)
    rate = median(pair.records / pair.recovery_seconds for pair in pairs)
    return [
        Line(
            f"recovery from raw objects, {pairs[0].records:,} events, table dropped", f"{rate:,.0f} events/s"
        ),
        Line(
            f"its rate against the first load from Kafka (median of {len(pairs)} pairs)",
            f"{ratio:.2f}",
            f"at least {WANTED_RATIO:.2f}",
            ratio >= WANTED_RATIO,
        ),
    ]
