"""The whole path in a process of its own, as a run has it: from the plan to the last LOADED batch.

``carry(settings, engine_pids)`` starts ``python -m benchmarks.carry`` and watches it and the servers.

Belongs here: that process, and what is measured of it. Does not belong here: what is compared with it.
"""

import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from benchmarks.processes import Usage, Watch
from benchmarks.servers import environment_of
from wotr_pipeline.config import Settings

DEADLINE_SECONDS = 600


@dataclass(frozen=True)
class Counts:
    """What the process did, as the ledger has it, and how long it took from plan to last LOADED."""

    seconds: float
    records: int
    valid: int
    rejected: int
    duplicates: int
    stages: dict[str, tuple[float, float]]
    """Wall seconds and this process's CPU seconds in each step, all batches together; steps overlap."""


@dataclass(frozen=True)
class Carried:
    counts: Counts
    usage: Usage
    """Of the process itself ("python") and of the servers."""


def carry(settings: Settings, servers: Mapping[str, int]) -> Carried:
    """Carry everything that the topic holds, in a fresh process. ``servers``: process ids by name.

    Raises:
        RuntimeError: a batch was not loaded, or the process failed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.carry"],
        env=environment_of(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("The process that carries the events did not start; its error is above.")
        with Watch({"python": process.pid, **servers}) as usage:
            process.stdin.write("go\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        process.stdin.close()
        if process.wait(timeout=DEADLINE_SECONDS) != 0:
            raise RuntimeError("The process that carries the events failed; its error is above.")
    return Carried(Counts(**orjson.loads(answer)), usage)


def main() -> None:
    # Imported here: whoever only starts this process needs none of it.
    from benchmarks.stages import timed_stages
    from wotr_pipeline.assets.hour_run import HourRun, Outcome
    from wotr_pipeline.automation.planning import plan_batches
    from wotr_pipeline.checks import expectations
    from wotr_pipeline.config import load_settings
    from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
    from wotr_pipeline.stores.ledger import Ledger
    from wotr_pipeline.stores.objects import ObjectStore
    from wotr_pipeline.stores.warehouse import Warehouse

    settings = load_settings()
    expectations.warm()
    log = logging.getLogger("benchmarks")
    stages = timed_stages()
    with Ledger(settings) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        with KafkaOffsets(settings) as offsets:
            while plan_batches(offsets, ledger, settings, datetime.now(UTC)).ranges:
                pass
        outcomes: list[Outcome] = []
        for hour in sorted({batch.hour for batch in ledger.unfinished(settings.kafka_topic)}):
            run = HourRun(
                settings,
                ledger,
                ObjectStore(settings),
                Warehouse(settings),
                expectations.gate,
                "benchmark",
                log,
            )
            outcomes += run.catch_up(hour)
        seconds = time.perf_counter() - started
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
        batches = [outcome.batch for outcome in outcomes]
    counts = {
        "seconds": seconds,
        "records": sum(batch.records or 0 for batch in batches),
        "valid": sum(batch.valid or 0 for batch in batches),
        "rejected": sum(batch.rejected or 0 for batch in batches),
        "duplicates": sum(batch.duplicate or 0 for batch in batches),
        "stages": stages,
    }
    print(orjson.dumps(counts).decode(), flush=True)
    # A process that is gone cannot be asked for its CPU time.
    sys.stdin.read()


if __name__ == "__main__":
    main()
