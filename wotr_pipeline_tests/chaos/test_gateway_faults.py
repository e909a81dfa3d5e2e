"""The gateway under load while a store is away, or while it is killed itself: what was acknowledged is there, once."""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline_tests.gateway.conftest import Edge, running
from wotr_pipeline_tests.operations.dead_letters.scenario import carry, copies
from wotr_pipeline_tests.produced import event
from wotr_pipeline_tests.topics import wait_until

pytestmark = pytest.mark.chaos
PRODUCERS = 4
NDJSON = {"Content-Type": "application/x-ndjson"}
ENOUGH = 300


class Load:
    """Producers as they should be: each sends small batches, and repeats what was not acknowledged, with the same ids."""

    def __init__(self, edge: Edge) -> None:
        self.acknowledged: list[str] = []
        self.refused: Counter[int] = Counter()
        """Answers that were no acknowledgement; 0: none at all."""
        self.repeats = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._produce, args=(edge.client(Scope.INGEST), number))
            for number in range(PRODUCERS)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.acknowledged) > ENOUGH)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Wait until events are acknowledged again."""
        before = len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) > before + ENOUGH)

    def _produce(self, client: httpx.Client, number: int) -> None:
        for count in itertools.count():
            if self._stop.is_set():
                return
            names = [f"load-{number}-{count}-{n}" for n in range(5)]
            while not self._send(client, names):
                self.repeats += 1
                if self._stop.wait(0.1):
                    return

    def _send(self, client: httpx.Client, names: list[str]) -> bool:
        try:
            answer = client.post("/ingest/batch", content=b"\n".join(map(event, names)), headers=NDJSON)
        except httpx.TransportError:
            self.refused[0] += 1
            return False
        if answer.status_code != 202:
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            self.refused[503] += 1
            return False
        told = answer.json()
        assert told["accepted"] + told["repeated"] == len(names)
        self.acknowledged += names
        return True


@pytest.fixture
def edge(platform: Settings, servers: Platform, tmp_path: Path) -> Iterator[Edge]:
    with running(servers, tmp_path) as edge:
        yield edge


def assert_each_once(edge: Edge, load: Load) -> None:
    carry(edge.settings)
    rows = copies(edge.settings)
    assert {rows.get(name, 0) for name in load.acknowledged} == {1}
    assert set(rows.values()) == {1}, "what was sent and not acknowledged may be there, once"


@pytest.mark.parametrize("store", ["kafka", "postgres"])
def test_while_it_cannot_take_events_it_says_so_and_none_is_lost_or_doubled(
    edge: Edge, servers: Platform, store: str
) -> None:
    with Load(edge) as load:
        servers.stop(store)
        wait_until(lambda: load.refused[503] > PRODUCERS)
        servers.up([store])
        load.goes_on()
    assert load.repeats
    assert_each_once(edge, load)


@pytest.mark.parametrize("store", ["objects", "clickhouse"])
def test_a_store_behind_kafka_may_be_away_and_no_sender_notices(
    edge: Edge, servers: Platform, store: str
) -> None:
    with Load(edge) as load:
        servers.stop(store)
        load.goes_on()
        servers.up([store])
        load.goes_on()
    assert not load.refused
    assert_each_once(edge, load)


def test_a_gateway_killed_under_load_has_acknowledged_nothing_that_is_not_there(edge: Edge) -> None:
    with Load(edge) as load:
        edge.kill()
        wait_until(lambda: load.refused[0] > PRODUCERS)
        edge.start()
        load.goes_on()
    assert_each_once(edge, load)


def test_a_broker_killed_under_load_costs_time_and_no_event(edge: Edge, servers: Platform) -> None:
    with Load(edge) as load:
        servers.kill("kafka")
        servers.wait_ready("kafka")
        load.goes_on()
    assert_each_once(edge, load)
