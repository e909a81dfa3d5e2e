"""The ClickHouse front when clients leave, bodies are cut short, it is stopped or killed; and its memory."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from wotr_pipeline_tests.servers.front import WRITER, WRITER_PASSWORD, Front, wait_until

MIB = 1024 * 1024
CREDENTIALS = b64encode(f"{WRITER}:{WRITER_PASSWORD}".encode()).decode()
OTHERS = "SELECT count() FROM system.processes WHERE query NOT LIKE '%system.processes%'"


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    front = Front(tmp_path)
    yield front
    if front.process.poll() is None:
        front.end(signal.SIGKILL)


def test_what_was_acknowledged_is_there_after_kill_9(front: Front) -> None:
    front.client().command("CREATE TABLE t (x UInt64) ENGINE = MergeTree ORDER BY x")
    acknowledged: list[int] = []
    enough = threading.Event()

    def insert(first: int) -> None:
        client = front.client()
        with contextlib.suppress(OperationalError):
            for x in range(first, first + 1_000_000):
                client.insert("t", [[x]] * 10, column_names=["x"])
                acknowledged.append(x)
                if len(acknowledged) > 50:
                    enough.set()

    writers = [threading.Thread(target=insert, args=(n * 1_000_000,)) for n in range(4)]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    front.end(signal.SIGKILL)
    for writer in writers:
        writer.join()
    front.start()
    found = dict(front.client().query("SELECT x, count() FROM t GROUP BY x").result_rows)
    assert set(acknowledged) <= set(found)
    assert set(found.values()) == {10}


def test_sigterm_lets_a_running_statement_finish_and_exits_clean(front: Front) -> None:
    front.client().command("CREATE TABLE t (x UInt64) ENGINE = MergeTree ORDER BY x")
    written: list[int] = []

    def insert() -> None:
        slow = (
            "INSERT INTO t SELECT number + sleepEachRow(0.5) FROM numbers(4) "
            "SETTINGS max_block_size = 1, max_threads = 1"
        )
        written.append(front.client().command(slow).written_rows)

    running = threading.Thread(target=insert)
    running.start()
    wait_until(lambda: written or front.client().command(OTHERS) == 1, "the insert runs")
    assert front.end() == 0
    running.join(60)
    assert written == [4]
    front.start()
    assert front.client().command("SELECT count() FROM t") == 4


def test_sigterm_kills_what_does_not_finish_in_time(front: Front) -> None:
    front.end()
    original = front.command()
    front.command = lambda: [*original, "--stop-within", "1"]  # type: ignore[method-assign]
    front.start()
    running = threading.Thread(target=lambda: _swallow(front, "SELECT sum(number) FROM system.numbers"))
    running.start()
    wait_until(lambda: front.client().command(OTHERS) == 1, "the query runs")
    assert front.end() == 0
    running.join(60)


def _swallow(front: Front, query: str) -> None:
    with contextlib.suppress(DatabaseError, OperationalError):
        front.client(query_retries=0).command(query)


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("form", ["JSONEachRow", "CSV", "Parquet"])
def test_a_body_that_is_cut_short_between_rows_commits_nothing(front: Front, form: str, ending: str) -> None:
    client = front.client()
    client.command("CREATE TABLE t (x UInt64) ENGINE = MergeTree ORDER BY x")
    rows = {"JSONEachRow": b'{"x": 1}\n' * 400_000, "CSV": b"1\n" * 900_000, "Parquet": b""}[form]
    rows = rows or client.raw_query("SELECT number AS x FROM numbers(1000)", fmt="Parquet")
    with socket.create_connection(("127.0.0.1", front.port)) as raw:
        raw.sendall(
            f"POST /?query=INSERT+INTO+t+FORMAT+{form} HTTP/1.1\r\nHost: front\r\nTransfer-Encoding: chunked\r\n"
            f"Authorization: Basic {CREDENTIALS}\r\n\r\n{len(rows):x}\r\n".encode()
        )
        raw.sendall(rows + b"\r\n")
        if form != "Parquet":  # that one begins once the file is complete
            wait_until(lambda: client.command(OTHERS) == 1, "the insert runs")
        if ending == "reset":
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: "CLIENT_GONE" in front.log.read_text(), "the front noticed")
    assert client.command(OTHERS) == 0
    assert client.command("SELECT count() FROM t") == 0


def test_a_body_that_ends_within_a_compressed_frame_commits_nothing(front: Front) -> None:
    import lz4.frame

    client = front.client()
    client.command("CREATE TABLE t (x UInt64) ENGINE = MergeTree ORDER BY x")
    body = lz4.frame.compress(b'{"x": 1}\n' * 100_000)
    for broken in (body[:-100], body + b"garbage", body + body[: len(body) // 2]):
        with pytest.raises(DatabaseError, match="CANNOT_DECOMPRESS"):
            client.raw_insert("t", ["x"], broken, fmt="JSONEachRow", compression="lz4")
    assert client.command("SELECT count() FROM t") == 0


@pytest.mark.parametrize(
    "query", ["SELECT number FROM system.numbers", "SELECT sum(number) FROM system.numbers"]
)
def test_a_client_that_leaves_ends_its_select(front: Front, query: str) -> None:
    client = front.client()
    select = _request(front, query)
    wait_until(lambda: client.command(OTHERS) == 1, "the select runs")
    if "sum" not in query:
        assert len(select.getresponse().read(MIB)) == MIB
    select.close()
    wait_until(lambda: client.command(OTHERS) == 0, "the select is over")


def test_a_client_that_leaves_does_not_end_its_insert(front: Front) -> None:
    client = front.client()
    client.command("CREATE TABLE t (x UInt64) ENGINE = MergeTree ORDER BY x")
    slow = "FROM numbers(6) SETTINGS max_block_size = 1, max_threads = 1"
    insert = _request(front, f"INSERT INTO t SELECT number + sleepEachRow(0.3) {slow}")
    wait_until(
        lambda: client.command(OTHERS) + client.command("SELECT count() FROM t"), "the insert has begun"
    )
    insert.close()
    wait_until(lambda: client.command("SELECT count() FROM t") == 6, "the insert has finished")


def _request(front: Front, query: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
    connection.request("POST", "/", query, {"Authorization": f"Basic {CREDENTIALS}"})
    return connection


def test_a_client_that_only_connects_holds_nobody_up(front: Front) -> None:
    with contextlib.ExitStack() as silent:
        for _ in range(50):
            raw = silent.enter_context(socket.create_connection(("127.0.0.1", front.port)))
            raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n")
        assert front.client().command("SELECT 1") == 1


def test_headers_without_end_are_refused(front: Front) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=60) as raw:
        with contextlib.suppress(ConnectionError):
            raw.sendall(b"POST / HTTP/1.1\r\nX-Long: " + b"x" * (3 * MIB))
        with contextlib.suppress(ConnectionError):
            assert raw.recv(12) in (b"HTTP/1.1 400", b"")
    assert front.client().command("SELECT 1") == 1


def test_a_body_of_any_size_takes_bounded_memory(front: Front) -> None:
    client = front.client(compress=False)
    client.command("CREATE TABLE t (x UInt64, s String) ENGINE = Null")
    piece = client.raw_query(
        "SELECT number AS x, randomPrintableASCII(500) AS s FROM numbers(60000)", fmt="Native"
    )
    copies = 60
    assert copies * len(piece) > 1700 * MIB
    before = front.forget_peak_memory()
    # The engine gathers 256 MiB for one block by default; that is its memory, not the front's.
    settings = {"min_insert_block_size_bytes": 16 * MIB}
    pieces = (piece for _ in range(copies))
    assert client.raw_insert("t", ["x", "s"], pieces, settings, "Native").written_rows == copies * 60_000
    assert front.peak_memory() - before < 800 * MIB


def test_a_result_of_any_size_takes_bounded_memory(front: Front) -> None:
    client = front.client(compress=False)
    before = front.forget_peak_memory()
    query = "SELECT number, repeat('some text', 10) AS s FROM numbers(15000000)"
    result: Any = client.raw_stream(query, fmt="Native")
    received = 0
    while data := result.read(4 * MIB):
        received += len(data)
    assert received > 1300 * MIB
    assert front.peak_memory() - before < 600 * MIB


def test_a_second_front_on_the_same_data_says_so_and_ends(front: Front) -> None:
    command = [argument.replace(str(front.port), "1") for argument in front.command()]
    ended = subprocess.run(
        command, env=front.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "not started" in ended.stderr
    assert json.loads(front.post("SELECT 1 AS a FORMAT JSONEachRow").text) == {"a": 1}
