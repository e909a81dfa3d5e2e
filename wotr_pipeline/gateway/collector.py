"""Puts into the metrics what the stores tell, every WOTR_COLLECT_SECONDS.

Each source is asked by itself and gives up by itself: one that is away keeps its last values, its timestamp in
``wotr_collected_timestamp_seconds`` stands still, and all others go on.

Belongs here: from what the stores say to gauges. Does not belong here: asking (``overview.py``, ``stores/``).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector as PrometheusCollector

from ..config import Settings
from ..events.reasons import Reason
from ..stores.batch import BatchState
from ..stores.dagster_instance import DagsterReader, DagsterState
from ..stores.dead_letter import OPEN
from ..stores.dead_letter_register import DeadLetterRegister
from ..stores.errors import StoreError
from ..stores.kafka_offsets import KafkaOffsets
from ..stores.ledger import Ledger
from ..stores.operations_log import STORES_WITH_BACKUPS, OperationsLog
from .metrics import Metrics
from .overview import Overviews
from .probes import Probes
from .shared_answer import SharedAnswer

PATIENCE_SECONDS = 8.0

_OTHER = "other"
"""Stands for reasons that other services made up."""
_REASONS = (*(reason.value for reason in Reason), _OTHER)
_log = structlog.get_logger(__name__)


class _Total(PrometheusCollector):
    """A counter that something else counts."""

    def __init__(self, name: str, told: str) -> None:
        self._name, self._told = name, told
        self.value: float | None = None

    def collect(self) -> Iterator[Metric]:
        """The counter, once it is known."""
        if self.value is not None:
            yield CounterMetricFamily(self._name, self._told, value=self.value)


class Collector:
    """Fills the gauges of one gateway."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        probes: Probes,
        overview: Overviews,
        ledger: Ledger,
        letters: DeadLetterRegister,
        operations: OperationsLog,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._probes = probes
        self._overview = overview
        self._dagster = DagsterReader()
        topic = settings.kafka_topic
        limit = timedelta(minutes=settings.wotr_fresh_minutes)

        def group_lag() -> dict[int, int]:
            with KafkaOffsets(settings) as offsets:
                done, held = offsets.committed(topic), offsets.watermarks(topic)
            return {
                partition: max(0, mark.high - max(done.get(partition, mark.low), mark.low))
                for partition, mark in held.items()
            }

        self._group_lag = SharedAnswer("Kafka", group_lag, fresh=0, patience=PATIENCE_SECONDS)
        self._stuck = SharedAnswer(
            "PostgreSQL", lambda: ledger.late(topic, limit), fresh=0, patience=PATIENCE_SECONDS
        )
        self._letters_ever = SharedAnswer(
            "PostgreSQL", letters.registered_ever, fresh=0, patience=PATIENCE_SECONDS
        )
        self._ended = SharedAnswer(
            "PostgreSQL", operations.last_maintenance_ended_at, fresh=0, patience=PATIENCE_SECONDS
        )
        self._state: SharedAnswer[DagsterState] = SharedAnswer(
            "Dagster", self._dagster.read, fresh=0, patience=2 * PATIENCE_SECONDS
        )
        self._waits: dict[str, float] = {}
        self._make_gauges(metrics)

    def _make_gauges(self, metrics: Metrics) -> None:
        gauge = metrics.gauge
        self._status = {
            store: gauge(f"{store}_status", f"1: {store} answers and would do its work; 0: it does not.")
            for store in ("postgres", "clickhouse", "minio", "kafka")
        }
        place = ("topic", "partition")
        self._lag = gauge("wotr_kafka_lag_records", "Records in Kafka that are in no raw object yet.", place)
        self._lag_of_group = gauge(
            "wotr_kafka_group_lag_records", "Records behind the consumer group's committed offset.", place
        )
        self._oldest = gauge(
            "wotr_oldest_unprocessed_seconds",
            "Age of the oldest event in Kafka that is not landed, or batch that is not loaded; 0: there is none.",
        )
        self._batches = gauge("wotr_ledger_batches", "Batches of the ledger by state.", ("state",))
        self._stuck_batches = gauge(
            "wotr_stuck_batches", "Unfinished batches that were planned more than WOTR_FRESH_MINUTES ago."
        )
        self._dead_letters = gauge("wotr_dead_letters", "Open dead letters.", ("state", "reason"))
        self._retries_stopped = gauge(
            "wotr_dead_letter_retries_stopped", "1: the kill switch of dead letters' retries is on."
        )
        self._score = gauge(
            "wotr_data_quality_score",
            "Share of valid rows among those of the last 24 hours, 0 to 1; 1 without rows.",
        )
        self._backup = gauge(
            "wotr_backup_verified_timestamp_seconds",
            "Moment whose state the newest verified backup of a store holds; absent: there is none.",
            ("store",),
        )
        self._restore = gauge(
            "wotr_backup_restore_seconds",
            "How long the newest verified backup of a store took to restore (RTO).",
            ("store",),
        )
        self._drill_failed = gauge(
            "wotr_backup_drill_failed",
            "1: the newest backup of a store could not be restored, or was not what it should be.",
            ("store",),
        )
        self._maintenance = gauge("wotr_maintenance_mode", "1: maintenance is on.")
        self._maintenance_ended = gauge(
            "wotr_maintenance_ended_timestamp_seconds", "When maintenance last ended; 0: never."
        )
        self._runs = gauge("wotr_dagster_runs", "Dagster's runs by status.", ("status",))
        self._heartbeat = gauge(
            "wotr_dagster_daemon_heartbeat_timestamp_seconds",
            "Last heartbeat of a Dagster daemon.",
            ("daemon",),
        )
        self._collected = gauge(
            "wotr_collected_timestamp_seconds",
            "When a source was last read for these metrics; if it never was, when the gateway started.",
            ("source",),
        )
        self._ever = _Total("wotr_dlq_messages", "Dead letters that were ever entered into the register.")
        metrics.registry.register(self._ever)

    async def run(self) -> None:
        """Collect for ever."""
        sources = {
            "health": self._health,
            "kafka": self._kafka,
            "ledger": self._ledger,
            "dead_letters": self._letters,
            "warehouse": self._warehouse,
            "operations": self._operations,
        }
        if self._dagster.configured:
            sources["dagster"] = self._of_dagster
        for name in sources:
            # One that never answers must grow old too.
            self._collected.labels(name).set_to_current_time()
        while True:
            await asyncio.gather(*(self._collect(name, source) for name, source in sources.items()))
            self._metrics.tick(time.monotonic())
            await asyncio.sleep(self._settings.wotr_collect_seconds)

    def close(self) -> None:
        """Close what only the collector uses."""
        self._dagster.close()

    async def _collect(self, name: str, source: Callable[[], Awaitable[None]]) -> None:
        try:
            await source()
        except StoreError as error:
            _log.info("not collected", source=name, error=str(error))
        except Exception:  # noqa: BLE001  (a fault in one source must not stop the statuses of all)
            _log.exception("not collected", source=name)
        else:
            self._collected.labels(name).set_to_current_time()

    async def _health(self) -> None:
        for store in (await self._probes.health()).stores:
            self._status[store.store].set(store.up)

    async def _kafka(self) -> None:
        topic = self._settings.kafka_topic
        behind = (await self._overview.lag.get()).value
        self._tell_oldest("kafka", behind.oldest)
        for partition in behind.partitions:
            self._lag.labels(topic, str(partition.partition)).set(partition.waiting)
        for number, records in (await self._group_lag.get()).value.items():
            self._lag_of_group.labels(topic, str(number)).set(records)

    async def _ledger(self) -> None:
        summary = (await self._overview.batches.get()).value.summary
        for state in BatchState:
            self._batches.labels(state.value).set(summary.of(state).batches)
        self._tell_oldest("ledger", summary.oldest_unfinished_planned_at)
        self._stuck_batches.set((await self._stuck.get()).value)

    def _tell_oldest(self, where: str, oldest: datetime | None) -> None:
        self._waits[where] = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
        self._oldest.set(max(self._waits.values()))

    async def _letters(self) -> None:
        found = (await self._overview.letters.get()).value
        counts = {(state, reason): 0 for state in OPEN for reason in _REASONS}
        for group in found.reasons:
            reason = group.reason if group.reason in _REASONS else _OTHER
            for state, letters in group.states.items():
                counts[state, reason] += letters
        for (state, reason), letters in counts.items():
            self._dead_letters.labels(state.value, reason).set(letters)
        self._retries_stopped.set(found.switch.stopped)
        self._ever.value = (await self._letters_ever.get()).value

    async def _warehouse(self) -> None:
        self._score.set(1 - (await self._overview.day.get()).value.failed_share)

    async def _operations(self) -> None:
        found = (await self._overview.operations.get()).value
        self._maintenance.set(found.maintenance is not None and found.maintenance.enabled)
        for store, backup in found.backups.items():
            self._backup.labels(store).set(backup.taken_at.timestamp())
            self._restore.labels(store).set(backup.restore_seconds or 0)
        for store in STORES_WITH_BACKUPS:
            self._drill_failed.labels(store).set(store in found.failed_drills)
        ended = (await self._ended.get()).value
        self._maintenance_ended.set(ended.timestamp() if ended else 0)

    async def _of_dagster(self) -> None:
        state = (await self._state.get()).value
        for status, runs in state.runs.items():
            self._runs.labels(status).set(runs)
        for daemon, at in state.heartbeats.items():
            self._heartbeat.labels(daemon).set(at)
