"""The gate and the report: each planted violation is found by the expectation that is there for it."""

from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa
import pytest

from wotr_pipeline.checks import expectations, suites
from wotr_pipeline.checks.expectations import FEW_ROWS, GateResult, Severity, gate, merge, report
from wotr_pipeline.checks.suites import Bound
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.checks.conftest import HOUR, changed, judged
from wotr_pipeline_tests.produced import BAD, event

Stage = Callable[[pa.Table], str]

GOOD = [event(f"good-{n}") for n in range(96)]
BATCH = Batch("t", 3, 1000, 1099, HOUR, records=100)
FAILED = 99
"""Number of a rejected row."""


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return judged(BATCH, [*GOOD, *BAD])


def failures(result: GateResult) -> list[str]:
    return [r.name for r in result.results if not r.success]


def test_rows_that_the_rules_judged_pass_the_gate(engine: Warehouse, staged: Stage, rows: pa.Table) -> None:
    result = gate(engine, staged(rows), BATCH)
    assert failures(result) == []
    assert (result.rows, result.subject) == (100, "t:3:1000-1099")
    (rejected,) = (r for r in result.results if r.name == "rejected")
    assert (rejected.observed, rejected.percent) == (4, 4.0)


@pytest.mark.parametrize(
    ("broken", "row", "values"),
    [
        ("id", 0, {"id": ""}),
        ("id", 0, {"id": "ä" * 101}),
        ("event_type", 0, {"event_type": "other"}),
        ("source", 0, {"source": ""}),
        ("source", 0, {"source": "ä" * 101}),
        ("optional_fields", 0, {"user_id": "ä" * 51}),
        ("optional_fields", 0, {"session_id": "s" * 101}),
        ("optional_fields", 0, {"tags": ["t"] * 11}),
        ("version", 0, {"version": "1"}),
        ("size", 0, {"size_bytes": 0}),
        ("reason", FAILED, {"error_code": ""}),
        ("reason", FAILED, {"error_message": ""}),
        ("no_reason", 0, {"error_code": "malformed"}),
        ("no_reason", 0, {"error_message": "text"}),
        ("offset", 0, {"kafka_offset": 999}),
        ("offset", 0, {"kafka_offset": 1100}),
        ("repeated_offsets", 0, {"kafka_offset": 1001}),
        ("batch", 0, {"batch_id": "t:3:0-999"}),
        ("batch", 0, {"kafka_partition": 4}),
        ("records", 0, {"arrival_hour": HOUR + timedelta(hours=1)}),
        ("records", 0, {"ok": 0}),
    ],
)
def test_a_row_that_breaks_the_contract_blocks_its_batch(
    engine: Warehouse, staged: Stage, rows: pa.Table, broken: str, row: int, values: dict[str, object]
) -> None:
    result = gate(engine, staged(changed(rows, row, **values)), BATCH)
    assert [r.name for r in result.blocking_failures] == [broken]
    assert result.blocking_failures[0].observed == 1


def test_lengths_are_counted_in_characters(engine: Warehouse, staged: Stage, rows: pa.Table) -> None:
    longest = changed(rows, 0, id="ä" * 100, source="ä" * 100, user_id="ä" * 50, session_id="ä" * 100)
    assert failures(gate(engine, staged(longest), BATCH)) == []


@pytest.mark.parametrize("records", [99, 101])
def test_rows_missing_or_too_many_block_the_batch(
    engine: Warehouse, staged: Stage, rows: pa.Table, records: int
) -> None:
    batch = Batch("t", 3, 1000, 1099, HOUR, records=records)
    assert failures(gate(engine, staged(rows), batch)) == ["records"]


def test_doubtful_rows_are_not_looked_at(engine: Warehouse, staged: Stage, rows: pa.Table) -> None:
    doubtful = changed(rows.slice(0, 1), 0, ok=0, id="", event_type="", source="")
    assert failures(gate(engine, staged(pa.concat_tables([rows, doubtful])), BATCH)) == []


def test_nothing_that_a_producer_sends_blocks_a_batch(engine: Warehouse, staged: Stage) -> None:
    hostile = [
        None,
        b"",
        b"\x00" * 50,
        b"[" * 2000,
        b'{"id": "' + b"x" * 5000 + b'"}',
        event("old").replace(b"2026-11-23", b"1900-01-01"),
        event("far").replace(b"2026-11-23", b"2299-12-31"),
        event("versioned", version="99999.99999"),
        event("i" * 100, source="s" * 100, user_id="u" * 50, session_id="e" * 100, tags=["t"] * 10),
        event("\ufffd🦆"),
    ]
    batch = Batch("t", 0, 0, 9, HOUR, records=10)
    table = judged(batch, hostile)
    assert table["validation_status"].to_pylist().count("valid") == 5
    assert gate(engine, staged(table), batch).blocking_failures == ()


@pytest.mark.parametrize(
    ("warned", "message"),
    [
        ("rejected", b"no json"),
        ("late", event("late").replace(b"2026-11-23", b"2026-11-20")),
        ("future", event("future").replace(b"2026-11-23", b"2026-11-25")),
        ("warned", event("odd", event_type="user_action")),
    ],
)
def test_a_large_share_of_odd_rows_warns_and_blocks_nothing(
    engine: Warehouse, staged: Stage, warned: str, message: bytes
) -> None:
    batch = Batch("t", 0, 0, 19, HOUR, records=20)

    def gated(odd: int) -> GateResult:
        return gate(engine, staged(judged(batch, [message] * odd + [event("usual")] * (20 - odd))), batch)

    assert failures(gated(FEW_ROWS)) == []
    assert failures(gated(FEW_ROWS + 1)) == [warned]
    assert gated(FEW_ROWS + 1).blocking_failures == ()


def test_rows_far_off_their_hour_warn(engine: Warehouse, staged: Stage) -> None:
    batch = Batch("t", 0, 0, 19, HOUR, records=20)
    next_day = event("later").replace(b"2026-11-23", b"2026-11-24")
    rows = judged(batch, [next_day] * 20, created_at=HOUR + timedelta(hours=25))
    assert failures(gate(engine, staged(rows), batch)) == ["misfiled"]


def test_a_result_names_ten_ids_or_positions_and_never_a_payload(engine: Warehouse, staged: Stage) -> None:
    batch = Batch("t", 3, 0, 59, HOUR, records=60)
    secret = b'{"id": "' + b"x" * 500 + b'", "secret": "hunter2"}'
    result = gate(engine, staged(judged(batch, [secret] * 30 + [b"hunter2"] * 30)), batch)
    (rejected,) = (r for r in result.results if r.name == "rejected")
    assert len(rejected.sample_ids) == 10
    assert all(len(text) <= 100 for text in rejected.sample_ids)
    assert "hunter2" not in repr(result)
    assert set(rejected.sample_ids) & {f"offset 3:{n}" for n in range(60)}


def test_the_report_looks_at_the_rows_of_its_hour_alone(engine: Warehouse) -> None:
    hour = HOUR + timedelta(hours=2)
    batch = Batch("t", 3, 1000, 1099, hour, records=100)
    good = judged(batch, [*GOOD, *BAD])
    broken = changed(judged(Batch("t", 3, 0, 99, hour + timedelta(hours=1)), [*GOOD, *BAD]), 0, source="")
    for rows in (good, broken):
        engine.insert("ingested_data", rows.drop_columns(["ok"]))
    assert failures(report(engine, hour)) == []
    assert report(engine, hour).rows == 100
    assert [r.name for r in report(engine, hour + timedelta(hours=1)).blocking_failures] == ["source"]


def test_an_hour_without_rows_has_a_report(engine: Warehouse) -> None:
    empty = report(engine, HOUR + timedelta(days=300))
    assert (empty.rows, failures(empty)) == (0, [])


def test_merged_gates_add_up_and_name_the_batches_that_failed(
    engine: Warehouse, staged: Stage, rows: pa.Table
) -> None:
    good = gate(engine, staged(rows), BATCH)
    bad = gate(engine, staged(changed(rows, 0, source="")), BATCH)
    both = merge([good, bad])
    assert (both.rows, both.subjects) == (200, 2)
    (failed,) = both.blocking_failures
    assert (failed.name, failed.observed, failed.total, failed.percent) == ("source", 1, 200, 0.5)
    assert both.failed_in == {"source": (BATCH.batch_id,)}


def test_a_warning_is_judged_by_its_share_of_the_whole_run(engine: Warehouse, staged: Stage) -> None:
    batch = Batch("t", 0, 0, 19, HOUR, records=20)
    bad = gate(engine, staged(judged(batch, [b"no json"] * 20)), batch)
    assert failures(bad) == ["rejected"]
    large = Batch("t", 0, 0, 999, HOUR, records=1000)
    good = gate(engine, staged(judged(large, [event("same")] * 1000)), large)
    assert "rejected" not in failures(merge([bad, good]))
    assert "rejected" in failures(merge([bad, bad]))


def test_an_expectation_that_cannot_be_evaluated_is_an_error_and_no_verdict() -> None:
    suite = suites.suite_of(
        "test", [Bound("there", "it holds", critical=True), Bound("gone", "it holds", critical=True)]
    )
    with pytest.raises(PermanentError, match="gone"):
        suite.decide({"there": 0}, {"there": 0, "gone": 0})


def test_great_expectations_knows_which_expectations_are_critical() -> None:
    expectations.warm()
    of = {
        e.meta["rule"]: e.severity.value
        for suite in suites._suites.values()
        for e in suite._suite.expectations
        if e.meta
    }
    for expectation in expectations.BATCH + expectations.ROWS:
        critical = expectation.severity is Severity.BLOCKING
        assert of[expectation.name] == ("critical" if critical else "warning")


def test_a_batch_that_is_not_landed_cannot_pass(engine: Warehouse, staged: Stage, rows: pa.Table) -> None:
    with pytest.raises(PermanentError, match="not landed"):
        gate(engine, staged(rows), Batch("t", 3, 1000, 1099, HOUR))
