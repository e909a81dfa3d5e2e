# ruff: noqa: RUF001  the formulas have signs of multiplication in them
"""``python -m benchmarks.capacity``: what 10 and 1,000 times the events need, from what was measured.

Every figure is a formula over three kinds of numbers: those of docs/performance.md (read from its table), what
events leave in the stores (``FOOTPRINT``; ``--measure`` takes it anew with real servers) and settings' defaults.
The table goes into docs/scaling.md; a test holds the page and this module together.

Belongs here: the formulas and that footprint. Does not belong here: rates (``python -m benchmarks``), advice
(docs/scaling.md).
"""

import contextlib
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pprint import pformat

import click

from benchmarks.carry import carry
from benchmarks.events import produce
from benchmarks.path import pids
from benchmarks.report import PAGE as PERFORMANCE
from benchmarks.servers import create_topic, delete_topic, place, scratch_platform, settings_of
from wotr_pipeline.automation.sensors import INTERVAL_SECONDS
from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

PAGE = PROJECT_ROOT / "docs" / "scaling.md"
BEGIN = "<!-- written by python -m benchmarks.capacity: begin -->"
END = "<!-- written by python -m benchmarks.capacity: end -->"

BASE_EVENTS_PER_SECOND = 1_000
"""The rate at which the gateway's latency is promised."""
TIMES = (1, 10, 1_000)
PEAK = 3
"""The busiest minute against the mean. Look at your own: topk over wotr_ingest_total."""
HEADROOM = 0.5
"""Share of a lane's measured rate that a peak may use, so that a backlog shrinks while events come."""
PARTITIONS_PER_LANE = 4
OBJECTS_PER_BATCH = 3
"""Raw, validated, dead letters. A batch without a bad event has no third."""
DAY = 86_400


@dataclass(frozen=True)
class Footprint:
    """What a number of sample events (1 % bad) leaves in the stores, in bytes and requests."""

    events: int
    batches: int
    message_bytes: int
    raw_bytes: int
    validated_bytes: int
    dead_letter_bytes: int
    table_rows: int
    table_bytes: int
    engine_reads: int
    """S3 requests that ClickHouse makes to read what it judges and explains."""

    def per_event(self, size: int) -> float:
        """``size`` by event."""
        return size / self.events


FOOTPRINT = Footprint(
    events=200_000,
    batches=4,
    message_bytes=109_863_558,
    raw_bytes=17_148_316,
    validated_bytes=6_912_087,
    dead_letter_bytes=8_121_424,
    table_rows=199_198,
    table_bytes=24_743_466,
    engine_reads=28,
)
"""Measured 2026-11-25 with the versions of docs/performance.md. Sample events repeat themselves more than
yours may: storage is what to measure again first."""


@dataclass(frozen=True)
class Rates:
    """What docs/performance.md says of this machine."""

    lane_events_per_second: float
    """The slower of the two rates in batches of 25,000, all servers on two cores."""
    cpu_seconds_per_event: float
    run_bytes: float
    batch_seconds: float
    """What a batch costs whatever its size."""


@dataclass(frozen=True)
class Quantity:
    """One line of the table: what it is, how it follows, and its value at a rate in events/s."""

    what: str
    formula: str
    value: Callable[[float], float]
    unit: str = ""


def rates() -> Rates:
    """Read docs/performance.md. Raises ValueError if a line is not there as expected."""
    text = PERFORMANCE.read_text(encoding="utf-8")

    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        if found is None:
            raise ValueError(f"{PERFORMANCE} has no line like {pattern}")
        return min(float(group.replace(",", "")) for group in found.groups())

    return Rates(
        number(r"batches of 25,000: rate +\| ([\d,]+) → ([\d,]+) events/s"),
        number(r"CPU of the path, by process +\| ([\d.]+) µs/event") * 1e-6,
        number(r"peak memory, python +\| [\d,]+ → ([\d,]+) MiB") * 2**20,
        number(r"batch costs in itself, about ([\d.]+) s"),
    )


def quantities(measured: Rates, footprint: Footprint, settings: Settings) -> list[Quantity]:
    """Every line, in the order of the page."""
    lane = measured.lane_events_per_second * HEADROOM

    def lanes(rate: float) -> float:
        return math.ceil(rate * PEAK / lane)

    def partitions(rate: float) -> float:
        return PARTITIONS_PER_LANE * lanes(rate)

    def batches(rate: float) -> float:
        """A second: one for each partition and tick, more where a batch would be too large."""
        ticks = partitions(rate) / INTERVAL_SECONDS
        return max(ticks, rate / settings.wotr_batch_events)

    def kept(size: int, days: int) -> Callable[[float], float]:
        return lambda rate: rate * DAY * footprint.per_event(size) * days

    raw, valid = settings.wotr_keep_raw_days, settings.wotr_keep_raw_days
    rows, letters = settings.wotr_keep_rows_days, settings.wotr_keep_dead_letters_days
    table_bytes = footprint.table_bytes * footprint.events // footprint.table_rows
    reads = footprint.engine_reads / footprint.batches
    return [
        Quantity("events a day", f"rate × {DAY:,}", lambda rate: rate * DAY),
        Quantity("events/s at the peak", f"rate × {PEAK}", lambda rate: rate * PEAK),
        Quantity(
            "cores, all programs, at the peak",
            f"peak × {measured.cpu_seconds_per_event * 1e6:.1f} µs",
            lambda rate: rate * PEAK * measured.cpu_seconds_per_event,
        ),
        Quantity(
            "lanes",
            f"⌈peak ÷ ({measured.lane_events_per_second:,.0f} × {HEADROOM})⌉",
            lanes,
        ),
        Quantity("Kafka partitions", f"lanes × {PARTITIONS_PER_LANE}", partitions),
        Quantity(
            "batches an hour, at most",
            f"partitions × 3,600 ÷ {INTERVAL_SECONDS} s",
            lambda rate: batches(rate) * 3600,
        ),
        Quantity("events a batch", "rate ÷ batches a second", lambda rate: rate / batches(rate)),
        Quantity(
            "seconds of statements a second, each lane",
            f"batches a second × {measured.batch_seconds} s ÷ lanes",
            lambda rate: batches(rate) * measured.batch_seconds / lanes(rate),
        ),
        Quantity("ledger rows a day", "batches an hour × 24", lambda rate: batches(rate) * DAY),
        Quantity(
            "objects a day",
            f"ledger rows × {OBJECTS_PER_BATCH}",
            lambda rate: batches(rate) * DAY * OBJECTS_PER_BATCH,
        ),
        Quantity(
            "S3 requests/s",
            f"batches a second × ({reads:.0f} reads + {OBJECTS_PER_BATCH} writes)",
            lambda rate: batches(rate) * (reads + OBJECTS_PER_BATCH),
        ),
        Quantity(
            "new ClickHouse parts/s, each lane",
            "batches a second ÷ lanes",
            lambda rate: batches(rate) / lanes(rate),
        ),
        Quantity(
            "Kafka bytes a day, each replica",
            f"events × {footprint.per_event(footprint.message_bytes):.0f} B",
            lambda rate: rate * DAY * footprint.per_event(footprint.message_bytes),
            "B",
        ),
        Quantity(
            f"raw objects, {raw} days",
            f"events × {footprint.per_event(footprint.raw_bytes):.0f} B × days",
            kept(footprint.raw_bytes, raw),
            "B",
        ),
        Quantity(
            f"validated objects, {valid} days",
            f"events × {footprint.per_event(footprint.validated_bytes):.0f} B × days",
            kept(footprint.validated_bytes, valid),
            "B",
        ),
        Quantity(
            f"dead letters (1 % bad), {letters} days",
            f"events × {footprint.per_event(footprint.dead_letter_bytes):.0f} B × days",
            kept(footprint.dead_letter_bytes, letters),
            "B",
        ),
        Quantity(
            f"rows, {rows} days, each replica",
            f"events × {footprint.per_event(table_bytes):.0f} B × days",
            kept(table_bytes, rows),
            "B",
        ),
        Quantity("pods of runs at work", "lanes (one run an hour and lane)", lanes),
        Quantity(
            "their memory",
            f"pods × {measured.run_bytes / 2**20:.0f} MiB",
            lambda rate: lanes(rate) * measured.run_bytes,
            "B",
        ),
    ]


def table(lines: list[Quantity]) -> str:
    """The lines as a Markdown table, one column for each of ``TIMES``."""
    head = ["", "formula", *(f"{times:,}×: {times * BASE_EVENTS_PER_SECOND:,}/s" for times in TIMES)]
    rows = [
        [line.what, line.formula]
        + [_shown(line.value(times * BASE_EVENTS_PER_SECOND), line.unit) for times in TIMES]
        for line in lines
    ]
    text = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([text[0], "|" + "---|" * len(head), *text[1:]])


def _shown(value: float, unit: str) -> str:
    if unit == "B":
        for name, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
            if value >= size:
                return f"{value / size:,.1f} {name}"
        return f"{value / 1e6:,.0f} MB"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def page(text: str) -> str:
    """docs/scaling.md with the table computed anew. Raises ValueError if its markers are missing."""
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"{PAGE} has lost its markers: {BEGIN} … {END}")
    lines = quantities(rates(), FOOTPRINT, Settings.model_construct())
    return f"{before}{BEGIN}\n{table(lines)}\n{END}{after}"


def measure(events: int, batch_events: int) -> Footprint:
    """Carry sample events through real servers and look at what is left. Takes a minute or two."""
    with scratch_platform() as platform, contextlib.ExitStack() as cleanup:
        topic = create_topic(settings_of(platform), f"bench-footprint-{time.time_ns()}")
        produced = settings_of(platform, kafka_topic=topic)
        cleanup.callback(delete_topic, produced)
        produce(produced, events)
        with place(platform, topic, wotr_batch_events=str(batch_events)) as settings:
            carried = carry(settings, pids(platform))
            sizes: dict[str, int] = {}
            for found in ObjectStore(settings).list(""):
                kind = found.key.split("/")[0]
                sizes[kind] = sizes.get(kind, 0) + found.size
            client = Warehouse(settings).client
            database = {"database": settings.clickhouse_db}
            [[rows, message_bytes]] = client.query(
                "SELECT count(), sum(size_bytes) FROM ingested_data"
            ).result_rows
            [[table_bytes, batches]] = client.query(
                "SELECT sum(bytes_on_disk), (SELECT uniqExact(batch_id) FROM ingested_data) FROM system.parts "
                "WHERE active AND table = 'ingested_data' AND database = {database:String}",
                database,
            ).result_rows
            client.command("SYSTEM FLUSH LOGS")
            [[reads]] = client.query(
                "SELECT sum(ProfileEvents['S3GetObject'] + ProfileEvents['S3HeadObject']) FROM system.query_log "
                "WHERE type = 'QueryFinish' AND current_database = {database:String}",
                database,
            ).result_rows
    return Footprint(
        carried.counts.records,
        batches,
        message_bytes,
        sizes["raw"],
        sizes["validated"],
        sizes["dead-letters"],
        rows,
        table_bytes,
        reads,
    )


@click.command()
@click.option(
    "--measure", "events", type=click.IntRange(1_000), help="Take the footprint of so many events anew."
)
@click.option(
    "--batch-events", default=200_000, show_default=True, help="Most events of a batch, with --measure."
)
def main(events: int | None, batch_events: int) -> None:
    """Compute the table of docs/scaling.md anew, or measure what it stands on."""
    if events:
        click.echo(pformat(measure(events, batch_events)))
        return
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    click.echo(f"Written: {PAGE}")


if __name__ == "__main__":
    main()
