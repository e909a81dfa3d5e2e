"""Fixtures of the stores' tests: a ledger in a database of its own, shared by the tests of a session.

Tests keep apart by topic and by hour, so that none has to pay for a database.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch, PlannedRange
from wotr_pipeline.stores.ledger import Ledger, LedgerWriter, LockLost
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline_tests.conftest import EMPTY, new_ledger_space

_hours = itertools.count()

SHA256 = "0123456789abcdef" * 4


@pytest.fixture
def empty_ledger_settings(platform: Settings) -> Iterator[Settings]:
    with new_ledger_space(platform, EMPTY) as settings:
        yield settings


@pytest.fixture(scope="session")
def ledger_settings(platform: Settings) -> Iterator[Settings]:
    with new_ledger_space(platform) as settings:
        yield settings


@pytest.fixture(scope="session")
def ledger(ledger_settings: Settings) -> Iterator[Ledger]:
    with Ledger(ledger_settings) as ledger:
        yield ledger


@pytest.fixture(scope="session")
def database(ledger_settings: Settings) -> Iterator[sa.Engine]:
    """The ledger's database for those who go past the ledger."""
    engine = connect(ledger_settings, "wotr tests")
    yield engine
    engine.dispose()


@pytest.fixture
def topic() -> str:
    return f"topic-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def hour() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=next(_hours))


@pytest.fixture
def planned(ledger: Ledger, topic: str, hour: datetime) -> Batch:
    """A PLANNED batch of offsets 100 to 199, the first of its topic."""
    return ledger.plan([PlannedRange(topic, 0, 100, 199, hour)])[0]


@pytest.fixture
def writer(ledger: Ledger) -> Iterator[LedgerWriter]:
    with ledger.writer("run-1") as writer:
        yield writer


@pytest.fixture
def advance() -> Callable[[LedgerWriter, Batch, str], Batch]:
    """Take a claimed batch on to a state, by the steps of a run: 100 records, 90 valid, 7 duplicates."""

    def to(writer: LedgerWriter, batch: Batch, state: str) -> Batch:
        if batch.state == state:
            return batch
        if state == "QUARANTINED":
            return writer.quarantined(batch, "hopeless")
        if batch.state == "PLANNED":
            batch = writer.landed(batch, 100, f"raw/{batch.batch_id}.parquet", SHA256, 4711)
        elif batch.state == "LANDED":
            batch = writer.validated(batch, 90, 10, "validated/x.parquet", "dead-letters/x.jsonl", "rules-1")
        elif batch.state == "VALIDATED":
            batch = writer.loaded(batch, 7)
        return to(writer, batch, state)

    return to


@pytest.fixture
def lose_connection(database: sa.Engine) -> Callable[[str], None]:
    """End a run's connection on the server's side, as if its machine were gone."""
    end = sa.text("SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
                  " WHERE application_name = :name AND datname = current_database()")  # fmt: skip

    def lose(run_id: str) -> None:
        with database.connect() as connection:
            assert connection.scalar(end, {"name": f"wotr run {run_id}"}) == 1

    return lose


@pytest.fixture
def crash(ledger: Ledger, lose_connection: Callable[[str], None]) -> Callable[[Batch], None]:
    """A run that claims the batch and ends without a word."""

    def crash(batch: Batch) -> None:
        run_id = f"doomed-{uuid.uuid4().hex[:8]}"
        with suppress(LockLost), ledger.writer(run_id) as writer:
            assert writer.claim(batch) is not None
            lose_connection(run_id)

    return crash
