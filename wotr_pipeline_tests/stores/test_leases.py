"""Leases: one holder at a time, named to whoever else comes, and nobody in the way once it was killed."""

import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import pytest
import sqlalchemy as sa

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.leases import LEASE_DATABASE, LeaseTakenError, holder_of, lease
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline_tests.forked import FORKING, Forked
from wotr_pipeline_tests.topics import wait_until

NAME = "a thing"


def test_another_one_is_refused_and_told_who_holds_it(ledger_space: Settings) -> None:
    with lease(ledger_space, NAME, "run one"):
        with pytest.raises(LeaseTakenError, match="under way already, by run one"):
            with lease(ledger_space, NAME, "run two"):
                pass
        with lease(ledger_space, "another thing", "run two"):
            pass
        assert holder_of(ledger_space, NAME) == "run one"
    assert holder_of(ledger_space, NAME) is None


def hold(settings: Settings, held: Connection) -> None:
    with lease(settings, NAME, "a run that is killed"):
        held.send(NAME)
        signal.pause()


def test_after_a_kill_the_next_one_begins_at_once(ledger_space: Settings) -> None:
    heard, held = FORKING.Pipe(duplex=False)
    for _ in range(5):
        with Forked(hold, ledger_space, held) as holder:
            assert heard.poll(60)
            assert heard.recv() == NAME
            holder.process.kill()
            with lease(ledger_space, NAME, "the next run") as mine:
                mine.check()


def waiting(settings: Settings) -> bool:
    engine = connect(settings.model_copy(update={"postgres_db": LEASE_DATABASE}), "tests", dedicated=True)
    with engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wotr lease the next run' AND wait_event_type = 'Lock'"
        found = connection.scalar(sa.text(query))
    engine.dispose()
    return bool(found)


def test_one_that_is_about_to_end_is_waited_for(ledger_space: Settings) -> None:
    def take() -> None:
        with lease(ledger_space, NAME, "the next run"):
            pass

    with ThreadPoolExecutor(1) as pool:
        with lease(ledger_space, NAME, "the run before"):
            next_one = pool.submit(take)
            wait_until(lambda: waiting(ledger_space))
        next_one.result(30)
