"""GET /health and its two sisters: what they say when stores are there, away, or accept and never answer."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.gateway.probes import Probes
from wotr_pipeline.gateway.shared_answer import DEAR, PATIENCE_SECONDS, SharedAnswer
from wotr_pipeline.stores.errors import StoreError, TransientError
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.thresholds import NAMES
from wotr_pipeline_tests.topics import wait_until

from .conftest import Edge, beside

STORES = ("postgres", "minio", "kafka", "clickhouse")
CLOSED = 1


def elsewhere(store: str, port: int) -> dict[str, Any]:
    """Settings that look for a store at another port."""
    return {
        "postgres": {"postgres_port": port},
        "minio": {"minio_endpoint": f"http://127.0.0.1:{port}"},
        "kafka": {"kafka_bootstrap": f"127.0.0.1:{port}"},
        "clickhouse": {"clickhouse_port": port},
    }[store]


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


def downs(settings: Settings) -> set[str]:
    async def ask() -> set[str]:
        return {store.store for store in (await Probes(settings).health()).stores if not store.up}

    return asyncio.run(ask())


def test_a_platform_that_works_is_healthy_ready_and_alive_for_anyone(edge: Edge) -> None:
    with edge.client() as nobody:
        health = nobody.get("/health")
        assert health.status_code == 200
        assert health.json() == {"status": "healthy", "details": dict.fromkeys(STORES, "up"), "reasons": {}}
        assert health.headers["cache-control"] == "no-store"
        assert nobody.get("/health/ready").json() == {"status": "ready", "reasons": {}}
        assert nobody.get("/health/live").json() == {"status": "alive"}


@pytest.mark.parametrize("store", STORES)
def test_each_store_that_is_away_is_named_and_the_others_are_not(edge: Edge, store: str) -> None:
    assert downs(edge.settings.model_copy(update=elsewhere(store, CLOSED))) == {store}


@pytest.mark.parametrize("store", STORES)
def test_a_store_that_accepts_and_never_answers_is_down_for_everyone_with_one_thread(
    edge: Edge, store: str
) -> None:
    with silent_server() as port:
        probes = Probes(edge.settings.model_copy(update=elsewhere(store, port)), patience=0.1)

        def asking() -> int:
            return sum(thread.name == f"ask {NAMES[store]}" for thread in threading.enumerate())

        async def ask_often() -> None:
            for _ in range(5):
                found = await asyncio.gather(*(probes.health() for _ in range(4)))
                assert all(health.of(store).up is False for health in found)
                assert asking() <= 1
            async with asyncio.timeout(30):
                while asking():  # The probe gives up by itself; who asks then begins a new one.
                    await asyncio.sleep(0.05)
            assert (await probes.health()).of(store).up is False

        asyncio.run(ask_often())


@pytest.mark.parametrize(
    ("changed", "store"),
    [
        ({"kafka_topic": "no-such-topic"}, "kafka"),
        ({"minio_bucket": "no-such-bucket"}, "minio"),
        ({"postgres_db": "no_such_database"}, "postgres"),
        ({"clickhouse_db": "no_such_database"}, "clickhouse"),
        ({"clickhouse_user": "nobody"}, "clickhouse"),
    ],
)
def test_an_open_port_is_not_enough(edge: Edge, changed: dict[str, str], store: str) -> None:
    assert downs(edge.settings.model_copy(update=changed)) == {store}


def test_health_says_503_and_why_without_an_address_a_user_or_a_password(edge: Edge, tmp_path: Path) -> None:
    with beside(edge, tmp_path, clickhouse_port=CLOSED) as other, other.client() as nobody:
        answer = nobody.get("/health")
        assert answer.status_code == 503
        assert answer.json()["status"] == "unhealthy"
        assert answer.json()["details"] == dict.fromkeys(STORES, "up") | {"clickhouse": "down"}
        assert answer.json()["reasons"] == {"clickhouse": "It does not answer."}
        assert nobody.get("/health/ready").status_code == 200, "events can be taken without ClickHouse"
        assert nobody.get("/health/live").status_code == 200
        for secret in ("127.0.0.1", edge.settings.clickhouse_user, "Traceback"):
            assert secret not in answer.text


def test_it_is_not_ready_without_kafka_or_while_maintenance_refuses_events(
    edge: Edge, tmp_path: Path
) -> None:
    changed = {"kafka_bootstrap": f"127.0.0.1:{CLOSED}", "wotr_maintenance_accepts": False}
    with beside(edge, tmp_path, **changed) as other, other.client() as nobody:
        log = OperationsLog(edge.settings)
        log.turn_maintenance(True, "ann", "a secret plan")
        log.close()
        wait_until(lambda: "maintenance" in nobody.get("/health/ready").json()["reasons"], 20)
        answer = nobody.get("/health/ready")
        assert answer.status_code == 503
        assert set(answer.json()["reasons"]) == {"kafka", "maintenance"}
        assert "secret plan" not in answer.text
        assert nobody.get("/health/live").status_code == 200


def test_a_question_is_asked_once_for_all_who_want_to_know_and_again_when_it_is_old() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        return len(asked)

    async def many() -> None:
        shared = SharedAnswer("a store", ask, fresh=3600)
        answers = await asyncio.gather(*(shared.get() for _ in range(50)))
        assert {answer.value for answer in answers} == {1}
        old = SharedAnswer("a store", ask, fresh=0)
        while (await old.get()).value < 4:
            await asyncio.sleep(0.001)

    asyncio.run(many())


def test_an_answer_that_was_dear_is_kept_for_longer() -> None:
    async def dear() -> None:
        asked: list[int] = []

        def ask() -> int:
            asked.append(1)
            threading.Event().wait(0.05)
            return len(asked)

        shared = SharedAnswer("a store", ask, fresh=0, times=DEAR)
        for _ in range(20):
            assert (await shared.get()).value == 1

    asyncio.run(dear())


def test_who_asks_while_a_store_hangs_is_told_so_and_hears_when_it_is_back() -> None:
    released = threading.Event()

    async def hang() -> None:
        shared = SharedAnswer("Kafka", released.wait, fresh=3600, patience=0.1)
        for _ in range(3):
            with pytest.raises(TransientError, match="Kafka has not answered"):
                await shared.get()
        released.set()
        while True:
            with contextlib.suppress(StoreError):
                assert (await shared.get()).value
                return

    assert PATIENCE_SECONDS <= 2
    asyncio.run(hang())
