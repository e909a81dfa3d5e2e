"""What a reader tries in the explorer, and what comes of it: a clear refusal, and nothing else.

Every statement goes through the gateway as a signed-in person's would. None may change anything, show a file, a secret or
a foreign host's answer, or bring a process down.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from wotr_pipeline.servers.clickhouse_front.access import READER_SETTINGS
from wotr_pipeline.stores.warehouse import Warehouse

from ..servers.front import READER, READER_PASSWORD, Front
from .conftest import Edge, beside
from .explorer_desk import ROWS, Desk, fill

SECRET = "nobody reads me"

WRITES = (
    "INSERT INTO ingested_data (id) VALUES ('x')",
    "INSERT INTO ingested_data (id) SELECT 'x'",
    'INSERT INTO ingested_data FORMAT JSONEachRow {"id": "x"}',
    "INSERT INTO FUNCTION file('{path}', 'CSV', 'a String') SELECT 'x'",
    "INSERT INTO FUNCTION url('http://127.0.0.1:9/', 'CSV', 'a String') SELECT 'x'",
    "WITH 'x' AS a INSERT INTO ingested_data (id) SELECT a",
    "/* read */ DELETE FROM ingested_data WHERE 1",
    "ALTER TABLE ingested_data DELETE WHERE 1",
    "ALTER TABLE ingested_data UPDATE source = 'x' WHERE 1",
    "ALTER TABLE ingested_data DROP COLUMN payload",
    "UPDATE ingested_data SET source = 'x' WHERE 1",
    "TRUNCATE TABLE ingested_data",
    "dRoP tAbLe ingested_data",
    "DROP/**/TABLE/**/`ingested_data`",
    "DROP DATABASE {database}",
    "CREATE TABLE mine (x Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE mine (x Int8)",
    "CREATE VIEW mine AS SELECT * FROM file('{path}', 'LineAsString')",
    "CREATE DATABASE mine",
    "CREATE FUNCTION mine AS x -> x",
    "CREATE DICTIONARY mine (a String) PRIMARY KEY a SOURCE(HTTP(url 'http://127.0.0.1:9/' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
    "CREATE NAMED COLLECTION mine AS url = 'http://127.0.0.1:9/'",
    "CREATE USER mine",
    "GRANT ALL ON *.* TO CURRENT_USER",
    "RENAME TABLE ingested_data TO mine",
    "EXCHANGE TABLES ingested_data AND events_daily",
    "OPTIMIZE TABLE ingested_data FINAL",
    "DETACH TABLE ingested_data",
    "ATTACH TABLE ingested_data",
    "BACKUP DATABASE {database} TO File('{path}')",
    "RESTORE DATABASE {database} FROM File('{path}')",
    "BACKUP DATABASE {database} TO S3(wotr_backups, 'mine/x/')",
    "BACKUP TABLE ingested_data TO S3(wotr_backups, 'mine/x/') SETTINGS id = 'x' ASYNC",
    "bAcKuP/**/TABLE ingested_data TO Memory('x')",
    "RESTORE TABLE ingested_data AS mine FROM S3(wotr_backups, 'mine/x/')",
    "KILL QUERY WHERE 1",
    "KILL MUTATION WHERE 1",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "SYSTEM STOP MERGES",
    "SET readonly = 0",
    "USE system",
    "SELECT 1; DROP TABLE ingested_data",
    "SELECT 1;;DROP TABLE ingested_data;",
    "SELECT 1 -- \n; DROP TABLE ingested_data",
    "SELECT 1 /* ; */ ; TRUNCATE TABLE ingested_data",
    "EXPLAIN SELECT 1; DROP TABLE ingested_data",
    "\uff24\uff32\uff2f\uff30 \uff34\uff21\uff22\uff2c\uff25 ingested_data",
    "DROP\u00a0TABLE ingested_data",
)
SETTINGS = (
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 settings ReadOnly = 0, max_execution_time = 0",
    "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1 SETTINGS max_result_rows = 0",
    "SELECT 1 SETTINGS allow_introspection_functions = 1",
    "SELECT 1 FORMAT TSV SETTINGS readonly = 0",
    "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{path}'",
)
SOURCES = (
    "SELECT 1 INTO OUTFILE '{path}'",
    "SELECT 1 INTO OUTFILE '{path}' TRUNCATE FORMAT CSV",
    "SELECT 1 INTO OUTFILE '{path}' APPEND",
    "SELECT * FROM file('{path}', 'LineAsString')",
    "SELECT * FROM FiLe('{path}', 'LineAsString')",
    "SELECT * FROM `file`('{path}', 'LineAsString')",
    "SELECT * FROM \"f\\x69le\"('{path}', 'LineAsString')",
    "SELECT file('{path}')",
    "SELECT `file`('{path}')",
    "SELECT arrayMap(file, ['{path}'])",
    "SELECT * APPLY(file) FROM (SELECT '{path}')",
    "SELECT * FROM '{path}'",
    "SELECT * FROM `{path}`",
    "DESCRIBE file('{path}', 'CSVWithNames')",
    "EXPLAIN SELECT * FROM file('{path}', 'LineAsString')",
    "SELECT * FROM fileCluster('c', '{path}', 'LineAsString')",
    "SELECT * FROM filesystem('/')",
    "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
    "SELECT * FROM url('file://{path}', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:9/b/k', 'a', 'b', 'LineAsString')",
    "SELECT * FROM s3(wotr_objects, filename = '{bucket}/x', format = 'LineAsString')",
    "SELECT * FROM s3(wotr_backups, filename = '{bucket}/x', format = 'LineAsString')",
    "DESCRIBE s3(wotr_objects, filename = '{bucket}/x')",
    "SELECT * FROM s3Cluster('c', wotr_objects, filename = 'x')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:9/', 'a', 'b', 'c', 'd')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:9/x', 'TSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1:9', system.one)",
    "SELECT * FROM remoteSecure('127.0.0.1:9', system.one)",
    "SELECT * FROM cluster('c', system.one)",
    "SELECT * FROM clusterAllReplicas('c', system.one)",
    "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM mongodb('127.0.0.1:9', 'a', 'b', 'c', 'd', 'e String')",
    "SELECT * FROM redis('127.0.0.1:9', 'a', 'a String')",
    "SELECT * FROM sqlite('{path}', 't')",
    "SELECT * FROM odbc('DSN=x', 'a', 'b')",
    "SELECT * FROM jdbc('x', 'a', 'b')",
    "SELECT * FROM executable('id', 'TSV', 'x String')",
    "SELECT * FROM input('x String')",
    "SELECT * FROM dictionary('mine')",
    "SELECT dictGet('mine', 'a', 1)",
    "SELECT * FROM iceberg('http://127.0.0.1:9/')",
    "SELECT * FROM deltaLake('http://127.0.0.1:9/')",
    "SELECT * FROM Python(os)",
    "SELECT * FROM loop(ingested_data)",
    "SELECT * FROM merge('system', '.*')",
    "SELECT * FROM mergeTreeIndex('system', 'query_log')",
    "SELECT aiGenerate('a', 'b')",
    "SELECT addressToLine(1)",
    "SELECT demangle('x')",
    "SELECT logTrace('x')",
    "SELECT catboostEvaluate('{path}', 1)",
)
SYSTEM = (
    "SELECT * FROM system.named_collections",
    "SELECT * FROM `system`.`named_collections`",
    'SELECT * FROM system /**/ . /**/ "named_collections"',
    "SELECT * FROM `system.named_collections`",
    "SELECT 'wotr_objects' IN (SELECT name FROM system.named_collections)",
    "SELECT * FROM ingested_data JOIN system.users ON 1 = 1",
    "WITH a AS (SELECT * FROM system.grants) SELECT * FROM a",
    "SELECT * FROM view(SELECT * FROM system.processes)",
    "SELECT * FROM system.users",
    "SELECT * FROM system.roles",
    "SELECT * FROM system.disks",
    "SELECT * FROM system.server_settings",
    "SELECT * FROM system.processes",
    "SELECT * FROM system.dictionaries",
    "SELECT * FROM system.backups",
    "SELECT * FROM system.stack_trace",
    "SELECT * FROM system.certificates",
    "SELECT * FROM system.user_processes",
    "SHOW PROCESSLIST",
    "SHOW USERS",
    "SHOW CREATE USER CURRENT_USER",
    "SELECT filesystemAvailable()",
)
BOMBS = (
    "SELECT count() FROM numbers(1e12)",
    "SELECT * FROM system.numbers ORDER BY number DESC",
    "SELECT sum(number) FROM system.numbers_mt",
    "SELECT groupArray(repeat(toString(number), 100)) FROM numbers(1e8)",
    "SELECT number, count() FROM numbers(1e9) GROUP BY number",
    "SELECT sleepEachRow(3), number FROM numbers(100)",
    "SELECT range(1000000000)",
    "SELECT repeat('x', 100000000000)",
    "SELECT a.number FROM numbers(1e7) a JOIN numbers(1e7) b ON a.number % 2 = b.number % 2 ORDER BY 1",
    "SELECT arrayJoin(range(1000000)) AS x, arrayJoin(range(1000001)) AS y ORDER BY x DESC, y DESC",
    "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a) SELECT max(n) FROM a",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "SELECT " + "1 + " * 12_000 + "1",
)
LONGEST_BOMB = (
    "SELECT count() FROM numbers(1e6) AS a CROSS JOIN numbers(1e6) AS b WHERE a.number * b.number % 7 = 3"
)


@pytest.fixture(scope="module")
def desk(edge: Edge) -> Desk:
    fill(edge.settings)
    return Desk(edge)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "secret.csv"
    path.write_text(SECRET)
    return path


@pytest.fixture(scope="module", autouse=True)
def unchanged(edge: Edge, desk: Desk, file: Path) -> Iterator[None]:
    """After all of them: the tables, the rows, the file and the processes are what they were."""
    warehouse = Warehouse(edge.settings)
    try:
        look = "SELECT name, total_rows FROM system.tables WHERE database = currentDatabase() ORDER BY name"
        before = warehouse.client.query(look).result_rows
        assert ("ingested_data", ROWS) in before
        yield
        assert warehouse.client.query(look).result_rows == before
    finally:
        warehouse.close()
    assert file.read_text() == SECRET
    assert edge.runs


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attack", [*WRITES, *SETTINGS, *SOURCES, *SYSTEM, *BOMBS])
def test_is_refused_or_cut_off_with_a_clear_text(edge: Edge, desk: Desk, file: Path, attack: str) -> None:
    settings = edge.settings
    statement = attack
    for name, value in (
        ("{path}", str(file)),
        ("{database}", settings.clickhouse_db),
        ("{bucket}", settings.minio_bucket),
    ):
        statement = statement.replace(name, value)
    answer = desk.run(statement)
    assert answer.status_code in (400, 403, 422), answer.text
    problem = answer.json()
    assert len(problem["detail"]) > 30
    assert SECRET not in answer.text
    for secret in (
        settings.clickhouse_password,
        settings.clickhouse_reader_password,
        settings.minio_secret_key,
        settings.postgres_password,
    ):
        assert secret.get_secret_value() not in answer.text


class BriefFront(Front):
    """A front whose reader has two seconds for a query."""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"CLICKHOUSE_READER_SECONDS": "2"}


def test_a_query_that_only_computes_ends_with_its_time(edge: Edge, tmp_path: Path) -> None:
    front = BriefFront(tmp_path)
    there = {
        "clickhouse_host": "127.0.0.1",
        "clickhouse_port": front.port,
        "clickhouse_db": "default",
        "clickhouse_reader_user": READER,
        "clickhouse_reader_password": SecretStr(READER_PASSWORD),
    }
    try:
        with beside(edge, tmp_path, **there) as brief:
            answer = Desk(brief).run(LONGEST_BOMB)
    finally:
        front.end()
    assert answer.status_code == 422
    assert answer.json()["symbol"] == "TIMEOUT_EXCEEDED"
    assert "2000.000 ms" in answer.json()["detail"]


def test_the_time_of_a_query_is_the_one_that_the_documents_name(desk: Desk) -> None:
    assert desk.rows(
        "SELECT toString(getSetting('max_execution_time')), getSetting('timeout_overflow_mode')"
    ) == [[READER_SETTINGS["max_execution_time"], READER_SETTINGS["timeout_overflow_mode"]]]


@pytest.mark.parametrize("attack", [*WRITES[:3], *SOURCES[:6], SYSTEM[0], BOMBS[0]])
def test_an_export_is_no_way_around(desk: Desk, file: Path, attack: str) -> None:
    answer = desk.post("/explorer/export", statement=attack.replace("{path}", str(file)), format="csv")
    assert answer.status_code in (400, 403, 422), answer.text


def test_fields_of_the_form_are_never_settings_nor_bound_values(desk: Desk) -> None:
    for fields in (
        {"param_t": "system.users", "readonly": "0"},
        {"database": "system", "user": "default"},
        {"query": "DROP TABLE ingested_data", "session_id": "x"},
    ):
        assert desk.run("SELECT getSetting('readonly')", **fields).json()["rows"] == [["1"]]
    assert desk.run("SELECT * FROM {t:Identifier}", param_t="system.users").status_code in (400, 403)
