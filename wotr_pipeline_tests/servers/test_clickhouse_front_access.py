"""Who may do what at the ClickHouse front, and what the reader tries in vain."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from wotr_pipeline.servers.clickhouse_front.access import READER_SYSTEM_TABLES
from wotr_pipeline_tests.servers.front import READER, WRITER, WRITER_PASSWORD, Front

SECRET = "do not read me"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    front = Front(tmp_path_factory.mktemp("front"))
    (front.directory / "secret.csv").write_text(SECRET)
    client = front.client()
    client.command("CREATE TABLE events (x UInt64, file String) ENGINE = MergeTree ORDER BY x")
    client.command("INSERT INTO events SELECT number, 'a' FROM numbers(10)")
    client.command(f"CREATE VIEW leak AS SELECT * FROM file('{front.directory}/secret.csv', 'LineAsString')")
    yield front
    assert front.end() == 0


@pytest.fixture(scope="module")
def reader(front: Front) -> Client:
    return front.reader()


def test_nothing_but_ping_answers_without_credentials(front: Front) -> None:
    assert requests.get(f"{front.address}/ping", timeout=10).text == "Ok.\n"
    for path in ("/", "/?query=SELECT+1", "/health", "/replicas_status", "/nope"):
        answer = requests.get(front.address + path, timeout=10)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (401, "516"), path


def test_health_asks_the_engine(front: Front) -> None:
    for path in ("/health", "/replicas_status"):
        answer = requests.get(front.address + path, auth=(WRITER, WRITER_PASSWORD.encode()), timeout=10)
        assert (answer.status_code, answer.text) == (200, "Ok.\n")


@pytest.mark.parametrize("user", [WRITER, READER, "default", ""])
@pytest.mark.parametrize("password", ["", "wrong", WRITER_PASSWORD + "x"])
def test_a_wrong_password_is_refused_as_a_server_refuses_it(front: Front, user: str, password: str) -> None:
    for answer in (
        requests.post(front.address, "SELECT 1", auth=(user, password.encode()), timeout=10),
        requests.post(front.address, "SELECT 1", params={"user": user, "password": password}, timeout=10),
        requests.post(
            front.address,
            "SELECT 1",
            headers={"X-ClickHouse-User": user, "X-ClickHouse-Key": password.encode()},
            timeout=10,
        ),
    ):
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert "Authentication failed: password is incorrect" in answer.text


def test_every_way_to_send_credentials_is_understood(front: Front) -> None:
    given = {"user": WRITER, "password": WRITER_PASSWORD}
    assert requests.post(front.address, "SELECT 1", params=given, timeout=10).text == "1\n"
    basic = (WRITER.encode(), WRITER_PASSWORD.encode())
    assert requests.post(front.address, "SELECT 1", auth=basic, timeout=10).text == "1\n"
    assert front.post("SELECT 1").text == "1\n"


@pytest.mark.parametrize("missing", ["CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_READER_PASSWORD"])
def test_the_front_does_not_start_without_credentials(front: Front, missing: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in front.environment().items() if name != missing}
    command = [argument.replace(str(front.directory), str(tmp_path)) for argument in front.command()]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert missing in ended.stderr
    assert WRITER_PASSWORD not in ended.stderr


def test_the_reader_reads(reader: Client) -> None:
    assert reader.query("SELECT count(), max(x) FROM events").first_row == (10, 9)
    assert reader.query_arrow("SELECT * FROM events WHERE x < {m:Int32}", {"m": 5}).num_rows == 5
    assert reader.query("WITH 2 AS k SELECT k * number FROM numbers(2)").result_rows == [(0,), (2,)]
    assert reader.query_df("SELECT x FROM {t:Identifier} ORDER BY x", {"t": "events"}).shape == (
        10,
        1,
    )
    assert ("events",) in reader.query("SHOW TABLES").result_rows
    assert reader.query("DESCRIBE TABLE events").first_row[:2] == ("x", "UInt64")
    assert reader.raw_query("EXPLAIN SELECT 1", fmt="TSV")
    assert reader.raw_query("SELECT x AS url, '; -- it''s' AS remote FROM events LIMIT 1", fmt="TSV") == (
        b"0\t; -- it\\'s\n"
    )


WRITES = (
    "INSERT INTO events VALUES (1, 'a')",
    "INSERT INTO events FORMAT JSONEachRow {}",
    "INSERT INTO events SELECT 1, 'a'",
    "CREATE TABLE mine (x Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE mine (x Int8)",
    "ALTER TABLE events DELETE WHERE 1",
    "DROP TABLE events",
    "TRUNCATE TABLE events",
    "OPTIMIZE TABLE events",
    "KILL QUERY WHERE 1",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "SET readonly = 0",
    "BACKUP DATABASE default TO File('/tmp/backup')",
    "INSERT INTO FUNCTION file('{path}', 'CSV') SELECT 1",
    "SELECT 1 INTO OUTFILE '{path}'",
    "SELECT 1 INTO OUTFILE '{path}' TRUNCATE FORMAT CSV",
    "SELECT 1; DROP TABLE events",
    "WITH 1 AS a INSERT INTO events SELECT a, 'x'",
)
SETTINGS = (
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1 FORMAT TSV SETTINGS readonly = 0",
    "SELECT count() FROM system.one SETTINGS allow_introspection_functions = 1",
)
READS = (
    "SELECT file('{path}')",
    "SELECT `f\\x69le`('{path}')",
    "SELECT/**/`file`/**/('{path}')",
    "SELECT * APPLY(file) FROM (SELECT '{path}')",
    "SELECT * APPLY(`f\\x69le`) FROM (SELECT '{path}')",
    "SELECT * REPLACE(file(a) AS a) FROM (SELECT '{path}' AS a)",
    "SELECT arrayMap(file, ['{path}'])",
    "SELECT arrayMap(p -> file(p), ['{path}'])",
    "EXPLAIN SELECT file('{path}')",
    "EXPLAIN SYNTAX SELECT file('{path}')",
    "SHOW TABLES WHERE file('{path}') != ''",
    "SELECT * FROM file('{path}', 'LineAsString')",
    "SELECT * FROM `{path}`",
    "SELECT * FROM '{path}'",
    "SELECT * FROM leak",
    "DESCRIBE file('{path}', 'CSVWithNames')",
    "DESCRIBE TABLE file('{path}', 'CSVWithNames')",
    "SELECT * FROM (DESCRIBE file('{path}', 'CSVWithNames'))",
    "SELECT * FROM (EXPLAIN SELECT file('{path}'))",
    "SELECT $x$ $x$, file('{path}') FORMAT TSV",
    "SELECT 'a' FORMAT TSV -- '\n, file('{path}')",
    "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:9/bucket/key', 'a', 'b', 'LineAsString')",
    "SELECT * FROM s3(wotr_objects, filename = 'bucket/key', format = 'LineAsString')",
    "DESCRIBE s3(wotr_objects, filename = 'bucket/key', format = 'CSVWithNames')",
    "SELECT * FROM remote('127.0.0.1:9', system.one)",
    "SELECT * FROM executable('script', 'TSV', 'x String')",
    "SELECT * FROM filesystem('{directory}')",
    "SELECT * FROM sqlite('{path}', 't')",
    "SELECT * FROM Python(os)",
    "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM icebergLocal('{directory}')",
    "SELECT aiGenerate('a', 'b')",
    "SELECT addressToLine(1)",
    "SELECT logTrace('{path}')",
    "SELECT * FROM merge('system', '^one$')",
    "SELECT * FROM mergeTreeIndex('system', 'query_log')",
    "SELECT * FROM system.named_collections",
    "SELECT * FROM `system`.`named_collections`",
    'SELECT * FROM system /**/ . /**/ "named_collections"',
    "SELECT count() FROM view(SELECT * FROM system.processes)",
    "WITH a AS (SELECT * FROM system.disks) SELECT * FROM a",
    "SELECT 1 IN system.server_settings",
    "SHOW PROCESSLIST",
)


@pytest.mark.parametrize("attack", [*WRITES, *SETTINGS, *READS])
def test_the_reader_cannot(front: Front, reader: Client, attack: str) -> None:
    path = front.directory / "secret.csv"
    query = attack.replace("{path}", str(path)).replace("{directory}", str(front.directory))
    with pytest.raises(DatabaseError) as failure:
        print(reader.raw_query(query))
    assert SECRET not in str(failure.value)
    assert path.read_text() == SECRET
    assert front.client().command("SELECT count() FROM events") == 10


def test_the_reader_cannot_name_a_function_by_parameter(front: Front, reader: Client) -> None:
    path = str(front.directory / "secret.csv")
    for name in ("file", "FILE", "f\\x69le", "`file`"):
        with pytest.raises(DatabaseError):
            print(reader.raw_query("SELECT arrayMap({f:Identifier}, [{p:String}])", {"f": name, "p": path}))


@pytest.mark.parametrize(
    "parameters",
    [{"readonly": "0"}, {"max_execution_time": "0"}, {"max_result_rows": "0"}, {"readonly": "2"}],
)
def test_the_reader_cannot_change_its_limits_by_address(front: Front, parameters: dict[str, str]) -> None:
    given = {"user": READER, "password": "another password", "query": "SELECT 1"} | parameters
    for answer in (
        requests.post(front.address, params=given, timeout=10),
        requests.get(front.address, params=given, timeout=10),
    ):
        assert "(READONLY)" in answer.text


def test_the_reader_reads_what_describes_the_data(reader: Client) -> None:
    for table in sorted(READER_SYSTEM_TABLES - {"query_log"}):
        reader.raw_query(f"SELECT * FROM system.{table} LIMIT 1")


def test_the_reader_cannot_name_the_system_by_parameter_nor_by_the_requests_database(front: Front) -> None:
    given = {"user": READER, "password": "another password"}
    for parameters in (
        {"query": "SELECT * FROM named_collections", "database": "system"},
        {"query": "SELECT * FROM {d:Identifier}.named_collections", "param_d": "system"},
        {"query": "SELECT * FROM {t:Identifier}", "param_t": "system.named_collections"},
    ):
        answer = requests.post(front.address, params=given | parameters, timeout=10)
        assert answer.status_code == 403, answer.text
        assert "wotr_objects" not in answer.text


@pytest.mark.parametrize(
    ("bomb", "limit"),
    [
        ("SELECT count() FROM numbers(3e9)", "TOO_MANY_ROWS"),
        ("SELECT groupArray(repeat(toString(number), 100)) FROM numbers(1e8)", "MEMORY_LIMIT_EXCEEDED"),
    ],
)
def test_what_a_query_of_the_reader_may_use_is_bounded(reader: Client, bomb: str, limit: str) -> None:
    with pytest.raises(DatabaseError, match=limit):
        reader.raw_query(bomb)


def test_the_readers_results_are_bounded(reader: Client) -> None:
    with pytest.raises(DatabaseError, match="TOO_MANY_ROWS_OR_BYTES"):
        reader.raw_query("SELECT * FROM numbers(10000000)", fmt="Null")


def test_the_log_names_a_failure_without_its_content(front: Front) -> None:
    front.post(f"SELECT throwIf(1, '{SECRET}')", query_id="a-failure")
    front.post(f'INSERT INTO events FORMAT JSONEachRow\n{{"x": "{SECRET}"}}')
    log = front.log.read_text()
    assert "query a-failure of writer: FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in log
    assert SECRET not in log
    assert os.fspath(front.directory / "secret.csv") not in log
