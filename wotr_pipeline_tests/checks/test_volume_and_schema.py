"""An unusual hour, a changed table and a new event version are seen; too little history claims nothing."""

from datetime import datetime, timedelta

import pytest

from wotr_pipeline.checks.schema import schema_difference, version_drift
from wotr_pipeline.checks.volume import compare, volume
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.checks.conftest import HOUR, judged
from wotr_pipeline_tests.produced import event

OVER = HOUR + timedelta(hours=1)


def days_before(*days: int, rows: int = 900) -> dict[datetime, int]:
    return {HOUR - timedelta(days=day): rows for day in days}


def test_an_hour_is_compared_with_the_same_hour_of_the_days_before() -> None:
    history = {**days_before(1, 2, 3), HOUR - timedelta(hours=1): 50_000}
    for rows, unusual in ((299, True), (300, False), (2_700, False), (2_701, True), (0, True)):
        found = compare({**history, HOUR: rows}, HOUR, OVER)
        assert (found.usual, found.unusual) == (900.0, unusual)


def test_with_few_days_the_hours_before_are_the_measure() -> None:
    history = {HOUR - timedelta(hours=n): 600 for n in range(1, 7)}
    assert compare({**history, HOUR: 100}, HOUR, OVER).unusual
    assert not compare({**history, HOUR: 500}, HOUR, OVER).unusual


def test_hours_in_which_nothing_came_are_history_and_hours_before_the_first_row_are_not() -> None:
    stopped = {HOUR - timedelta(days=7): 10, HOUR - timedelta(days=6): 10}
    found = compare({**stopped, HOUR: 10}, HOUR, OVER)
    assert (found.usual, found.unusual) == (0.0, False)
    assert compare({HOUR - timedelta(hours=5): 10, HOUR: 10_000}, HOUR, OVER).usual is None


@pytest.mark.parametrize(
    ("rows", "now", "basis"),
    [
        ({HOUR: 10}, OVER, "no rows in the 7 days"),
        ({HOUR - timedelta(hours=2): 10, HOUR: 900}, OVER, "only 2 hours of history"),
        ({**days_before(1, 2, 3), HOUR: 1}, OVER - timedelta(seconds=1), "not over"),
    ],
)
def test_too_little_history_or_an_unfinished_hour_claims_nothing(
    rows: dict[datetime, int], now: datetime, basis: str
) -> None:
    found = compare(rows, HOUR, now)
    assert (found.usual, found.unusual) == (None, False)
    assert basis in found.basis


def test_the_rows_of_an_hour_are_counted_by_the_engine(engine: Warehouse) -> None:
    hour = HOUR + timedelta(days=40)
    for day in range(4):
        batch = Batch("t", 0, 0, 9, hour - timedelta(days=day))
        engine.insert("ingested_data", judged(batch, [event("v")] * (20 if day else 2)).drop_columns(["ok"]))
    found = volume(engine, hour, hour + timedelta(hours=1))
    assert (found.rows, found.usual, found.unusual) == (2, 20.0, True)


def test_a_table_made_by_the_project_is_as_declared(engine: Warehouse) -> None:
    assert schema_difference(engine).agrees


@pytest.mark.parametrize(
    ("alteration", "missing", "extra", "retyped"),
    [
        ("DROP COLUMN user_id", ["user_id"], [], []),
        ("ADD COLUMN extra String", [], ["extra"], []),
        ("MODIFY COLUMN size_bytes UInt64", [], [], ["size_bytes"]),
    ],
)
def test_a_column_missing_added_or_of_another_type_is_named(
    engine: Warehouse, alteration: str, missing: list[str], extra: list[str], retyped: list[str]
) -> None:
    database = f"{engine.settings.clickhouse_db}_altered"
    engine.client.command("CREATE DATABASE {d:Identifier}", {"d": database})
    altered = Warehouse(engine.settings.model_copy(update={"clickhouse_db": database}))
    try:
        altered.migrate()
        altered.client.command(f"ALTER TABLE ingested_data {alteration}")
        found = schema_difference(altered)
        assert (found.missing, found.extra, found.changed) == (missing, extra, retyped)
        assert not found.agrees
    finally:
        altered.client.command("DROP DATABASE {d:Identifier}", {"d": database})
        altered.close()


def test_a_version_that_was_not_there_before_is_named_with_its_source(engine: Warehouse) -> None:
    hour = HOUR + timedelta(days=80)

    def insert(at: datetime, **payload: object) -> None:
        rows = judged(Batch("t", 0, 0, 9, at), [event("e", **payload)])
        engine.insert("ingested_data", rows.drop_columns(["ok"]))

    insert(hour, version="1.0")
    assert version_drift(engine, hour).new == {}
    insert(hour - timedelta(days=1), version="1.0")
    insert(hour - timedelta(days=1), version="1.1")
    assert version_drift(engine, hour).new == {}
    insert(hour, version="2.0", source="new-service")
    found = version_drift(engine, hour)
    assert (found.new, found.gone, found.rows) == ({"2.0": ("new-service",)}, ("1.1",), {"1.0": 1, "2.0": 1})
