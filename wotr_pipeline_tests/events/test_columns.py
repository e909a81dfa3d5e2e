"""Judged events as rows: one declaration for the statement, the Arrow table and the engine's table."""

import json
from pathlib import Path

import pyarrow as pa

from wotr_pipeline.events.columns import (
    INGESTED_DATA,
    KEPT_OF_FAILED_BYTES,
    STAGING,
    arrow_schema,
    judged_rows,
    names,
    readable_start,
)
from wotr_pipeline.sql import statement

from .engine import BATCH, arrival, as_bytes, connection, judged_by_rules, judged_by_sql, read_staging
from .test_rules import message


def test_the_statement_gives_the_declared_columns(tmp_path: Path) -> None:
    judged_by_sql([message()], tmp_path)
    assert described("default.staging") == [(column.name, column.clickhouse) for column in STAGING]


def test_a_staging_table_has_the_columns_that_the_statement_gives(tmp_path: Path) -> None:
    judged_by_sql([message()], tmp_path)
    connection().query(statement("create_staging"), params={"table": "made"})
    try:
        assert described("made") == described("default.staging")
    finally:
        connection().query("DROP TABLE made")


def described(table: str) -> list[tuple[str, str]]:
    """Names and types of a table's columns, in order."""
    description = connection().query(f"DESCRIBE TABLE {table}", "JSONCompactEachRow").data()
    return [tuple(json.loads(line)[:2]) for line in description.splitlines()]


def test_judged_rows_go_into_a_staging_table(tmp_path: Path) -> None:
    values = [message(), None, b"\xff\x00" + b"x" * 40, message(payload__tags='["a","b"]'), message(id="5")]
    judged_by_sql([], tmp_path)
    rows = judged_rows(BATCH, judged_by_rules(values))
    path = tmp_path / "rows.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    connection().query(f"INSERT INTO default.staging FROM INFILE '{path}' FORMAT Arrow")
    assert read_staging() == [as_bytes(row) for row in rows.to_pylist()]


def test_a_failed_row_is_dated_by_its_arrival_unless_it_says_when() -> None:
    late, broken = judged_rows(BATCH, judged_by_rules([message(id="5"), b"?"])).to_pylist()
    assert late["timestamp"].isoformat() == "2026-11-23T08:00:00+00:00"
    assert broken["timestamp"] == broken["created_at"] == arrival(1)
    assert (broken["validation_status"], broken["error_code"]) == ("failed", "malformed_json")


def test_a_failed_row_has_the_version_that_could_be_read() -> None:
    values = [message(id="5", payload__version='"2.1"'), message(payload__version='"2"'), message(id="5")]
    rows = judged_rows(BATCH, judged_by_rules(values)).to_pylist()
    assert [(row["validation_status"], row["version"]) for row in rows] == [
        ("failed", "2.1"),
        ("failed", ""),
        ("failed", ""),
    ]


def test_no_messages_make_an_empty_table_of_the_same_schema() -> None:
    assert judged_rows(BATCH, []).schema == arrow_schema(STAGING)


def test_a_failed_text_is_cut_at_a_character_and_always_utf8() -> None:
    assert len(readable_start("é".encode() * KEPT_OF_FAILED_BYTES).encode()) == KEPT_OF_FAILED_BYTES
    assert len(readable_start(b"\xff" * KEPT_OF_FAILED_BYTES).encode()) <= KEPT_OF_FAILED_BYTES
    assert readable_start(b"a\xffb") == "a\ufffdb"


def test_staging_is_the_table_without_what_the_engine_computes() -> None:
    assert names(STAGING) == ("ok", *(name for name in names(INGESTED_DATA) if name != "id_hash"))
