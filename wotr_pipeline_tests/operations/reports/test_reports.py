"""The reports on rows that were put in: numbers, names, and what must not be in them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.reports.forecast import storage_forecast
from wotr_pipeline.operations.reports.html import html
from wotr_pipeline.operations.reports.markdown import markdown
from wotr_pipeline.operations.reports.quality_report import CheckStanding, quality_report
from wotr_pipeline.operations.reports.report import Report, Table, Value
from wotr_pipeline.operations.reports.slow_queries import slow_queries
from wotr_pipeline.operations.reports.source_costs import UNREADABLE, source_costs
from wotr_pipeline.operations.reports.table_statistics import table_statistics
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.storage_sizes import (
    CLICKHOUSE,
    DISK,
    MINIO,
    POSTGRES,
    StorageSize,
    StorageSizes,
)
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.checks.conftest import LoadedHour
from wotr_pipeline_tests.operations.reports.conftest import MARKED, MONDAY, SCRIPT, SECRET, WEEK_BEFORE
from wotr_pipeline_tests.servers.front import WRITER, WRITER_PASSWORD, Front


def figures(report: Report) -> dict[str, Value]:
    return {figure.name: figure.value for figure in report.figures}


def table(report: Report, title: str) -> Table:
    (found,) = [
        table for section in report.sections for table in section.tables if table.title.startswith(title)
    ]
    return found


def lines(report: Report, title: str) -> dict[Value, dict[str, Value]]:
    """Of a table, by the first column."""
    found = table(report, title)
    names = [column.title for column in found.columns]
    return {line[0]: dict(zip(names, line, strict=True)) for line in found.lines}


def texts(report: Report) -> str:
    return markdown(report) + html(report)


def now() -> datetime:
    return datetime.now(UTC)


def test_cost_is_shared_by_bytes_and_by_rows_with_rejected_ones_counted_twice(reported: LoadedHour) -> None:
    report = source_costs(reported.settings, reported.warehouse, MONDAY, now())
    sources = lines(report, "Sources")
    stored = {
        source: (rows, failed, size)
        for source, rows, failed, size in reported.warehouse.client.query(
            "SELECT source::String, count(), countIf(validation_status = 'failed'), sum(size_bytes) "
            "FROM ingested_data WHERE arrival_hour >= '2026-11-09' GROUP BY source"
        ).result_rows
    }
    assert set(sources) == {SCRIPT, MARKED, "s", UNREADABLE}
    all_bytes = sum(size for _, _, size in stored.values())
    for source, (rows, failed, size) in stored.items():
        line = sources[source or UNREADABLE]
        assert (line["events"], line["rejected"], line["bytes"]) == (rows, failed, size)
        # 44 rows, 4 of them rejected.
        assert line["units"] == pytest.approx(50 * size / all_bytes + 50 * (rows + failed) / 48)
    assert sum(float(str(line["units"])) for line in sources.values()) == pytest.approx(100)
    assert sources[SCRIPT]["units the week before"] == pytest.approx(100)
    assert figures(report)["events"] == 44
    assert next(iter(sources)) == SCRIPT


def test_quality_counts_by_type_source_and_reason_and_compares_with_the_week_before(
    reported: LoadedHour,
) -> None:
    checks = [
        CheckStanding("sound", "ingested_data", True, "ERROR", now(), ""),
        CheckStanding("broken", "raw_objects", False, "WARN", now(), "2026-11-10-08:00"),
        CheckStanding("cut", "raw_objects", None, "", now(), ""),
        CheckStanding("new", "raw_objects", None, "", None, ""),
    ]
    report = quality_report(reported.settings, reported.warehouse, checks, MONDAY, now())
    shown = figures(report)
    assert shown["quality score"] == pytest.approx(100 * 40 / 44)
    assert shown["quality score of the week before"] == 100
    assert (shown["events"], shown["rejected events"], shown["checks that fail"]) == (44, 4, 1)
    calls = lines(report, "Types")["api_call"]
    assert (calls["events"], calls["events the week before"], calls["rejected"]) == (40, 20, 0)
    reasons = lines(report, "Reasons")
    assert {reason: line["dead letters"] for reason, line in reasons.items()} == {
        "malformed_json": 2,
        "invalid_encoding": 1,
        "unknown_event_type": 1,
    }
    assert lines(report, "Sources")["s"]["share rejected"] == 1
    assert "more than in the week before" in report.headline
    said = {check: line["result"] for check, line in lines(report, "Each check").items()}
    assert list(said.items()) == [
        ("broken", "failed (warn)"),
        ("sound", "passed"),
        ("cut", "under way, or cut off"),
        ("new", "not looked at yet"),
    ]


def test_a_week_that_is_past_can_be_made_again_and_one_without_rows_says_so(reported: LoadedHour) -> None:
    settings, warehouse = reported.settings, reported.warehouse
    before = WEEK_BEFORE.date() - timedelta(days=1)
    assert figures(source_costs(settings, warehouse, before, now()))["events"] == 20
    assert "no week before" in quality_report(settings, warehouse, [], before, now()).headline
    for report in (
        source_costs(settings, warehouse, date(2026, 3, 2), now()),
        quality_report(settings, warehouse, [], date(2026, 3, 2), now()),
    ):
        assert "no event of that week" in report.headline
        assert texts(report)


def test_sources_are_shown_to_the_letter_and_are_no_script(reported: LoadedHour) -> None:
    for report in (
        source_costs(reported.settings, reported.warehouse, MONDAY, now()),
        quality_report(reported.settings, reported.warehouse, [], MONDAY, now()),
    ):
        assert "<script>" not in html(report)
        assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html(report)
        assert f"`{SCRIPT}`" in markdown(report)
        assert "``a\\|b `c` [link](http://evil.test) *_d_* # e``" in markdown(report)


def test_slow_queries_are_named_and_show_no_literal(reported: LoadedHour) -> None:
    engine = reported.warehouse.for_run("run-4711")
    client = engine.client
    comment = '{"run_id": "run-4711", "query": "slow_one"}'
    client.query(
        f'SELECT count() AS "{SECRET}a", sleep(1) /* {SECRET}b */ FROM ingested_data '
        f"WHERE payload LIKE '%{SECRET}c%' OR id IN ('{SECRET}d', '{SECRET}e') OR size_bytes = 424242",
        settings={"log_comment": comment},
    )
    client.command(f"CREATE TABLE notes (text String) ENGINE = Memory COMMENT '{SECRET}g'")
    client.command(f"INSERT INTO notes VALUES ('{SECRET}h')")
    client.command(f'INSERT INTO notes FORMAT JSONEachRow {{"text": "{SECRET}i"}}')
    client.command("SYSTEM FLUSH LOGS")
    (found,) = client.query(
        "SELECT toUnixTimestamp(event_time) FROM system.query_log WHERE log_comment = {c:String} "
        "AND type = 'QueryFinish' AND current_database = currentDatabase()",
        {"c": comment},
    ).result_rows
    day = datetime.fromtimestamp(found[0], UTC).date()
    report = slow_queries(reported.settings, reported.warehouse, day, now())
    columns = [column.title for column in table(report, "The 10 slowest").columns]
    slowest = [dict(zip(columns, line, strict=True)) for line in table(report, "The 10 slowest").lines]
    durations = [int(str(line["duration"])) for line in slowest]
    assert durations == sorted(durations, reverse=True)
    (first,) = [line for line in slowest if line["statement"] == "slow_one"]
    assert first["run"] == "run-4711"
    assert first["query id"]
    assert int(str(first["duration"])) >= 1000
    assert int(str(first["rows read"])) >= 64
    assert "payload LIKE ?" in str(first["shape"])
    assert lines(report, "The 10 shapes")
    assert int(str(figures(report)["queries"])) > 10
    text = texts(report)
    assert SECRET not in text
    assert "424242" not in text
    every = client.query(
        "SELECT groupArray(query) FROM system.query_log WHERE current_database = currentDatabase()"
    ).result_rows
    assert SECRET in str(every), "the log itself holds them, or this test shows nothing"


def test_a_day_that_the_query_log_does_not_hold_says_so(reported: LoadedHour) -> None:
    report = slow_queries(reported.settings, reported.warehouse, date(2026, 2, 3), now())
    assert "holds nothing of that day" in report.headline
    assert figures(report)["queries"] == 0
    assert texts(report)


def test_an_engine_without_a_query_log_yet_is_no_failure(platform: Settings, tmp_path: Path) -> None:
    front = Front(tmp_path)
    try:
        settings = platform.model_copy(
            update={
                "clickhouse_host": "127.0.0.1",
                "clickhouse_port": front.port,
                "clickhouse_user": WRITER,
                "clickhouse_password": SecretStr(WRITER_PASSWORD),
                "clickhouse_db": "default",
            }
        )
        report = slow_queries(settings, Warehouse(settings), now().date(), now())
    finally:
        front.end()
    assert "no query log yet" in report.headline


def test_statistics_say_what_the_stores_hold_and_are_kept_for_the_day(reported: LoadedHour) -> None:
    settings, today = reported.settings, now().date()
    with StorageSizes(settings) as sizes:
        for _ in range(2):
            report = table_statistics(settings, reported.warehouse, reported.objects, today, now())
            kept = {(size.store, size.name): size for size in sizes.between(today, today)}
    (clickhouse,) = [
        table for section in report.sections if section.title == "ClickHouse" for table in section.tables[:1]
    ]
    (line,) = [line for line in clickhouse.lines if line[0] == "ingested_data"]
    assert line[1] == 64
    assert line[6] == 1
    on_disk = reported.warehouse.client.query(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() "
        "AND table = 'ingested_data'"
    ).result_rows[0][0]
    assert line[2] == kept[CLICKHOUSE, "ingested_data"].bytes == on_disk
    assert kept[CLICKHOUSE, "ingested_data"].items == 64
    assert kept[CLICKHOUSE, "events_daily"].items == 0, "a table without rows is a table"
    held = [info.size for info in reported.objects.list("raw/")]
    assert kept[MINIO, "raw/"] == StorageSize(today, MINIO, "raw/", sum(held), len(held))
    assert kept[POSTGRES, "ingest_batches"].bytes > 0
    assert kept[DISK, "data directory"].bytes > 0
    assert lines(report, "Partitions, the largest")["ingested_data"]["partition"] == "202611"


def test_a_past_day_is_told_from_what_was_kept_or_not_at_all(reported: LoadedHour) -> None:
    settings, day = reported.settings, now().date() - timedelta(days=9)
    measured = [
        StorageSize(day, CLICKHOUSE, "ingested_data", 5_000_000, 10),
        StorageSize(day, DISK, "data directory", 9_000_000, 0),
    ]
    with StorageSizes(settings) as sizes:
        sizes.write(day, measured)
        report = table_statistics(settings, reported.warehouse, reported.objects, day, now())
        assert sizes.between(day, day) == measured, "a day that is past is not measured again"
    assert figures(report)["bytes of ClickHouse"] == 5_000_000
    assert "Rebuilt from the sizes" in report.headline
    nothing = table_statistics(settings, reported.warehouse, reported.objects, day - timedelta(days=1), now())
    assert "Nothing is known of that day" in nothing.headline
    assert texts(nothing)


def test_a_forecast_goes_on_from_the_days_that_were_measured(ledger_space: Settings) -> None:
    day = date(2026, 11, 20)
    with StorageSizes(ledger_space) as sizes:
        for ago in range(40):
            when = day - timedelta(days=ago)
            # Longer ago than 28 days it grew otherwise: that must not count.
            size = 10_000 - 100 * ago if ago < 28 else 1
            rows = [StorageSize(when, CLICKHOUSE, "ingested_data", size, 1)]
            rows += [StorageSize(when, MINIO, "raw/", 20_000 - 50 * ago, 1)]
            rows += [StorageSize(when, POSTGRES, "gone", 500 + ago, 1)] if ago > 3 else []
            sizes.write(when, rows)
    found = storage_forecast(ledger_space, day, now())
    shown = figures(found.report)
    assert shown["bytes now"] == 30_000
    assert shown["growth a day"] == pytest.approx(150, abs=2)
    by_store = lines(found.report, "Growth and forecast")
    assert by_store["ClickHouse"]["growth a day"] == 100
    assert by_store["ClickHouse"]["in 30 days"] == 13_000
    assert by_store["Object store"]["in 365 days"] == 20_000 + 365 * 50
    assert {line[1] for line in table(found.report, "Tables and prefixes").lines} == {"ingested_data", "raw/"}
    assert "Theil-Sen" in markdown(found.report)
    assert html(found.report).count("<polyline") == 2


def test_an_empty_platform_is_reported_as_empty(space: Settings) -> None:
    warehouse, objects, today = Warehouse(space), ObjectStore(space), now().date()
    reports = [
        slow_queries(space, warehouse, date(2026, 2, 3), now()),
        table_statistics(space, warehouse, objects, today, now()),
        storage_forecast(space, today, now()).report,
        source_costs(space, warehouse, MONDAY, now()),
        quality_report(space, warehouse, [], MONDAY, now()),
    ]
    for report in reports:
        assert len(texts(report)) > 1000
    assert figures(reports[1])["rows of ingested_data"] == 0
    assert figures(reports[1])["objects"] == 0
    assert "There is no forecast yet: 1 day" in reports[2].headline
    warehouse.close()
