"""``make bench``: measures the performance promises and writes their tables into docs/performance.md.

Everything is pinned to nothing and both sides of a ratio are measured in the same run, alternately.

Belongs here: sizes, order, and where results go. Does not belong here: any measurement.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks import backups, dead_letters, gateway, latency, path, quality, recovery, scaling
from benchmarks.carry import carry
from benchmarks.events import produce
from benchmarks.machine import describe
from benchmarks.report import Line, table, write_page
from benchmarks.servers import create_topic, delete_topic, place, scratch_platform, settings_of
from wotr_pipeline.servers.lifecycle import Platform

PARTS = ("path", "quality", "recovery", "dead-letters", "scaling", "latency", "gateway", "backups")
GROWTH = 10


@click.command()
@click.option(
    "--events", default=1_600_000, show_default=True, help="Events of the path; rows of the quality report."
)
@click.option(
    "--small", default=1_000_000, show_default=True, help="Events of the small side of the scaling."
)
@click.option("--pairs", default=3, show_default=True, help="Interleaved pairs of path and ceiling.")
@click.option("--letters", default=100_000, show_default=True, help="Dead letters to be worked off.")
@click.option("--probes", default=24, show_default=True, help="Probes of the latency.")
@click.option("--seconds", default=30, show_default=True, help="Of each attack on the gateway.")
@click.option(
    "--minutes", default=10.0, show_default=True, help="Over which the gateway's memory is watched."
)
@click.option("--gigabytes", default=2.0, show_default=True, help="Of objects that are backed up.")
@click.option("--rows", default=10_000_000, show_default=True, help="Of events that are backed up.")
@click.option(
    "--only", type=click.Choice(PARTS), multiple=True, help="Measure these parts; the page keeps the others."
)
@click.option(
    "--page/--no-page", default=True, help="Whether the tables are written into docs/performance.md."
)
@click.option(
    "--quick", is_flag=True, help="A smoke run of a minute or two: small sizes, the page is left alone."
)
def main(
    events: int,
    small: int,
    pairs: int,
    letters: int,
    probes: int,
    seconds: int,
    minutes: float,
    gigabytes: float,
    rows: int,
    only: tuple[str, ...],
    page: bool,
    quick: bool,
) -> None:
    """Measure, print the table, and write what was measured into docs/performance.md."""
    if quick:
        events, small, pairs, letters, probes, seconds, minutes = 50_000, 20_000, 1, 2_000, 3, 5, 0.5
        gigabytes, rows = 0.2, 200_000
    machine = describe()
    print(machine, flush=True)
    parts = only or PARTS
    found: dict[str, list[Line]] = {}
    started = time.perf_counter()
    with scratch_platform() as platform:
        if "path" in parts or "quality" in parts:
            with _topic(platform, "bench-path", events) as topic, tempfile.TemporaryDirectory() as scratch:
                if "path" in parts:
                    pairs_measured = path.measure(platform, topic, Path(scratch), pairs)
                    _print_stages(pairs_measured[-1])
                    found["path"] = path.lines(pairs_measured)
                if "quality" in parts:
                    with place(platform, topic) as settings:
                        carry(settings, path.pids(platform))
                        found["quality"] = quality.lines(quality.measure(settings))
        if "recovery" in parts:
            with _topic(platform, "bench-recovery", events) as topic:
                found["recovery"] = recovery.lines(recovery.measure(platform, topic, pairs))
        if "dead-letters" in parts:
            with _topic(platform, "bench-letters", 0) as topic:
                found["dead-letters"] = dead_letters.lines(dead_letters.measure(platform, topic, letters))
        if "scaling" in parts:
            with _topic(platform, "bench-small", small) as topic:
                little = scaling.measure(platform, topic)
            with _topic(platform, "bench-large", small * GROWTH) as topic:
                much = scaling.measure(platform, topic)
            found["scaling"] = scaling.lines(little, much)
        if "latency" in parts:
            found["latency"] = latency.lines(latency.measure(platform, probes))
        if "gateway" in parts:
            with _topic(platform, "bench-gateway", 0) as topic:
                found["gateway"] = gateway.lines(gateway.measure(platform, topic, seconds, minutes))
        if "backups" in parts:
            found["backups"] = backups.lines(backups.measure(platform, gigabytes, rows, pairs))
    lines = [line for part in found.values() for line in part]
    print(f"\n{table(lines)}\n\nTaken in {(time.perf_counter() - started) / 60:.1f} minutes.")
    if page and not quick:
        write_page(machine, found)


@contextlib.contextmanager
def _topic(platform: Platform, prefix: str, events: int) -> Iterator[str]:
    settings = settings_of(platform, kafka_topic=f"{prefix}-{time.time_ns()}")
    create_topic(settings, settings.kafka_topic)
    started = time.perf_counter()
    if events:
        produce(settings, events)
    print(f"  {prefix}: {events:,} events produced in {time.perf_counter() - started:.0f} s", flush=True)
    try:
        yield settings.kafka_topic
    finally:
        delete_topic(settings)


def _print_stages(pair: path.Pair) -> None:
    counts = pair.path.counts
    print(
        f"  µs/event by step, of {counts.seconds / counts.records * 1e6:.2f} (steps overlap): wall, CPU of the run"
    )
    for name, (wall, cpu) in sorted(counts.stages.items()):
        print(f"    {name:<32} {wall / counts.records * 1e6:6.2f} {cpu / counts.records * 1e6:6.2f}")


if __name__ == "__main__":
    main()
