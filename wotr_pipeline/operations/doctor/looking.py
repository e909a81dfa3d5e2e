"""Asks every source side by side; one that hangs costs the others nothing.

Each question has a thread of its own that may be left behind: the process ends without waiting for it.

Belongs here: which questions there are, and how long they may take. Does not belong here: what the answers mean.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import requests

from wotr_pipeline.config import Settings
from wotr_pipeline.stores import event_counts
from wotr_pipeline.stores.batch import UNFINISHED, BatchState
from wotr_pipeline.stores.dagster_instance import DagsterReader, DagsterState
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.engine_condition import Disk, engine_condition, failures
from wotr_pipeline.stores.errors import StoreError, TransientError
from wotr_pipeline.stores.lag import Lag, lag
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.postgres_condition import postgres_condition
from wotr_pipeline.stores.probes import probes
from wotr_pipeline.stores.warehouse import Warehouse

from .evidence import Batches, Evidence, Failures, Letters, Operations, Part, ServiceHealth, ServiceState

PATIENCE_SECONDS = 6.0
"""For everything together."""
HTTP_SECONDS = 3
LONG_SECONDS = 30.0
"""From when on a query counts as long."""
FIRST_BATCHES = 3

T = TypeVar("T")
_log = logging.getLogger(__name__)


class _Question(threading.Thread, Generic[T]):
    """One question and its answer."""

    def __init__(self, what: str, ask: Callable[[], T]) -> None:
        super().__init__(name=f"doctor asks {what}", daemon=True)
        self.what = what
        self._ask = ask
        self._began = time.monotonic()
        self._answer: Part[T] | None = None
        self.start()

    def run(self) -> None:
        try:
            self._answer = Part(self._ask(), "", self._milliseconds())
        except StoreError as error:
            self._answer = Part(None, str(error), self._milliseconds())
        except Exception as error:  # noqa: BLE001 - a fault in one question must not hide the answers to the others
            _log.debug("a question of the doctor failed", exc_info=error)
            self._answer = Part(None, f"The question failed ({type(error).__name__}).", self._milliseconds())

    def answer(self, until: float) -> Part[T]:
        """What came before ``until`` (monotonic)."""
        self.join(max(0.0, until - time.monotonic()))
        return self._answer or Part(
            None, f"No answer within {PATIENCE_SECONDS:.0f} seconds.", self._milliseconds()
        )

    def _milliseconds(self) -> int:
        return round((time.monotonic() - self._began) * 1000)


def look(settings: Settings, data_dir: Path) -> Evidence:
    """Look at everything; never raises for a source that is away, and takes ``PATIENCE_SECONDS`` at most."""
    began, until = datetime.now(UTC), time.monotonic() + PATIENCE_SECONDS
    asked: dict[str, Callable[[], None]] = {
        **probes(settings),
        "gateway": lambda: _answers(f"{settings.wotr_gateway_url.rstrip('/')}/health/live"),
        "dagster": lambda: _answers(
            f"{(settings.wotr_dagster_api_url or settings.wotr_dagster_url).rstrip('/')}/server_info"
        ),
    }
    services = {name: _Question(name, probe) for name, probe in asked.items()}
    behind = _Question("lag", lambda: _lag(settings))
    batches = _Question("batches", lambda: _batches(settings))
    letters = _Question("letters", lambda: _letters(settings))
    operations = _Question("operations", lambda: _operations(settings))
    postgres = _Question("postgres", lambda: postgres_condition(settings))
    engine = _Question("engine", lambda: engine_condition(Warehouse(settings), LONG_SECONDS))
    failed = _Question("failures", lambda: _failures(settings, began))
    dagster = _Question("dagster", _dagster)
    disk = _Question("disk", lambda: _disk(data_dir))
    return Evidence(
        now=began,
        services=tuple(_health(name, question.answer(until)) for name, question in services.items()),
        lag=behind.answer(until),
        batches=batches.answer(until),
        letters=letters.answer(until),
        operations=operations.answer(until),
        postgres=postgres.answer(until),
        engine=engine.answer(until),
        failures=failed.answer(until),
        dagster=dagster.answer(until),
        disk=disk.answer(until),
        seconds=time.monotonic() + PATIENCE_SECONDS - until,
    )


def _health(name: str, answer: Part[None]) -> ServiceHealth:
    state = ServiceState.DOWN if answer.away else ServiceState.UP
    return ServiceHealth(name, state, answer.away, answer.milliseconds)


def _answers(url: str) -> None:
    session = requests.Session()
    try:
        status = session.get(url, timeout=HTTP_SECONDS).status_code
    except requests.RequestException:
        raise TransientError("It does not answer.") from None
    finally:
        session.close()
    if status != 200:
        raise TransientError(f"It answers with status {status}.")


def _lag(settings: Settings) -> Lag:
    with Ledger(settings) as ledger:
        return lag(settings, ledger)


def _batches(settings: Settings) -> Batches:
    topic = settings.kafka_topic
    with Ledger(settings) as ledger:
        return Batches(
            ledger.summary(topic),
            tuple(ledger.oldest_in(topic, UNFINISHED, FIRST_BATCHES)),
            tuple(ledger.oldest_in(topic, (BatchState.QUARANTINED,), FIRST_BATCHES)),
        )


def _letters(settings: Settings) -> Letters:
    with DeadLetterRegister(settings) as register:
        return Letters(register.by_state(), register.switch())


def _operations(settings: Settings) -> Operations:
    log = OperationsLog(settings)
    try:
        return Operations(log.maintenance(), log.newest_verified_backups())
    finally:
        log.close()


def _failures(settings: Settings, now: datetime) -> Failures:
    warehouse = Warehouse(settings)
    return Failures(event_counts.last_hour(warehouse, now), failures(warehouse))


def _dagster() -> DagsterState | None:
    reader = DagsterReader()
    return reader.read() if reader.configured else None


def _disk(data_dir: Path) -> Disk | None:
    if not data_dir.exists():
        return None
    usage = shutil.disk_usage(data_dir)
    return Disk(str(data_dir), usage.free, usage.total)
