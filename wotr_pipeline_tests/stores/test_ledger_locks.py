"""One writer a batch and one loader a table, also when writers race, hang or are killed."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch, PlannedRange
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.ledger import Ledger, LedgerWriter, LockLost
from wotr_pipeline.stores.ledger_database import LockClass

from ..conftest import environment_of

SHA256 = "0123456789abcdef" * 4

ANOTHER_RUN = """
import sys
from wotr_pipeline.config import load_settings
from wotr_pipeline.stores.ledger import Ledger

with Ledger(load_settings()) as ledger, ledger.writer("another-process") as writer:
    with writer.load_lock(5):
        print(writer.claim(ledger.batch(sys.argv[1])).state, flush=True)
        sys.stdin.read()
"""


@contextmanager
def another_process_holding(settings: Settings, batch: Batch) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed the batch and holds the load lock, until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", ANOTHER_RUN, batch.batch_id],
        env=environment_of(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "PLANNED\n"
            yield process
        finally:
            process.kill()


def hours(ledger: Ledger, batch: Batch, now: datetime | None = None) -> list[datetime]:
    return [due.hour for due in ledger.hours_to_run(batch.topic, now or datetime.now(UTC))]


def test_a_killed_process_gives_back_its_locks_and_its_end_is_counted(
    ledger: Ledger, ledger_settings: Settings, writer: LedgerWriter, planned: Batch, database: sa.Engine
) -> None:
    with another_process_holding(ledger_settings, planned) as process:
        assert writer.claim(planned) is None
        assert hours(ledger, planned) == []
        with pytest.raises(TransientError, match="held by 'wotr run another-process'"):
            with writer.load_lock(0):
                pass
        process.kill()
        process.wait(timeout=30)
    with database.begin() as connection:
        # PostgreSQL notices the closed socket at once, but not in the same instant: wait for the lock.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LockClass.BATCH, planned.id)))
    assert hours(ledger, planned) == [planned.hour]
    claimed = writer.claim(planned)
    assert claimed is not None
    assert (claimed.attempts, claimed.crashes) == (2, 1)
    with writer.load_lock(30):
        pass


def test_of_many_racing_writers_each_batch_has_one(ledger: Ledger, topic: str, hour: datetime) -> None:
    planned = ledger.plan(PlannedRange(topic, 0, first, first, hour) for first in range(30))
    start = threading.Barrier(6)
    won: list[int] = []

    def race(writer: LedgerWriter) -> None:
        start.wait(timeout=30)
        for batch in planned:
            claimed = writer.claim(batch)
            if claimed is not None:
                won.append(claimed.id)

    # Two threads each for three runs: neither runs nor threads of a run may share a batch.
    with ledger.writer("run-a") as a, ledger.writer("run-b") as b, ledger.writer("run-c") as c:
        racers = [threading.Thread(target=race, args=(writer,)) for writer in (a, b, c, a, b, c)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(timeout=60)
        assert sorted(won) == sorted(batch.id for batch in planned)
        assert [batch.attempts for batch in ledger.batches(hour)] == [1] * 30
    assert [batch.claimed_by for batch in ledger.batches(hour)] == [None] * 30


def test_a_lost_connection_is_lost_for_good(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, lose_connection: Callable[[str], None]
) -> None:
    lost = ledger.writer("run-lost").__enter__()
    claimed = lost.claim(planned)
    assert claimed is not None
    lost.check_alive()
    lose_connection("run-lost")
    taken = writer.claim(planned)
    assert taken is not None
    # The first call meets the loss; the later ones must not reconnect, without the locks, and go on.
    calls: list[Callable[[], object]] = [
        lost.check_alive,
        lost.check_alive,
        lambda: lost.landed(claimed, 1, "raw/x", SHA256, 1),
        lambda: lost.failed(claimed, "away"),
        lambda: lost.reopen([planned.batch_id], "why"),
        lambda: lost.load_lock(1).__enter__(),
        lambda: lost.__exit__(None, None, None),
    ]
    for call in calls:
        with pytest.raises(LockLost, match="Run run-lost has lost its connection"):
            call()
    assert ledger.batch(planned.batch_id) == taken


def test_a_write_is_fenced_by_the_attempt_even_if_locks_failed(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, database: sa.Engine
) -> None:
    claimed = writer.claim(planned)
    assert claimed is not None
    with database.begin() as connection:
        connection.execute(
            sa.text("UPDATE ingest_batches SET attempts = attempts + 1 WHERE id = :id"), {"id": planned.id}
        )
    with pytest.raises(PermanentError, match="someone else changed it"):
        writer.landed(claimed, 1, "raw/x", SHA256, 1)
    assert ledger.batch(planned.batch_id).raw_key is None
    with database.begin() as connection:
        connection.execute(
            sa.text("UPDATE ingest_batches SET attempts = attempts - 1 WHERE id = :id"), {"id": planned.id}
        )


def test_one_run_loads_at_a_time(ledger: Ledger, writer: LedgerWriter) -> None:
    with ledger.writer("run-2") as other:
        with writer.load_lock(1):
            with pytest.raises(TransientError, match="held by 'wotr run run-1'"), other.load_lock(0):
                pass
            with pytest.raises(TransientError, match="Another thread of run run-1"), writer.load_lock(0):
                pass
        with other.load_lock(1):
            pass


def test_who_waits_for_the_load_lock_gets_it_and_holds_up_no_other_thread(
    ledger: Ledger, writer: LedgerWriter, planned: Batch
) -> None:
    loaded = threading.Event()
    with ledger.writer("run-2") as other:

        def load() -> None:
            with writer.load_lock(60):
                loaded.set()

        with other.load_lock(1):
            waiting = threading.Thread(target=load)
            waiting.start()
            claimed = writer.claim(planned)
            assert claimed is not None
            assert writer.landed(claimed, 1, "raw/x", SHA256, 1)
            assert not loaded.is_set()
        assert loaded.wait(timeout=30)
        waiting.join(timeout=30)


def test_an_hour_is_due_until_a_living_writer_has_its_batches(
    ledger: Ledger, writer: LedgerWriter, planned: Batch
) -> None:
    claimed = writer.claim(planned)
    assert claimed is not None
    assert hours(ledger, planned) == []
    ledger.plan([PlannedRange(planned.topic, 0, 200, 200, planned.hour)])
    [due] = ledger.hours_to_run(planned.topic, datetime.now(UTC))
    assert (due.hour, due.batches, due.offsets) == (planned.hour, 1, 1)
    writer.release(claimed)
    [due] = ledger.hours_to_run(planned.topic, datetime.now(UTC))
    assert (due.batches, due.offsets, due.oldest_planned_at) == (2, 101, planned.planned_at)


def test_an_hour_that_a_living_writer_has_named_is_left_to_it(ledger: Ledger, planned: Batch) -> None:
    other_hour = datetime(2025, 1, 1, tzinfo=UTC)
    ledger.plan([PlannedRange(planned.topic, 0, 200, 200, other_hour)])
    with (
        ledger.writer("run-1", hour=planned.hour) as writer,
        ledger.writer("run-2", hour=planned.hour),  # two may
    ):
        assert hours(ledger, planned) == [other_hour]
        assert writer.claim(planned) is not None
    assert hours(ledger, planned) == [other_hour, planned.hour]


def test_a_batch_that_backs_off_is_not_due(ledger: Ledger, writer: LedgerWriter, planned: Batch) -> None:
    claimed = writer.claim(planned)
    assert claimed is not None
    not_before = writer.failed(claimed, "away").not_before
    assert not_before is not None
    assert hours(ledger, planned, not_before - timedelta(microseconds=1)) == []
    assert hours(ledger, planned, not_before) == [planned.hour]
    assert ledger.unfinished(planned.topic) == [ledger.batch(planned.batch_id)], "but it is unfinished"


def test_the_token_is_new_after_each_plan_attempt_and_reopening(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Callable[..., Batch]
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    tokens = []

    def note() -> None:
        [due] = ledger.hours_to_run(planned.topic, later)
        assert ledger.hours_to_run(planned.topic, later) == [due], "it does not change by itself"
        tokens.append(due.token)

    note()
    [other] = ledger.plan([PlannedRange(planned.topic, 0, 200, 299, planned.hour)])
    note()
    for batch in (planned, planned):
        claimed = writer.claim(batch)
        assert claimed is not None
        writer.failed(claimed, "away")
        note()
    claimed = writer.claim(other)
    assert claimed is not None
    writer.split(claimed, 250)
    note()
    claimed = writer.claim(planned)
    assert claimed is not None
    advance(writer, claimed, "LOADED")
    note()
    ledger.reopen([planned.batch_id], "rules-2")
    note()
    assert len(set(tokens)) == 7


def test_a_token_does_not_come_back_when_a_batch_is_done(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Callable[..., Batch]
) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    [other] = ledger.plan([PlannedRange(planned.topic, 0, 200, 299, planned.hour)])
    tokens = [ledger.hours_to_run(planned.topic, later)[0].token]
    claimed = writer.claim(planned)
    assert claimed is not None
    advance(writer, claimed, "LOADED")
    for _ in range(4):
        claimed = writer.claim(other)
        assert claimed is not None
        writer.release(claimed)
        tokens.append(ledger.hours_to_run(planned.topic, later)[0].token)
    assert len(set(tokens)) == 5, "a run key is good for one run"
