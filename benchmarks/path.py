"""The whole path with all its promises, against the ceiling: the engine alone, fed with rows ready made.

Path: everything of a topic (good, bad and repeated events) from Kafka to LOADED, by the code of a run:
plan, ledger, raw objects, rules, gate, validated objects, dead letters, duplicates, load.
Ceiling: the same good events as JSONEachRow, flattened to what a producer of the table would send,
through the same HTTP front into a table of the same structure; one insert, one stream.
Pairs are interleaved (path, ceiling, path, ceiling …), so that a busy moment of the machine hits both.

Belongs here: the pairs. Does not belong here: the process that carries (``carry.py``).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson

from benchmarks.carry import Carried, carry
from benchmarks.processes import Usage, Watch
from benchmarks.report import Line
from benchmarks.servers import place
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import STORES, Platform
from wotr_pipeline.stores.warehouse import Warehouse

WANTED_RATIO = 0.40
CEILING_TABLE = "ceiling"
# What a producer of the table sends; the rest is the path's own bookkeeping, or has a default.
PRODUCER_COLUMNS = (
    "id, event_type, source, timestamp, payload, size_bytes, user_id, session_id, ip_address, tags, version, "
    "created_at"
)


@dataclass(frozen=True)
class Ceiling:
    events: int
    seconds: float
    usage: Usage


@dataclass(frozen=True)
class Pair:
    path: Carried
    ceiling: Ceiling

    @property
    def path_rate(self) -> float:
        return self.path.counts.records / self.path.counts.seconds

    @property
    def ceiling_rate(self) -> float:
        return self.ceiling.events / self.ceiling.seconds


def pids(platform: Platform) -> dict[str, int]:
    """Process ids of the stores, by name."""
    return {name: platform.pid(name) for name in STORES}


def measure(platform: Platform, topic: str, scratch: Path, pairs: int) -> list[Pair]:
    """Carry the whole topic and insert its good events, alternately; one warm-up of each before."""
    rows = scratch / "ceiling.jsonl"
    servers = pids(platform)
    with place(platform, topic) as settings:
        carry(settings, servers)
        write_rows(settings, rows)
    measured = []
    for number in range(pairs):
        with place(platform, topic) as settings:
            path = carry(settings, servers)
            ceiling = insert_rows(settings, rows, servers)
        measured.append(Pair(path, ceiling))
        print(
            f"  pair {number + 1}: path {measured[-1].path_rate:,.0f}/s, ceiling {measured[-1].ceiling_rate:,.0f}/s, "
            f"ratio {measured[-1].path_rate / measured[-1].ceiling_rate:.2f}",
            flush=True,
        )
    return measured


def write_rows(settings: Settings, file: Path) -> None:
    """Write the good events of the table as JSON lines, in the order of arrival, without absent fields."""
    client = Warehouse(settings).client
    query = (
        f"SELECT {PRODUCER_COLUMNS} FROM ingested_data WHERE validation_status = 'valid' "
        "ORDER BY kafka_partition, kafka_offset"
    )
    with file.open("wb") as out, client.raw_stream(query, fmt="JSONEachRow") as stream:
        rest = b""
        while chunk := stream.read(4 * 1024**2):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                row = {name: value for name, value in orjson.loads(line).items() if value}
                out.write(orjson.dumps(row) + b"\n")


def insert_rows(settings: Settings, file: Path, servers: Mapping[str, int]) -> Ceiling:
    """Insert the file into a fresh table of ``ingested_data``'s structure."""
    client = Warehouse(settings).client
    client.command(f"CREATE OR REPLACE TABLE {CEILING_TABLE} AS ingested_data")
    with Watch(servers) as usage, file.open("rb") as rows:
        started = time.perf_counter()
        client.raw_insert(CEILING_TABLE, insert_block=rows, fmt="JSONEachRow")
        seconds = time.perf_counter() - started
    events = int(client.query(f"SELECT count() FROM {CEILING_TABLE}").result_rows[0][0])
    client.command(f"DROP TABLE {CEILING_TABLE} SYNC")
    return Ceiling(events, seconds, usage)


def lines(pairs: list[Pair]) -> list[Line]:
    """Medians of the pairs, and where the CPU time goes."""
    ratio = median(pair.path_rate / pair.ceiling_rate for pair in pairs)
    records = pairs[0].path.counts.records
    return [
        Line(
            f"whole path, {records:,} events, of which {pairs[0].path.counts.rejected:,} bad and "
            f"{pairs[0].path.counts.duplicates:,} repeated",
            f"{median(pair.path_rate for pair in pairs):,.0f} events/s",
        ),
        Line(
            "ceiling: JSONEachRow into the same table",
            f"{median(p.ceiling_rate for p in pairs):,.0f} events/s",
        ),
        Line(
            f"ratio (median of {len(pairs)} interleaved pairs)",
            f"{ratio:.2f}",
            f"at least {WANTED_RATIO:.2f}",
            ratio >= WANTED_RATIO,
        ),
        Line("CPU of the path, by process", _cpu([pair.path.usage for pair in pairs], records)),
        Line(
            "CPU of the ceiling, engine",
            _cpu([p.ceiling.usage for p in pairs], pairs[0].ceiling.events, "clickhouse"),
        ),
    ]


def _cpu(usages: list[Usage], events: int, *only: str) -> str:
    names = only or tuple(usages[0].cpu)
    spent = {name: median(usage.cpu[name] for usage in usages) / events * 1e6 for name in names}
    total = f"{sum(spent.values()):.1f} µs/event"
    return total + (
        " (" + ", ".join(f"{name} {cpu:.1f}" for name, cpu in spent.items()) + ")" if len(spent) > 1 else ""
    )
