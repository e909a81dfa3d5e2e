"""The ledger's database: migrations, what the database itself forbids, typed errors, accounts."""

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import timedelta

import pytest
import sqlalchemy as sa
from alembic import command
from pydantic import SecretStr
from sqlalchemy import exc

from wotr_pipeline.config import Settings
from wotr_pipeline.stores import gateway_tables, operations_tables, schema_register  # noqa: F401  (their tables are in the metadata then)
from wotr_pipeline.stores.batch import Batch, BatchState, PlannedRange
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.ledger import Ledger, LedgerWriter, migrate
from wotr_pipeline.stores.ledger_database import VERSION_TABLE, alembic_config, connect, metadata
from wotr_pipeline.stores.ledger_transitions import shortened

from ..conftest import environment_of

Advance = Callable[[LedgerWriter, Batch, str], Batch]


def test_migrations_build_the_table_that_the_code_sees(database: sa.Engine) -> None:
    inspector = sa.inspect(database)
    dialect = database.dialect
    for table in metadata.sorted_tables:
        built = {
            c["name"]: (c["type"].compile(dialect), c["nullable"]) for c in inspector.get_columns(table.name)
        }
        assert built == {c.name: (c.type.compile(dialect), c.nullable) for c in table.columns}
    assert {"id", "object_key", "created_at", "payload_size"} <= set(
        metadata.tables["ingest_meta"].columns.keys()
    )


def test_every_column_says_what_it_is(database: sa.Engine) -> None:
    inspector = sa.inspect(database)
    for table in metadata.tables:
        assert [c["name"] for c in inspector.get_columns(table) if not c["comment"]] == []
        assert inspector.get_table_comment(table)["text"]


def test_two_processes_migrate_an_empty_database_at_once(empty_ledger_settings: Settings) -> None:
    program = (
        "from wotr_pipeline.config import load_settings; from wotr_pipeline.stores.ledger import migrate;"
        "print('ready', flush=True); input(); migrate(load_settings())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment_of(empty_ledger_settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    migrate(empty_ledger_settings)
    with Ledger(empty_ledger_settings) as ledger:
        assert ledger.planned_until("any") == {}


def test_a_table_that_the_platform_has_already_is_left_as_it_is(empty_ledger_settings: Settings) -> None:
    engine = connect(empty_ledger_settings, "wotr tests", dedicated=True)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE ingest_meta (id text, payload_size int)"))
        connection.execute(sa.text("INSERT INTO ingest_meta VALUES ('known', 7)"))
    migrate(empty_ledger_settings)
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT id FROM ingest_meta")) == "known"


def test_the_schema_can_be_had_as_sql_without_a_database() -> None:
    text = io.StringIO()
    config = alembic_config()
    config.output_buffer = text
    with redirect_stdout(text):
        command.upgrade(config, "head", sql=True)
    assert "CREATE TABLE ingest_batches" in text.getvalue()
    assert "EXCLUDE USING gist" in text.getvalue()


def test_an_unknown_newer_schema_is_named(empty_ledger_settings: Settings) -> None:
    migrate(empty_ledger_settings)
    engine = connect(empty_ledger_settings, "wotr tests", dedicated=True)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'ledger_9999'"))
    with pytest.raises(PermanentError, match="newer version of wotr_pipeline"):
        migrate(empty_ledger_settings)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("last_offset = 200", "no_overlap"),
        ("first_offset = 200", "range"),
        ("hour = hour + interval '1 minute'", "full_hour"),
        ("state = 'DONE'", "state"),
        ("state = 'LANDED'", "landed"),
        ("state = 'QUARANTINED'", "quarantined"),
        ("raw_key = 'raw/x'", "planned"),
        ("state = 'QUARANTINED', last_error = 'e', raw_key = 'raw/x'", "raw_object"),
        ("attempts = -1", "counters"),
        ("last_error = repeat('x', 2001)", "error_length"),
    ],
)
def test_the_database_itself_forbids_what_would_break_the_account(
    ledger: Ledger, planned: Batch, database: sa.Engine, change: str, constraint: str
) -> None:
    ledger.plan([PlannedRange(planned.topic, 0, 200, 299, planned.hour)])
    with (
        pytest.raises(exc.IntegrityError, match=f"ingest_batches_{constraint}"),
        database.begin() as connection,
    ):
        connection.execute(sa.text(f"UPDATE ingest_batches SET {change} WHERE id = :id"), {"id": planned.id})


def test_a_server_that_is_away_is_transient_and_no_secret_is_told(ledger_settings: Settings) -> None:
    away = ledger_settings.model_copy(
        update={"postgres_port": 1, "postgres_host": "127.0.0.1", "postgres_password": SecretStr("s3cret-pw")}
    )
    with Ledger(away) as ledger:
        for call in (
            lambda: ledger.planned_until("t"),
            lambda: ledger.plan([]),
            lambda: ledger.writer("r").__enter__(),
            lambda: migrate(away),
        ):
            with pytest.raises(TransientError, match="could not") as error:
                call()
            assert "s3cret-pw" not in f"{error.value} {error.value.__cause__}"


def test_a_database_or_tables_that_are_missing_are_permanent(
    ledger_settings: Settings, empty_ledger_settings: Settings
) -> None:
    missing = ledger_settings.model_copy(update={"postgres_db": "no_such_database"})
    with pytest.raises(PermanentError, match="POSTGRES_"):
        migrate(missing)
    with Ledger(missing) as ledger, pytest.raises(PermanentError, match="POSTGRES_"):
        ledger.planned_until("t")
    with Ledger(empty_ledger_settings) as ledger, pytest.raises(PermanentError, match="migrations"):
        ledger.planned_until("t")


def test_what_the_ledger_keeps_of_an_error_is_bounded_and_quotes_no_value() -> None:
    assert shortened(TransientError("x" * 3000)) == "x" * 1999 + "…"
    assert shortened("nul \x00 byte") == "nul � byte"
    try:
        int("the event's content")
    except ValueError as error:
        kept = shortened(error)
    assert kept.startswith("ValueError at test_ledger_database.py:")
    assert "content" not in kept


def test_no_batch_of_that_name_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(PermanentError, match="no batch t:0:1-2"):
        ledger.batch("t:0:1-2")


def test_the_accounts_add_up(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, database: sa.Engine
) -> None:
    topic, hour = planned.topic, planned.hour
    states = ["LANDED", "VALIDATED", "LOADED", "LOADED", "QUARANTINED", "PLANNED"]
    ranges = [PlannedRange(topic, 1, first, first + 99, hour) for first in range(0, 600, 100)]
    for batch, state in zip(ledger.plan(ranges), states, strict=True):
        claimed = writer.claim(batch)
        assert claimed is not None
        advance(writer, claimed, state)
    next_hour = hour + timedelta(days=3650)
    ledger.plan([PlannedRange(topic, 1, 600, 600, next_hour)])

    account = ledger.hour_account(hour)
    assert (account.batches, account.unfinished, account.quarantined) == (7, 4, 1)
    assert (account.records, account.valid, account.rejected, account.duplicate) == (400, 270, 30, 14)
    assert account.rows == 270 - 14 + 30

    summary = ledger.summary(topic)
    assert [line.state for line in summary.states] == list(BatchState)
    found = {line.state: (line.batches, line.offsets, line.records) for line in summary.states}
    assert found == {
        "PLANNED": (3, 201, 0),
        "LANDED": (1, 100, 100),
        "VALIDATED": (1, 100, 100),
        "LOADED": (2, 200, 200),
        "QUARANTINED": (1, 100, 0),
    }
    assert summary.of(BatchState.LOADED).records == 200
    assert summary.unfinished == 5
    assert summary.oldest_unfinished_planned_at == planned.planned_at
    assert summary.oldest_unprocessed_age is not None
    assert summary.oldest_unprocessed_age > timedelta(0)

    assert len(ledger.batches_between(hour, hour + timedelta(hours=1))) == 7
    assert ledger.batches_between(next_hour, next_hour) == []
    assert len(ledger.unfinished(topic)) == 5
    assert len(ledger.unfinished(topic, next_hour)) == 1


def test_an_unknown_topic_has_an_empty_account(ledger: Ledger, topic: str) -> None:
    summary = ledger.summary(topic)
    assert (summary.unfinished, summary.oldest_unfinished_planned_at) == (0, None)
    assert summary.oldest_unprocessed_age is None
    assert ledger.planned_until(topic) == {}
