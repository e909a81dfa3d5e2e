"""A hundred thousand dead letters: entered, repaired by a class transformation, sent through again, resolved.

The desk works in a process of its own, whose memory is watched; the pipeline that carries what it sends is the
runs' own code in this process. Every event has a number for a timestamp, the fault that ``timestamp_from_epoch`` mends.

Belongs here: that measurement. Does not belong here: the desk (``wotr_pipeline/operations/dead_letters/``).
"""

import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from benchmarks.processes import Watch
from benchmarks.report import Line
from benchmarks.servers import environment_of, place
from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.servers.lifecycle import Platform

WANTED_SECONDS = 120.0
WANTED_BYTES = 1024**3
WHY = "measured"


@dataclass(frozen=True)
class Repaired:
    """Seconds of each step, and the most memory that the desk took, in bytes."""

    letters: int
    triage: float
    repair: float
    retry: float
    peak_rss: int

    @property
    def seconds(self) -> float:
        """From the first look to the last verdict."""
        return self.triage + self.repair + self.retry


def measure(platform: Platform, topic: str, letters: int) -> Repaired:
    """Reject ``letters`` events of an empty topic, then work them off.

    Raises:
        RuntimeError: a letter was not resolved, or the table does not hold each event once.
    """
    with place(platform, topic) as settings:
        _send(settings, letters)
        _carry(settings)
        desk = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dead_letters"],
            env=environment_of(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with desk, ThreadPoolExecutor(1) as waiting:
            assert desk.stdin is not None
            assert desk.stdout is not None
            answer = waiting.submit(desk.stdout.readline)
            with Watch({"desk": desk.pid}) as usage:
                while not answer.done():
                    _carry(settings)
                    time.sleep(0.5)
            desk.stdin.close()
        if not answer.result():
            raise RuntimeError("The process that works on the dead letters failed; its error is above.")
        told = orjson.loads(answer.result())
        _assert_loaded_once(settings, letters)
        if told.get("resolved") != letters:
            raise RuntimeError(f"{told.get('resolved', 0)} of {letters} dead letters were resolved.")
        return Repaired(letters, told["triage"], told["repair"], told["retry"], usage.peak_rss["desk"])


def _send(settings: Settings, letters: int) -> None:
    from wotr_pipeline.stores.kafka_producer import EventProducer

    note = "n" * 380
    with EventProducer(settings) as producer:
        for number in range(letters):
            payload = {"event_type": "api_call", "source": "bench", "data": {"number": number, "note": note}}
            producer.send(
                orjson.dumps({"id": f"letter-{number}", "timestamp": 1795420800, "payload": payload})
            )


def _carry(settings: Settings) -> None:
    """What sensor and runs do: plan, then bring every unfinished batch to LOADED."""
    from wotr_pipeline.assets.hour_run import HourRun
    from wotr_pipeline.automation.planning import plan_batches
    from wotr_pipeline.checks import expectations
    from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
    from wotr_pipeline.stores.ledger import Ledger
    from wotr_pipeline.stores.objects import ObjectStore
    from wotr_pipeline.stores.warehouse import Warehouse

    log = logging.getLogger("benchmarks")
    with Ledger(settings) as ledger, KafkaOffsets(settings) as offsets:
        plan_batches(offsets, ledger, settings, datetime.now(UTC))
        for hour in sorted({batch.hour for batch in ledger.unfinished(settings.kafka_topic)}):
            objects, warehouse = ObjectStore(settings), Warehouse(settings)
            run = HourRun(settings, ledger, objects, warehouse, expectations.gate, "benchmark", log)
            for outcome in run.catch_up(hour):
                if outcome.error is not None:
                    raise outcome.error


def _assert_loaded_once(settings: Settings, letters: int) -> None:
    from wotr_pipeline.stores.warehouse import Warehouse

    query = "SELECT count(), uniqExact(id) FROM ingested_data WHERE validation_status = 'valid'"
    rows, ids = Warehouse(settings).client.query(query).result_rows[0]
    if (rows, ids) != (letters, letters):
        raise RuntimeError(f"{rows} valid rows of {ids} ids, {letters} of each were expected.")


def lines(measured: Repaired) -> list[Line]:
    """The promises on dead letters."""
    return [
        Line(
            f"{measured.letters:,} dead letters: triage {measured.triage:.0f} s, repair {measured.repair:.0f} s, "
            f"retry until every verdict {measured.retry:.0f} s",
            f"{measured.seconds:.0f} s",
            f"below {WANTED_SECONDS:.0f} s",
            measured.seconds < WANTED_SECONDS,
        ),
        Line(
            "peak memory of the desk",
            f"{measured.peak_rss / 2**20:,.0f} MiB",
            f"below {WANTED_BYTES / 2**30:.0f} GiB",
            measured.peak_rss < WANTED_BYTES,
        ),
    ]


def main() -> None:
    from wotr_pipeline.events.repair import Transformation
    from wotr_pipeline.operations.dead_letters.repairing import Repairs
    from wotr_pipeline.operations.dead_letters.retrying import Retry
    from wotr_pipeline.operations.dead_letters.triage import Triage
    from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
    from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
    from wotr_pipeline.stores.objects import ObjectStore

    settings = load_settings()
    log, objects = logging.getLogger("benchmarks"), ObjectStore(settings)
    with DeadLetterRegister(settings) as register:
        started = time.perf_counter()
        Triage(settings, register, objects, "bench", log).run()
        entered = time.perf_counter()
        mend = Transformation("timestamp_from_epoch")
        Repairs(register, objects, "bench").run(LetterFilter(), mend, WHY, apply=True)
        repaired = time.perf_counter()
        Retry(settings, register, objects, "bench", log).run(LetterFilter(), WHY, wait=True)
        retried = time.perf_counter()
        resolved = register.by_state()[LetterState.RESOLVED]
    told = {
        "triage": entered - started,
        "repair": repaired - entered,
        "retry": retried - repaired,
        "resolved": resolved,
    }
    print(orjson.dumps(told).decode(), flush=True)
    # A process that is gone cannot be asked for its memory.
    sys.stdin.read()


if __name__ == "__main__":
    main()
