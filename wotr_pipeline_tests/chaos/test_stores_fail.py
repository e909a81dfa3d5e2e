"""Each store in turn is killed under a run, answers late, or breaks off half way: nothing is lost or doubled."""

from datetime import datetime
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline_tests.chaos.scenario import (
    HOUR,
    assert_accounted_exactly_once,
    catch_up,
    produce,
    recover,
    run_hour,
)
from wotr_pipeline_tests.chaos.wire import wire_to
from wotr_pipeline_tests.forked import FORKING, Forked

pytestmark = pytest.mark.chaos


@pytest.fixture
def small_batches(space: Settings) -> Settings:
    return space.model_copy(update={"wotr_batch_events": 8})


def run_and_tell(settings: Settings, hour: datetime, loaded: Connection) -> None:
    run_hour(settings, hour, loaded=loaded)


@pytest.mark.parametrize("store", ["kafka", "objects", "postgres", "clickhouse"])
def test_a_store_killed_under_a_run_costs_time_and_no_event(
    small_batches: Settings, servers: Platform, store: str
) -> None:
    produce(small_batches)
    heard, loaded = FORKING.Pipe(duplex=False)
    with Forked(run_and_tell, small_batches, HOUR, loaded) as run:
        assert heard.poll(60)
        servers.kill(store)
        run.ended()
    servers.wait_ready(store)
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)


def test_an_object_store_that_breaks_off_half_way_leaves_no_half_object(small_batches: Settings) -> None:
    produce(small_batches)
    address = urlsplit(small_batches.minio_endpoint)
    with wire_to(str(address.hostname), int(address.port or 0)) as wire:
        through = small_batches.model_copy(update={"minio_endpoint": f"http://127.0.0.1:{wire.port}"})
        wire.breaks_after = 1500  # after the first HEAD, in the middle of the object
        outcomes = catch_up(through)
        assert wire.broken > 0
        assert any(outcome.error for outcome in outcomes)
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)


def test_a_clickhouse_that_answers_late_is_waited_for(small_batches: Settings) -> None:
    produce(small_batches)
    with wire_to(small_batches.clickhouse_host, small_batches.clickhouse_port) as wire:
        wire.delay = 0.02
        slow = small_batches.model_copy(update={"clickhouse_host": "127.0.0.1", "clickhouse_port": wire.port})
        assert [outcome.error for outcome in catch_up(slow) if outcome.error] == []
    assert_accounted_exactly_once(small_batches)


def test_a_clickhouse_connection_cut_in_a_statement_is_tried_again(small_batches: Settings) -> None:
    produce(small_batches)
    with wire_to(small_batches.clickhouse_host, small_batches.clickhouse_port) as wire:
        wire.breaks_after = 20_000  # somewhere in the middle of the batches
        cut = small_batches.model_copy(update={"clickhouse_host": "127.0.0.1", "clickhouse_port": wire.port})
        outcomes = catch_up(cut)
        assert wire.broken > 0
        assert any(outcome.error for outcome in outcomes)
    recover(small_batches)
    assert_accounted_exactly_once(small_batches)
