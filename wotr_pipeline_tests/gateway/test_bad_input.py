"""Whatever a client sends gets a clear 4xx, never a 500, and nothing of it is stored twice or lost."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import hypothesis
import orjson
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from wotr_pipeline.config import Settings
from wotr_pipeline.gateway.bodies import EVENT_BYTES
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets

from ..produced import event
from .conftest import Edge, running
from .test_ingest import JSON, NDJSON, ids_in_kafka

NOT_JSON = [
    b"", b" ", b"{", b"}", b"[", b"]", b"[1,", b"[,1]", b"[1,,2]", b"[1 2]", b"[1,]", b'{"a"}', b'{"a":}', b'{"a":1,}',
    b"{'a':1}", b'{a:1}', b'{"a" 1}', b'{"a":1 "b":2}', b'{"a":1}}', b'{"a":1}#', b'{"a":1}/**/', b'//\n{}', b'"', b'"a',
    b"'a'", b'"\n"', b'"\t"', b'"\x00"', b'"\\x"', b'"\\u12"', b'"\\uD800"', b'"\\ud800\\u0041"', b"nul", b"True", b"NaN",
    b"Infinity", b"-Infinity", b"-", b"+1", b"01", b"1.", b".5", b"1e", b"1e+", b"0x10", b"1_000", b"- 1", b"\xff", b"\xfe\xff",
    b"\xef\xbb\xbf{}", b'"\xe9"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\xf4\x90\x80\x80"', b"\x00", b"{}\x00", b"[" * 5000,
    b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"<xml/>", b"a=1&b=2", "{}".encode("utf-16"),
    "{}".encode("utf-32"), b"1e400x", b'{"a":1}{"b":2}', b"1e400", b"9" * 5000,
]  # fmt: skip
JSON_AND_NO_EVENT = [
    b"null", b"true", b"5", b"-0", b'""', b'"text"', b"[]", b"[[]]", b"{}", b'{"":0}', b'{"payload":null}',
    b'{"payload":[]}', b'{"payload":{}}', b'{"id":"a","id":"b"}', b'{"__proto__":{}}', b'["\\u0000"]',
    b'{"payload":{"event_type":["api_call"],"source":"s","data":{}}}',
    b'{"payload":{"event_type":"api_call","source":{"$ne":null},"data":{}}}',
    b'{"id":5,"payload":{"event_type":"api_call","source":"s","data":{}}}',
    b'{"id":"a\\u0000b","payload":{"event_type":"api_call","source":"s","data":{}}}',
    b'{"timestamp":1795420800,"payload":{"event_type":"api_call","source":"s","data":{}}}',
]  # fmt: skip
SQL = [
    "'; DROP TABLE ingest_meta; --",
    "1 OR 1=1",
    "${jndi:ldap://x/y}",
    "{{7*7}}",
    "$(reboot)",
    "%27%20UNION%20SELECT",
    '"}],"x":[{"y":"',
]


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:20]))
def test_what_is_not_json_is_refused_as_such(edge: Edge, body: bytes) -> None:
    answer = edge.client(Scope.INGEST).post("/ingest", content=body, headers=JSON)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == ""
    assert error["reason"] in ("malformed_json", "invalid_encoding", "nesting_too_deep", "empty_message")


@pytest.mark.parametrize("body", JSON_AND_NO_EVENT, ids=lambda body: repr(body[:30]))
def test_what_is_json_and_no_event_is_refused_by_its_fields(edge: Edge, body: bytes) -> None:
    answer = edge.client(Scope.INGEST).post("/ingest", content=body, headers=JSON)
    assert answer.status_code == 422
    assert all(error["reason"] != "malformed_json" for error in answer.json()["errors"])


def test_all_of_them_in_one_batch_are_refused_one_by_one(edge: Edge) -> None:
    lines = [body for body in NOT_JSON + JSON_AND_NO_EVENT if body.strip() and b"\n" not in body]
    good = event("between-the-bad-ones")
    answer = edge.client(Scope.INGEST).post(
        "/ingest/batch", content=b"\n".join([*lines, good]), headers=NDJSON
    )
    assert answer.status_code == 202
    assert (answer.json()["rejected"], answer.json()["accepted"]) == (len(lines), 1)


@pytest.fixture(scope="module")
def offsets(edge: Edge) -> Iterator[KafkaOffsets]:
    with KafkaOffsets(edge.settings) as offsets:
        yield offsets


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:20]))
def test_a_batch_that_is_no_array_takes_nothing(edge: Edge, offsets: KafkaOffsets, body: bytes) -> None:
    before = offsets.watermarks(edge.settings.kafka_topic)
    answer = edge.client(Scope.INGEST).post("/ingest/batch", content=body, headers=JSON)
    assert 400 <= answer.status_code < 500
    assert offsets.watermarks(edge.settings.kafka_topic) == before


def test_an_array_of_millions_of_numbers_is_refused_in_bounded_memory(edge: Edge) -> None:
    body = b"[" + b"1," * 8_000_000 + b"1]"
    answer = edge.client(Scope.INGEST).post("/ingest/batch", content=body, headers=JSON)
    assert answer.status_code == 413
    assert edge.peak_mib() < 500


def test_commands_of_other_languages_are_only_text(edge: Edge) -> None:
    client, reader = edge.client(Scope.INGEST), edge.client(Scope.READ)
    for number, text in enumerate(SQL):
        name = f"{text} {number}"
        sent = event(name, source=text, user_id=text, data={"text": text, text: text})
        answer = client.post("/ingest", content=sent, headers=JSON | {"Idempotency-Key": "a';--"})
        assert answer.status_code == 202, text
        assert answer.json()["id"] == name
        found = reader.get("/events/" + "".join(f"%{byte:02x}" for byte in name.encode()))
        assert found.status_code == 200, text
    assert all(ids_in_kafka(edge).count(f"{text} {number}") == 1 for number, text in enumerate(SQL))


def test_an_idempotency_key_that_is_none_is_named(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    for key in ("", "a b", "x" * 201, "\u00e9"):
        answer = client.post(
            "/ingest", content=event("keyless"), headers=JSON | {"Idempotency-Key": key.encode()}
        )
        assert (answer.status_code, "Idempotency-Key" in answer.json()["detail"]) == (400, True)
    assert "keyless" not in ids_in_kafka(edge)


def test_paths_lead_nowhere_but_to_what_is_served(edge: Edge) -> None:
    paths = (
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/..%5capp.py", "/static/%00",
        "/static//etc/passwd", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/ingest/../admin/", "/INGEST", "/ingest/",
        "/.env", "/.git/config", "/admin/%2e%2e/static/", "/events/", "/static/", "/a" * 4000, "/%ff", "/%zz",
    )  # fmt: skip
    for path in paths:
        status, text = _raw(edge, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert status in (303, 307, 400, 401, 404, 405, 414, 431), path
        assert b"root:" not in text
        assert b"import " not in text


def test_headers_that_proxies_and_servers_read_differently_take_nothing(edge: Edge) -> None:
    key, body = edge.key(Scope.INGEST), event("smuggled")
    head = (
        f"POST /ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n".encode()
    )
    length = f"Content-Length: {len(body)}\r\n".encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    tricks = [
        head + length + b"Content-Length: 5\r\n\r\n" + body,
        head + b"Content-Length: -5\r\n\r\n" + body,
        head + b"Content-Length: 5x\r\n\r\n" + body,
        head + b"Content-Length: 99999999999999999999\r\n\r\n" + body,
        head + b"Transfer-Encoding: xchunked\r\n\r\n" + chunked,
        head + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunked,
        head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + body,
        head + b"X: a\x00b\r\n" + length + b"\r\n" + body,
        head + b"X\r\n" + length + b"\r\n" + body,
        head + b" X: folded\r\n" + length + b"\r\n" + body,
        head + b"X: " + b"a" * 300_000 + b"\r\n" + length + b"\r\n" + body,
        head + b"".join(b"X-%d: a\r\n" % number for number in range(5000)) + length + b"\r\n" + body,
        head.replace(b"HTTP/1.1", b"HTTP/9.9") + length + b"\r\n" + body,
        head.replace(b"POST", b"PO ST") + length + b"\r\n" + body,
        head.replace(b"Host: x\r\n", b"Host: x\r\nHost: y\r\n") + b"Content-Length: 3\r\n\r\n{}x",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/1.1\nHost: x\n\n",
    ]
    with ThreadPoolExecutor(len(tricks)) as pool:  # the server waits with some for what never comes
        answers = list(pool.map(lambda trick: _raw(edge, trick), tricks))
    for trick, (status, _) in zip(tricks, answers, strict=True):
        assert status == 0 or 300 <= status < 500, trick[:200]
    assert "smuggled" not in ids_in_kafka(edge)
    assert edge.answers()


def test_a_request_of_both_framings_is_one_request(edge: Edge) -> None:
    key, body = edge.key(Scope.INGEST), event("both-framings")
    hidden = b"GET /retention-policies HTTP/1.1\r\nHost: x\r\n\r\n"
    request = (
        f"POST /ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    _, text = _raw(edge, request + hidden)
    assert b"raw objects" not in text
    assert ids_in_kafka(edge).count("both-framings") <= 1


def test_a_body_that_never_ends_is_cut_off(edge: Edge) -> None:
    key = edge.key(Scope.INGEST)
    head = f"POST /ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    status, _ = _raw(edge, f"{head}Content-Length: 99999999999\r\n\r\n".encode())
    assert status == 413
    with _connected(edge) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _pour(connection, 100 * EVENT_BYTES)


@pytest.fixture(scope="module")
def impatient(
    platform: Settings, servers: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    with running(servers, tmp_path_factory.mktemp("impatient"), wotr_client_seconds="1") as edge:
        yield edge


def test_a_client_that_dawdles_is_cut_off_and_the_others_are_served(impatient: Edge) -> None:
    key = impatient.key(Scope.INGEST)
    head = f"POST /ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    dawdlers = [_connected(impatient) for _ in range(100)]
    for number, connection in enumerate(dawdlers):
        text = head[:40] if number % 2 else f'{head}Content-Length: 500\r\n\r\n{{"id":'
        connection.sendall(text.encode())
    answer = impatient.client(Scope.INGEST).post("/ingest", content=event("quick"), headers=JSON)
    assert answer.status_code == 202
    for number, connection in enumerate(dawdlers):
        connection.settimeout(30)
        text = connection.recv(4096)
        assert text == b"" or b" 408 " in text, number
        connection.close()


def test_no_request_that_the_openapi_document_knows_makes_the_gateway_fail(edge: Edge) -> None:
    document = schemathesis.openapi.from_url(f"{edge.url}/openapi.json")
    headers = {"X-API-Key": edge.key(Scope.INGEST, Scope.READ)}
    operations = [result.ok() for result in document.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/ingest", "/ingest/batch", "/validate"}
    session = requests.Session()
    for operation in operations:

        @hypothesis.given(
            case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
            | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        )
        @hypothesis.settings(
            max_examples=20, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), database=None
        )
        def no_request_fails(case: schemathesis.Case) -> None:
            answer = case.call(session=session, headers=headers)
            case.validate_response(answer, checks=[not_a_server_error])

        no_request_fails()
    session.close()


def _pour(connection: socket.socket, length: int) -> None:
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    for _ in range(length // 0x1000):
        connection.sendall(chunk)


def _connected(edge: Edge) -> socket.socket:
    address = urlsplit(edge.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def _raw(edge: Edge, request: bytes) -> tuple[int, bytes]:
    """Status of the answer (0: none, the connection was closed) and all that came."""
    text = b""
    with _connected(edge) as connection:
        deadline = time.monotonic() + 20
        try:
            connection.sendall(request)
            connection.settimeout(3)
            while time.monotonic() < deadline and (piece := connection.recv(65536)):
                text += piece
        except OSError:
            pass
    parts = text.split(b" ", 2)
    return (int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0), text


def test_every_answer_to_a_bad_request_is_a_problem_document(edge: Edge) -> None:
    for path in ("/nothing", "/events/unknown"):
        answer = edge.client(Scope.READ).get(path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(orjson.loads(answer.content)) >= {"type", "title", "status", "detail"}
