"""The ClickHouse front as clickhouse-connect sees it: its own calls are the tests.

Belongs here: what clients may rely on. Does not belong here: who may do what
(``test_clickhouse_front_access.py``), crashes and limits (``test_clickhouse_front_faults.py``).
"""

import gzip
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from uuid import UUID

import clickhouse_connect
import lz4.frame
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import requests
from backports import zstd
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from wotr_pipeline_tests.servers.front import WRITER, WRITER_PASSWORD, Front, wait_until

ROWS = 100_000


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("front"))
    yield front
    assert front.end() == 0


@pytest.fixture(scope="module")
def client(front: Front) -> Client:
    return front.client()


@pytest.fixture
def table(client: Client, request: pytest.FixtureRequest) -> str:
    name = f"t{abs(hash(request.node.nodeid))}"
    client.command(
        "CREATE TABLE {name:Identifier} (x UInt64, s String) ENGINE = MergeTree ORDER BY x", {"name": name}
    )
    return name


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return pa.table({"x": np.arange(ROWS, dtype="uint64"), "s": [f"value {n}" for n in range(ROWS)]})


def assert_all_rows(client: Client, table: str, copies: int = 1) -> None:
    found = client.query(f"SELECT count(), uniqExact(x), sum(x), uniqExact(s) FROM {table}").result_rows
    assert found == [(copies * ROWS, ROWS, copies * ROWS * (ROWS - 1) // 2, ROWS)]


def test_a_default_client_needs_no_options(front: Front) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=front.port, username=WRITER, password=WRITER_PASSWORD
    )
    assert client.query("SELECT number FROM numbers(3)").result_rows == [(0,), (1,), (2,)]
    assert client.ping()


def test_rows_columns_and_types_come_back_as_written(client: Client) -> None:
    result = client.query("SELECT number, toString(number) AS s, [number, NULL] AS a FROM numbers(2)")
    assert result.column_names == ("number", "s", "a")
    assert result.result_rows == [(0, "0", [0, None]), (1, "1", [1, None])]
    assert client.query("SELECT 1 AS a WHERE 0").result_rows == []
    assert client.query("SELECT 1 AS a LIMIT 0").column_names == ("a",)
    assert client.query_np("SELECT number FROM numbers(5)").tolist() == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip", "deflate"])
def test_results_arrive_whole_with_every_compression(front: Front, compress: str | bool) -> None:
    client = front.client(compress=compress)
    query = f"SELECT number AS x, toString(number) AS s FROM numbers({ROWS})"
    assert client.query_arrow(query).column("x").to_pylist() == list(range(ROWS))
    assert client.query_df(query).shape == (ROWS, 2)
    assert client.query(query).result_rows[-1] == (ROWS - 1, str(ROWS - 1))


def test_results_stream_as_rows_blocks_frames_and_arrow(client: Client) -> None:
    query = f"SELECT number AS x FROM numbers({ROWS})"
    with client.query_rows_stream(query) as stream:
        assert sum(row[0] for row in stream) == ROWS * (ROWS - 1) // 2
    with client.query_row_block_stream(query) as stream:
        blocks = [len(block) for block in stream]
    assert sum(blocks) == ROWS
    assert len(blocks) > 1
    with client.query_df_stream(query) as stream:
        assert sum(len(frame) for frame in stream) == ROWS
    with client.query_arrow_stream(query) as stream:
        assert sum(batch.num_rows for batch in stream) == ROWS


@pytest.mark.parametrize("form", ["JSON", "Parquet", "Arrow", "CSVWithNames", "JSONEachRow", "Pretty"])
def test_any_format_is_one_well_formed_document(client: Client, form: str) -> None:
    body = client.raw_query(f"SELECT number AS x FROM numbers({ROWS})", fmt=form)
    if form == "JSON":
        assert len(requests.models.complexjson.loads(body)["data"]) == ROWS
    if form == "Parquet":
        assert pa.parquet.read_table(io.BytesIO(body)).num_rows == ROWS
    if form == "Arrow":
        assert pa.ipc.open_file(body).read_all().num_rows == ROWS
    if form in ("CSVWithNames", "JSONEachRow"):
        assert body.count(b"\n") == ROWS + (form == "CSVWithNames")


def test_an_insert_of_tuples_frames_and_arrow_counts_what_it_wrote(
    client: Client, table: str, rows: pa.Table
) -> None:
    assert client.insert(table, [(1, "a"), (2, "b")], column_names=["x", "s"]).written_rows == 2
    client.command(f"TRUNCATE TABLE {table}")
    assert client.insert_df(table, rows.to_pandas()).written_rows == ROWS
    assert_all_rows(client, table)
    summary = client.insert_arrow(table, rows)
    assert summary.written_rows == ROWS
    assert int(summary.summary["read_rows"]) == ROWS
    assert_all_rows(client, table, copies=2)


COMPRESSIONS: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": lambda data: gzip.compress(data, 1),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("form", ["Native", "Parquet", "Arrow", "ArrowStream", "JSONEachRow"])
def test_a_body_of_many_frames_is_read_to_its_end(
    client: Client, table: str, rows: pa.Table, form: str, compression: str | None
) -> None:
    body = encoded(client, rows, form)
    compress, step = COMPRESSIONS[compression], len(body) // 40
    pieces = [compress(body[at : at + step]) for at in range(0, len(body), step)]
    summary = client.raw_insert(table, ["x", "s"], iter(pieces), fmt=form, compression=compression)
    assert summary.written_rows == ROWS
    assert_all_rows(client, table)
    client.raw_insert(table, ["x", "s"], b"".join(pieces), fmt=form, compression=compression)
    assert_all_rows(client, table, copies=2)


def encoded(client: Client, rows: pa.Table, form: str) -> bytes:
    target = io.BytesIO()
    if form == "Parquet":
        pa.parquet.write_table(rows, target)
    elif form == "Arrow":
        pa.feather.write_feather(rows, target, compression="uncompressed")
    elif form == "ArrowStream":
        with pa.ipc.new_stream(target, rows.schema) as stream:
            stream.write_table(rows, max_chunksize=10_000)
    else:
        return client.raw_query(
            f"SELECT number AS x, 'value ' || toString(number) AS s FROM numbers({ROWS})", fmt=form
        )
    return target.getvalue()


def test_inserts_of_values_and_of_selects_count_what_they_did(client: Client, table: str) -> None:
    values = client.command(f"INSERT INTO {table} VALUES (1, 'a;b'), (2, 'FORMAT x')")
    assert values.written_rows == 2
    selected = client.command(f"INSERT INTO {table} SELECT number, 'n' FROM numbers(1000)")
    assert (selected.written_rows, int(selected.summary["read_rows"])) == (1000, 1000)
    assert client.query(f"SELECT s FROM {table} WHERE x = 2 ORDER BY s").result_rows == [
        ("FORMAT x",),
        ("n",),
    ]


def test_an_insert_may_name_columns_like_keywords_and_carry_comments_and_settings(front: Front) -> None:
    front.post("CREATE TABLE format (`select` UInt8, `a)b` String) ENGINE = Memory").raise_for_status()
    query = (
        b"/* INSERT ( */ INSERT -- SELECT '\n INTO format (`select`, `a)b`) "
        b"SETTINGS max_block_size = 7 FORMAT JSONEachRow\n"
    )
    front.post(query + b'{"select": 1, "a)b": "FORMAT"}\n').raise_for_status()
    assert front.post("SELECT * FROM format # a comment").text == "1\tFORMAT\n"
    assert front.post("SELECT * FROM format FORMAT CSV;").text == '1,"FORMAT"\n'
    assert front.post("SELECT 1 AS format FORMAT TSV SETTINGS max_threads = 1").text == "1\n"


def test_the_same_deduplication_token_inserts_once(client: Client, table: str, rows: pa.Table) -> None:
    client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 100")
    for _ in range(2):
        client.insert_arrow(table, rows, settings={"insert_deduplication_token": "topic:0:0-9:1"})
    assert_all_rows(client, table)
    client.insert_arrow(table, rows, settings={"insert_deduplication_token": "topic:0:0-9:2"})
    assert_all_rows(client, table, copies=2)


@pytest.mark.parametrize("form_encode", [False, True])
def test_bound_parameters_keep_their_type_and_every_character(front: Front, form_encode: bool) -> None:
    client = front.client(form_encode_query_params=form_encode)
    values = {
        "text": "tab\t newline\n quote' back\\slash nul\0 ünï {x:String} %",
        "list": [1, 2, 3],
        "texts": ["a'b", "c\\d"],
        "time": datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC),
        "day": date(2026, 3, 1),
        "nothing": None,
        "number": -5,
        "real": 1.5,
        "id": UUID(int=7),
    }
    types = ("String", "Array(UInt8)", "Array(String)", "DateTime64(6, 'UTC')", "Date", "Nullable(String)")
    types += ("Int64", "Float64", "UUID")
    bound = ", ".join(f"{{{name}:{kind}}}" for name, kind in zip(values, types, strict=True))
    found = client.query(f"SELECT {bound}", parameters=values, query_tz="UTC", tz_mode="aware").first_row
    assert list(found) == list(values.values())
    assert (
        client.command("SELECT count() FROM {db:Identifier}.{t:Identifier}", {"db": "system", "t": "one"})
        == 1
    )


def test_a_long_statement_travels_as_a_form(front: Front) -> None:
    client = front.client(form_encode_query_params=True)
    assert client.query("SELECT length({a:String})", parameters={"a": "x" * 200_000}).first_row == (200_000,)


def test_settings_database_and_comment_reach_the_engine_and_leave_nothing_behind(front: Front) -> None:
    query = "SELECT getSetting('max_block_size'), currentDatabase(), getSetting('log_comment')"
    client = front.client(database="system")
    settings = {"max_block_size": 77, "log_comment": "it's {mine} \\ ü"}
    assert client.query(query, settings=settings).first_row == (77, "system", "it's {mine} \\ ü")
    after = front.client(database="default").query(query).first_row
    assert after[0] != 77
    assert after[1] == "default"


def test_errors_carry_the_engines_code_text_and_status(front: Front, client: Client, table: str) -> None:
    for query, code, name, status in (
        ("SELECT nope", 47, "UNKNOWN_IDENTIFIER", 404),
        ("SELECT * FROM nope", 60, "UNKNOWN_TABLE", 404),
        ("SELEC 1", 62, "SYNTAX_ERROR", 400),
        ("SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", 500),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR", 400),
        ("", 62, "SYNTAX_ERROR", 400),
        (
            f"INSERT INTO {table} (x) FORMAT JSONEachRow\n{{'x': 'one'}}",
            26,
            "CANNOT_PARSE_QUOTED_STRING",
            400,
        ),
    ):
        answer = front.post(query)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code)), (
            query
        )
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
        assert f"({name})" in answer.text
        assert "/dev/fd" not in answer.text
    with pytest.raises(DatabaseError) as failure:
        client.query("SELECT nope")
    assert failure.value.code == 47
    assert "UNKNOWN_SETTING" in front.post("SELECT 1", no_such_setting="1").text


def read_all(client: Client, query: str) -> None:
    with client.query_row_block_stream(query) as stream:
        for _ in stream:
            pass


def test_an_error_after_the_first_bytes_is_never_taken_for_the_end(front: Front, client: Client) -> None:
    query = "SELECT throwIf(number = 3000000) FROM numbers(5000000)"
    with pytest.raises(StreamFailureError, match="FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"):
        read_all(client, query)
    with pytest.raises(DatabaseError, match="FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"):
        client.query(query)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        front.post(query)


def test_a_query_is_found_by_its_log_comment_and_can_be_killed(
    front: Front, client: Client, table: str
) -> None:
    failure: list[DatabaseError] = []

    def run() -> None:
        try:
            front.client().command(
                f"INSERT INTO {table} SELECT number, toString(sleepEachRow(1)) FROM numbers(600) "
                "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0",
                settings={"log_comment": "load-7"},
            )
        except DatabaseError as error:
            failure.append(error)

    running = threading.Thread(target=run)
    running.start()
    mine = "Settings['log_comment'] LIKE 'load-%'"
    found = f"SELECT count() FROM system.processes WHERE {mine}"
    wait_until(lambda: client.command(found) == 1, "the query is listed")
    client.command(f"KILL QUERY WHERE {mine} SYNC")
    running.join(60)
    assert failure[0].code == 394
    assert client.command(found) == 0


def test_a_query_id_comes_back_and_without_a_comment_stands_in_the_log(client: Client) -> None:
    result = client.query("SELECT 'logged once'", settings={"query_id": "my-query-1"})
    assert result.query_id == "my-query-1"
    commented = client.query("SELECT 'logged twice'", settings={"query_id": "q2", "log_comment": "run 5"})
    assert commented.query_id == "q2"
    client.command("SYSTEM FLUSH LOGS")
    for comment, text in (("my-query-1", "logged once"), ("run 5", "logged twice")):
        logged = client.query(
            "SELECT query FROM system.query_log WHERE log_comment = {c:String} AND type = 'QueryFinish'",
            parameters={"c": comment},
        ).result_rows
        assert len(logged) == 1
        assert text in logged[0][0]


def test_what_needs_a_session_is_refused_with_what_to_do(front: Front, client: Client) -> None:
    with pytest.raises(DatabaseError, match="autogenerate_session_id=False") as failure:
        front.client(session_id="mine").query("SELECT 1")
    assert failure.value.code == 48
    for statement in ("SET max_threads = 1", "USE system", "CREATE TEMPORARY TABLE t (x Int8)"):
        with pytest.raises(DatabaseError, match="every request stands alone"):
            client.command(statement)


def test_a_get_request_cannot_write(front: Front, table: str) -> None:
    def get(query: str) -> requests.Response:
        headers = {"X-ClickHouse-User": WRITER, "X-ClickHouse-Key": WRITER_PASSWORD.encode()}
        return requests.get(front.address, params={"query": query}, headers=headers, timeout=60)

    assert get("SELECT 1").text == "1\n"
    assert "READONLY" in get(f"DROP TABLE {table}").text
    assert front.post(f"EXISTS TABLE {table}").text == "1\n"


def test_eight_clients_at_once_lose_nothing(front: Front, client: Client, table: str, rows: pa.Table) -> None:
    def work(_: int) -> int:
        own = front.client()
        own.insert_arrow(table, rows)
        return own.query_arrow(f"SELECT x FROM {table} LIMIT {ROWS}").num_rows

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [ROWS] * 8
    assert_all_rows(client, table, copies=8)


def test_an_object_store_that_is_away_fails_the_query_instead_of_holding_it(client: Client) -> None:
    with pytest.raises(DatabaseError) as failure:
        client.query(
            "SELECT * FROM s3(wotr_objects, filename = {key:String}, format = 'Parquet', structure = 'x Int8')",
            parameters={"key": "bucket/key.parquet"},
        )
    assert failure.value.code == 499
    assert "the-secret-key" not in str(failure.value)


def test_frames_of_a_data_frame_survive_the_round_trip(client: Client, table: str) -> None:
    frame = pd.DataFrame({"x": [1, 2], "s": ["ü", ""]})
    client.insert_df(table, frame)
    assert client.query_df(f"SELECT * FROM {table} ORDER BY x").values.tolist() == frame.values.tolist()
