"""What the collector promises about sources that do not answer, or answer what nobody expected."""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.gateway.collector import Collector
from wotr_pipeline.gateway.metrics import Metrics
from wotr_pipeline.gateway.overview import Overviews
from wotr_pipeline.gateway.probes import Probes
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.warehouse import Warehouse

SOURCES = ("health", "kafka", "ledger", "dead_letters", "warehouse", "operations")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings behind whose addresses nobody answers: the port is held, and nothing listens on it."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        yield Settings(
            kafka_bootstrap=f"127.0.0.1:{port}",
            minio_endpoint=f"http://127.0.0.1:{port}",
            postgres_port=port,
            clickhouse_port=port,
        )


def _collector(settings: Settings, metrics: Metrics) -> Collector:
    probes, ledger, letters = Probes(settings), Ledger(settings), DeadLetterRegister(settings)
    operations = OperationsLog(settings)
    overview = Overviews(settings, probes, ledger, letters, operations, Warehouse(settings))
    return Collector(settings, metrics, probes, overview, ledger, letters, operations)


def _read_at(metrics: Metrics, source: str) -> float | None:
    return metrics.registry.get_sample_value("wotr_collected_timestamp_seconds", {"source": source})


def _run(collector: Collector, until: Callable[[], bool]) -> None:
    """Let it collect until the condition holds; fails if it ends by itself."""

    async def watched() -> None:
        work = asyncio.create_task(collector.run())
        try:
            async with asyncio.timeout(60):
                while not until():
                    assert not work.done(), work.exception()
                    await asyncio.sleep(0.01)
        finally:
            work.cancel()

    asyncio.run(watched())


def test_what_was_never_read_is_not_told_as_zero(nowhere: Settings) -> None:
    metrics = Metrics()
    _collector(nowhere, metrics)
    for name in ("kafka_status", "wotr_data_quality_score", "wotr_maintenance_ended_timestamp_seconds"):
        assert math.isnan(metrics.registry.get_sample_value(name) or 0), name


def test_a_source_that_was_never_read_grows_old_from_the_start(nowhere: Settings) -> None:
    metrics = Metrics()
    collector = _collector(nowhere, metrics)
    _run(collector, lambda: metrics.registry.get_sample_value("postgres_status") == 0)
    assert all(_read_at(metrics, source) for source in SOURCES)


def test_a_fault_in_one_source_does_not_stop_the_others(
    nowhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Collector) -> None:
        raise ValueError("a fault")

    often = nowhere.model_copy(update={"wotr_collect_seconds": 0.01})
    for source in ("_kafka", "_ledger", "_letters", "_warehouse"):
        broken_source: Callable[[Collector], Awaitable[None]] = broken
        monkeypatch.setattr(Collector, source, broken_source)
    metrics = Metrics()
    rounds: set[float | None] = set()

    def three_rounds() -> bool:
        rounds.add(_read_at(metrics, "health"))
        return len(rounds) > 3

    _run(_collector(often, metrics), three_rounds)
