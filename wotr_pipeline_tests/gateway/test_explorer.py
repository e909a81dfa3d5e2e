"""The explorer over HTTP: results and their pages, files, refusals, what is kept of whom."""

import io
import threading
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pyarrow.parquet as pq
import pytest

from wotr_pipeline.gateway.explorer_queries import RunbookQuery, runbook_queries
from wotr_pipeline.gateway.explorer_results import CELL_CHARACTERS, MOST_ROWS, PAGE_ROWS
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline.stores.warehouse_reader import AT_ONCE, AT_ONCE_OF_ONE

from ..topics import wait_until
from .conftest import Edge, running
from .explorer_desk import JSON, PAGE, ROWS, SCRIPT, Desk, fill

ENDLESS = "SELECT count(), '{name}' FROM numbers(1e6) a, numbers(1e6) b WHERE a.number * b.number % 7 = 3"


@pytest.fixture(scope="module")
def desk(edge: Edge) -> Desk:
    fill(edge.settings)
    return Desk(edge)


@pytest.fixture(scope="module")
def warehouse(edge: Edge) -> Iterator[Warehouse]:
    warehouse = Warehouse(edge.settings)
    yield warehouse
    warehouse.close()


def _runs(warehouse: Warehouse, name: str) -> bool:
    found = warehouse.client.query(
        "SELECT count() FROM system.processes WHERE query LIKE {like:String} AND query NOT LIKE '%system.processes%'",
        {"like": f"%{name}%"},
    )
    return bool(found.first_row[0])


class Endless:
    """A query that runs until somebody ends it, or its time."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.desk, self.name, self.status = desk, name, 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.status = self.desk.run(ENDLESS.replace("{name}", self.name), run=self.name).status_code

    def cancel(self) -> int:
        answer = self.desk.post("/explorer/cancel", run=self.name)
        assert answer.status_code == 204, answer.text
        self._thread.join(20)
        return self.status


@pytest.mark.parametrize("query", runbook_queries(), ids=lambda query: query.name)
def test_each_query_of_the_runbook_runs_as_the_reader(desk: Desk, query: RunbookQuery) -> None:
    given = desk.client.get("/explorer/", params={"runbook": query.name}, headers=JSON).json()
    answer = desk.run(given["statement"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["columns"]


def test_the_runbooks_queries_say_what_the_runbook_wants_to_know(desk: Desk) -> None:
    def of(name: str) -> list[dict[str, str]]:
        statement = next(query.statement for query in runbook_queries() if query.name == name)
        found = desk.run(statement).json()
        names = [column["name"] for column in found["columns"]]
        return [dict(zip(names, row, strict=True)) for row in found["rows"]]

    assert sum(int(row["events"]) for row in of("events_last_hour")) == ROWS
    assert {"event_type", "events", "average_size_bytes"} <= set(of("events_last_hour")[0])
    assert len(of("newest_failed_rows")) == ROWS // 5
    assert {row["validation_status"] for row in of("newest_failed_rows")} == {"failed"}
    assert sum(int(row["failed"]) for row in of("failed_by_reason")) == ROWS // 5
    assert of("row_count")[0]["rows"] == str(ROWS)
    assert {"table": "ingested_data", "rows": str(ROWS)}.items() <= of("table_statistics")[0].items()
    assert of("partition_sizes")[0]["rows"] == str(ROWS)


def test_pages_are_pages_of_one_result_whatever_arrives_meanwhile(desk: Desk, warehouse: Warehouse) -> None:
    first = desk.run("SELECT id FROM ingested_data").json()
    seen = [row[0] for row in first["rows"]]
    assert (first["row_count"], first["pages"], len(seen)) == (ROWS, 3, PAGE_ROWS)
    warehouse.client.command("INSERT INTO ingested_data (id, validation_status) VALUES ('late', 'valid')")
    try:
        for page in (2, 3):
            address = f"/explorer/results/{first['token']}"
            seen += [
                row[0] for row in desk.client.get(address, params={"page": page}, headers=JSON).json()["rows"]
            ]
    finally:
        warehouse.client.command(
            "ALTER TABLE ingested_data DELETE WHERE id = 'late'", settings={"mutations_sync": 1}
        )
    assert sorted(seen) == [f"event-{number:04}" for number in range(ROWS)]


def test_values_are_exact_and_null_is_not_the_text_null(desk: Desk) -> None:
    statement = "SELECT toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935'), NULL, 'NULL', 0.1::Decimal(38, 20), '', unhex('ff')"
    assert desk.rows(statement) == [
        [
            "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            None,
            "NULL",
            "0.1",
            "",
            "�",
        ]
    ]


def test_a_long_result_is_cut_and_says_so(desk: Desk) -> None:
    found = desk.run("SELECT number FROM numbers(1000000)").json()
    assert (found["row_count"], found["more"]) == (MOST_ROWS, True)
    page = desk.page(f"/explorer/results/{found['token']}")
    assert f"The first {MOST_ROWS:,} rows" in page


def test_a_long_value_is_cut_in_the_table_and_whole_behind_its_link(desk: Desk) -> None:
    found = desk.run("SELECT repeat('<b>', 1000) AS x").json()
    page = desk.page(f"/explorer/results/{found['token']}")
    assert page.count("&lt;b&gt;") < CELL_CHARACTERS
    whole = desk.client.get(f"/explorer/results/{found['token']}/cell", params={"row": 1, "column": 1})
    assert whole.text == "<b>" * 1000
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["x-content-type-options"] == "nosniff"
    for row, column in ((0, 1), (2, 1), (1, 2), (1, 0)):
        address = f"/explorer/results/{found['token']}/cell"
        assert desk.client.get(address, params={"row": row, "column": column}).status_code == 404


def test_the_page_works_without_javascript(desk: Desk) -> None:
    answer = desk.post(
        "/explorer/", PAGE, statement="SELECT source, count() AS n FROM ingested_data GROUP BY source"
    )
    assert answer.status_code == 303
    page = desk.page(answer.headers["location"])
    assert "3 rows" in page
    assert "<svg" in page
    assert "SELECT source, count() AS n FROM ingested_data GROUP BY source</textarea>" in page


def test_a_wrong_statement_comes_back_with_the_engines_words(desk: Desk) -> None:
    answer = desk.post("/explorer/", PAGE, statement="SELECT nothing_like_it FROM ingested_data")
    assert answer.status_code == 400
    assert "nothing_like_it" in answer.text
    assert 'role="alert"' in answer.text
    assert "SELECT nothing_like_it FROM ingested_data</textarea>" in answer.text
    assert "version 26" not in answer.text
    long = desk.run("SELECT " + "x" * 40_000)
    assert long.status_code == 400
    assert len(long.text) < 4_000


def test_script_in_statements_names_values_and_titles_is_text(desk: Desk) -> None:
    statement = f'SELECT source AS `{SCRIPT.replace("`", "")}`, 1 AS """><img src=x>" FROM ingested_data'
    answer = desk.post("/explorer/", PAGE, statement=statement)
    assert answer.status_code == 303, answer.text
    desk.post("/explorer/saved", statement=statement, title=SCRIPT, shared="1")
    for page in (desk.page(answer.headers["location"]), desk.page()):
        assert SCRIPT not in page
        assert "<img" not in page
        assert "&lt;script&gt;alert" in page


def test_a_csv_is_the_whole_result_and_runs_nothing_in_a_spreadsheet(desk: Desk) -> None:
    statement = "SELECT number, '=1+1' AS a, -number AS b FROM numbers(20000)"
    answer = desk.post("/explorer/export", statement=statement, format="csv")
    lines = answer.text.splitlines()
    assert (lines[0], lines[1], len(lines)) == ('"number","a","b"', '0,"\'=1+1",0', 20_001)
    assert lines[-1] == '19999,"\'=1+1",-19999'
    assert answer.headers["content-disposition"].startswith('attachment; filename="wotr-')
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_parquet_file_holds_the_whole_result_as_it_is(desk: Desk) -> None:
    answer = desk.post(
        "/explorer/export",
        statement="SELECT number AS n, '=1+1' AS a FROM numbers(300000)",
        format="parquet",
    )
    table = pq.read_table(io.BytesIO(answer.content))
    assert table.num_rows == 300_000
    assert table["n"][299_999].as_py() == 299_999
    assert table["a"][0].as_py() in ("=1+1", b"=1+1")


def test_an_export_that_fails_at_the_end_is_a_refusal_and_no_file(desk: Desk) -> None:
    statement = "SELECT throwIf(number = 2999999, 'too late'), number FROM numbers(3000000)"
    answer = desk.post("/explorer/export", statement=statement, format="csv")
    assert answer.status_code == 400
    assert "too late" in answer.json()["detail"]


def test_what_is_no_statement_is_said_so(desk: Desk) -> None:
    for statement in ("", "  \n ", "SELECT 1\0", "SELECT '" + "x" * 60_000 + "'"):
        assert desk.run(statement).status_code == 422
    assert desk.run("SELECT " + "x" * 600_000).status_code == 413
    assert desk.post("/explorer/export", statement="SELECT 1", format="xlsx").status_code == 422
    answer = desk.client.post("/explorer/", content=iter([b"statement=SELECT+1"]), headers=JSON)
    assert answer.status_code == 411


def test_nothing_runs_by_get_nor_without_the_sessions_token(edge: Edge, desk: Desk) -> None:
    assert (
        desk.client.get("/explorer/", params={"statement": "SELECT 1"}, headers=JSON).json()["statement"]
        == ""
    )
    for address in ("/explorer/", "/explorer/export", "/explorer/cancel", "/explorer/saved"):
        answer = desk.client.post(
            address, data={"statement": "SELECT 1", "title": "x", "format": "csv"}, headers=JSON
        )
        assert answer.status_code == 403, address
        elsewhere = desk.post(address, {**JSON, "Origin": "https://elsewhere.example"}, statement="SELECT 1")
        assert elsewhere.status_code == 403, address


def test_only_keys_that_may_read_come_in(edge: Edge) -> None:
    assert edge.client().get("/explorer/", headers=PAGE).status_code == 303
    assert edge.client().post("/explorer/", data={"statement": "SELECT 1"}).status_code == 401
    assert edge.client(Scope.INGEST).post("/explorer/", data={"statement": "SELECT 1"}).status_code == 403
    key = Desk(edge).key  # a program's key is in need of no session and no token
    program = edge.client(**{"X-API-Key": key, **JSON})
    assert program.post("/explorer/", data={"statement": "SELECT 1"}).json()["rows"] == [["1"]]


def test_a_query_ends_when_its_person_cancels_it(desk: Desk, warehouse: Warehouse) -> None:
    query = Endless(desk, "to_be_cancelled")
    wait_until(lambda: _runs(warehouse, "to_be_cancelled"), 20)
    assert query.cancel() == 409
    wait_until(lambda: not _runs(warehouse, "to_be_cancelled"), 20)


def test_nobody_cancels_the_query_of_another(edge: Edge, desk: Desk, warehouse: Warehouse) -> None:
    query = Endless(desk, "not_yours")
    wait_until(lambda: _runs(warehouse, "not_yours"), 20)
    assert Desk(edge).post("/explorer/cancel", run="not_yours").status_code == 404
    assert _runs(warehouse, "not_yours")
    assert query.cancel() == 409


def test_a_query_ends_when_its_client_leaves(desk: Desk, warehouse: Warehouse) -> None:
    with pytest.raises(httpx.ReadTimeout):
        desk.client.post(
            "/explorer/",
            data={"csrf_token": desk.token, "statement": ENDLESS.replace("{name}", "left_behind")},
            headers=JSON,
            timeout=httpx.Timeout(2, connect=10),
        )
    wait_until(lambda: not _runs(warehouse, "left_behind"), 20)


def test_a_person_and_all_together_run_so_many_queries_at_once_and_no_more(
    edge: Edge, desk: Desk, warehouse: Warehouse
) -> None:
    others = [Desk(edge) for _ in range(AT_ONCE // AT_ONCE_OF_ONE)]
    queries = []
    try:
        for number, other in enumerate(others):
            for place in range(AT_ONCE_OF_ONE):
                name = f"busy_{number}_{place}"
                queries.append(Endless(other, name))
                wait_until(lambda name=name: _runs(warehouse, name), 20)
            third = other.run("SELECT 1")
            assert (third.status_code, third.headers["retry-after"]) == (429, "5")
            assert f"{AT_ONCE_OF_ONE} of your queries run already" in third.json()["detail"]
        refused = desk.run("SELECT 1")
        assert refused.status_code == 429
        assert f"{AT_ONCE} queries" in refused.json()["detail"]
    finally:
        ends = [query.cancel() for query in queries]
    assert ends == [409] * AT_ONCE
    assert desk.rows("SELECT 1") == [["1"]]


def test_a_result_is_shown_to_its_person_only(edge: Edge, desk: Desk) -> None:
    token = desk.run("SELECT 'mine'").json()["token"]
    other = Desk(edge)
    for address in (f"/explorer/results/{token}", f"/explorer/results/{token}/cell?row=1&column=1"):
        assert desk.client.get(address, headers=JSON).status_code == 200
        assert other.client.get(address, headers=JSON).status_code == 404


def test_the_history_is_ones_own_and_says_how_each_query_ended(edge: Edge) -> None:
    person, other = Desk(edge), Desk(edge)
    person.rows("SELECT 'remember me'")
    person.run("SELECT nothing_there")
    page = person.page()
    assert "remember me" in page
    assert "47 UNKNOWN_IDENTIFIER" in page
    assert "1 rows" in page
    assert "remember me" not in other.page()
    number = page.split("/explorer/?history=")[2].split('"')[0]
    assert (
        "remember me" in person.client.get(f"/explorer/?history={number}", headers=JSON).json()["statement"]
    )
    assert other.client.get(f"/explorer/?history={number}", headers=JSON).status_code == 404


def test_a_saved_query_is_seen_by_others_only_while_it_is_shared_and_changed_by_nobody_else(
    edge: Edge,
) -> None:
    owner, other = Desk(edge), Desk(edge)
    saved = owner.post("/explorer/saved", statement="SELECT 'kept'", title="  What  I keep ")
    number = saved.json()["id"]

    def seen(desk: Desk) -> bool:
        there = desk.client.get(f"/explorer/?saved={number}", headers=JSON).status_code == 200
        assert there == ("What I keep" in desk.page())
        return there

    assert (seen(owner), seen(other)) == (True, False)
    for address in (f"/explorer/saved/{number}/share", f"/explorer/saved/{number}/delete"):
        assert other.post(address, shared="1").status_code == 404
    assert owner.post(f"/explorer/saved/{number}/share", shared="1").status_code == 200
    assert (seen(owner), seen(other)) == (True, True)
    assert other.post(f"/explorer/saved/{number}/delete").status_code == 404
    assert owner.post(f"/explorer/saved/{number}/share", shared="0").status_code == 200
    assert (seen(owner), seen(other)) == (True, False)
    again = owner.post("/explorer/saved", statement="SELECT 'changed'", title="What I keep")
    assert again.json()["id"] == number
    found = owner.client.get(f"/explorer/?saved={number}", headers=JSON).json()
    assert found["statement"] == "SELECT 'changed'"
    assert owner.post(f"/explorer/saved/{number}/delete").status_code == 200
    assert not seen(owner)
    for title in ("", "x" * 101, "a\x07b"):
        assert owner.post("/explorer/saved", statement="SELECT 1", title=title).status_code == 422


def test_queries_go_with_a_key_that_is_rotated(edge: Edge) -> None:
    key = edge.key(Scope.READ)
    Desk(edge, key).post("/explorer/saved", statement="SELECT 1", title="Older than the key")
    rotated = edge.keys.rotate(key.split("_")[1], "pytest", timedelta(hours=1))
    page = Desk(edge, rotated.text).page()
    assert "Older than the key" in page.partition('id="saved"')[2].partition("</details>\n  ")[0]


def test_the_editor_knows_the_tables_and_nothing_secret(desk: Desk) -> None:
    found = desk.client.get("/explorer/schema", headers=JSON).json()
    tables = {(row[0] == found["columns"][0][0], row[1]) for row in found["columns"]}
    assert {(True, "ingested_data"), (True, "events_hourly"), (False, "query_log")} <= tables
    assert not {"users", "named_collections"} & {table for _, table in tables}
    assert "toStartOfHour" in found["functions"]


def test_only_the_explorer_has_a_policy_of_its_own_and_it_allows_no_inline_script(desk: Desk) -> None:
    answers = [desk.client.get("/explorer/", headers=PAGE) for _ in range(2)]
    policies = [answer.headers.get_list("content-security-policy") for answer in answers]
    assert [len(policy) for policy in policies] == [1, 1]
    assert policies[0] != policies[1]
    assert "script-src 'self';" in policies[0][0]
    assert "unsafe" not in policies[0][0]
    other = desk.client.get("/sign-in").headers.get_list("content-security-policy")
    assert len(other) == 1
    assert "nonce" not in other[0]


def test_without_a_reader_nothing_runs_and_the_page_says_what_to_set(
    edge: Edge, servers: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("no-reader")
    with running(servers, directory, clickhouse_reader_user="", clickhouse_reader_password="") as bare:  # type: ignore[arg-type]
        desk = Desk(bare)
        assert "CLICKHOUSE_READER_USER" in desk.page()
        answer = desk.run("SELECT 1")
        assert (answer.status_code, "CLICKHOUSE_READER_USER" in answer.text) == (503, True)
        assert desk.post("/explorer/export", statement="SELECT 1", format="csv").status_code == 503
        assert desk.client.get("/explorer/schema", headers=JSON).status_code == 503


def test_with_clickhouse_away_the_page_stands_and_the_query_is_told_to_come_again(
    servers: object, edge: Edge, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("away")
    with running(servers, directory) as bare:  # type: ignore[arg-type]
        desk = Desk(bare)
        bare.kill()
        bare.settings = bare.settings.model_copy(update={"clickhouse_port": 9})
        bare.start()
        desk = Desk(bare, desk.key)
        answer = desk.run("SELECT 1")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "127.0.0.1" not in answer.text
