"""Events over HTTP: what is acknowledged is in Kafka once, and everything else is refused with its reason."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson

from wotr_pipeline.events.rules import Accepted, judge
from wotr_pipeline.gateway.bodies import EVENT_BYTES, MOST_EVENTS
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.kafka_records import RecordReader

from ..produced import BAD, event
from .conftest import Edge

JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}


def in_kafka(edge: Edge) -> list[bytes]:
    """Every message of the topic."""
    topic = edge.settings.kafka_topic
    with KafkaOffsets(edge.settings) as offsets:
        marks = offsets.watermarks(topic)
    values: list[bytes] = []
    with RecordReader(edge.settings) as reader:
        for partition, mark in marks.items():
            first = mark.low
            while first < mark.high:
                found = reader.read(partition, first, mark.high - 1, 1024**3)
                values += [value for value in found.table["value"].to_pylist() if value is not None]
                first = found.last_offset + 1
    return values


def ids_in_kafka(edge: Edge) -> list[str]:
    return [orjson.loads(value)["id"] for value in in_kafka(edge)]


def test_an_accepted_event_is_in_kafka_as_it_was_sent(edge: Edge) -> None:
    sent = event("as-it-was-sent")
    answer = edge.client(Scope.INGEST).post("/ingest", content=sent, headers=JSON)
    assert answer.status_code == 202
    assert answer.json()["id"] == "as-it-was-sent"
    assert answer.json()["position"].startswith(edge.settings.kafka_topic)
    assert sent in in_kafka(edge)


def test_id_and_timestamp_are_filled_in_so_that_the_pipeline_accepts_it(edge: Edge) -> None:
    body = {"payload": {"event_type": "error", "source": "filled", "data": {}}}
    answer = edge.client(Scope.INGEST).post("/ingest", json=body)
    assert answer.status_code == 202
    assert answer.json()["warnings"] == ["error_without_error_message"]
    (found,) = [value for value in in_kafka(edge) if b'"filled"' in value]
    verdict = judge(found)
    assert isinstance(verdict, Accepted)
    assert verdict.id == answer.json()["id"]


def test_the_same_id_again_is_answered_as_before_and_published_once(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    first, *again = [client.post("/ingest", content=event("same-id"), headers=JSON) for _ in range(3)]
    assert [answer.json() for answer in again] == [first.json()] * 2
    assert [answer.status_code for answer in again] == [202, 202]
    assert again[0].headers["idempotent-replayed"] == "true"
    assert ids_in_kafka(edge).count("same-id") == 1


def test_the_same_id_at_once_from_many_is_published_once(edge: Edge) -> None:
    clients = [edge.client(Scope.INGEST) for _ in range(8)]
    barrier = threading.Barrier(8)

    def send(client: httpx.Client) -> str:
        barrier.wait()
        answer = client.post("/ingest", content=event("at-once"), headers=JSON)
        assert answer.status_code == 202
        return str(answer.json()["position"])

    with ThreadPoolExecutor(8) as pool:
        positions = set(pool.map(send, clients))
    assert len(positions) == 1
    assert ids_in_kafka(edge).count("at-once") == 1


def test_the_same_id_with_other_content_says_that_it_differs(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    first = client.post("/ingest", content=event("differs"), headers=JSON).json()
    second = client.post("/ingest", content=event("differs", source="another"), headers=JSON).json()
    assert second == first | {"differs": True}
    assert ids_in_kafka(edge).count("differs") == 1


def test_a_request_repeated_under_its_idempotency_key_publishes_nothing(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    batch = [{"payload": {"event_type": "error", "source": "keyed", "data": {"n": n}}} for n in range(5)]
    headers = {"Idempotency-Key": "request-17"}
    first = client.post("/ingest/batch", json=batch, headers=headers).json()
    second = client.post("/ingest/batch", json=batch, headers=headers).json()
    assert (first["accepted"], second["repeated"]) == (5, 5)
    assert [told["id"] for told in first["events"]] == [told["id"] for told in second["events"]]
    assert len([value for value in in_kafka(edge) if b'"keyed"' in value]) == 5

    batch[2]["payload"]["data"] = {"n": "another"}  # type: ignore[index]
    reused = client.post("/ingest/batch", json=batch, headers=headers)
    assert reused.status_code == 422
    assert "Idempotency-Key" in reused.json()["detail"]
    assert len([value for value in in_kafka(edge) if b'"keyed"' in value]) == 5


def test_another_key_under_the_same_idempotency_key_is_another_request(edge: Edge) -> None:
    body = {"payload": {"event_type": "error", "source": "two-callers", "data": {}}}
    headers = {"Idempotency-Key": "request-18"}
    ids = {
        edge.client(Scope.INGEST).post("/ingest", json=body, headers=headers).json()["id"] for _ in range(2)
    }
    assert len(ids) == 2


def test_a_rejected_event_names_each_field_and_is_not_published(edge: Edge) -> None:
    before = len(in_kafka(edge))
    body = {
        "timestamp": "yesterday",
        "payload": {"event_type": "x", "source": "", "data": [], "tags": ["a b"]},
    }
    answer = edge.client(Scope.INGEST).post("/ingest", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [(error["field"], error["reason"]) for error in answer.json()["errors"]] == [
        ("timestamp", "invalid_timestamp"),
        ("payload.event_type", "unknown_event_type"),
        ("payload.source", "empty_value"),
        ("payload.data", "wrong_type"),
        ("payload.tags[0]", "invalid_tag"),
    ]
    assert "a b" not in answer.text
    assert len(in_kafka(edge)) == before


def test_one_bad_event_of_a_batch_never_holds_back_a_good_one(edge: Edge) -> None:
    good = [event(f"batch-{n}") for n in range(50)]
    lines = [*good[:25], *BAD, *good[25:], good[0], b"", b"  "]
    answer = edge.client(Scope.INGEST).post("/ingest/batch", content=b"\n".join(lines), headers=NDJSON)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["accepted"], told["rejected"], told["repeated"], told["failed"]) == (50, len(BAD), 1, 0)
    assert [one["index"] for one in told["events"]] == list(range(50 + len(BAD) + 1))
    assert all(one["errors"] for one in told["events"] if one["status"] == "rejected")
    published = ids_in_kafka(edge)
    assert all(published.count(f"batch-{n}") == 1 for n in range(50))


def test_an_array_takes_what_is_no_event_as_a_rejected_one(edge: Edge) -> None:
    body = b'[%s, 5, null, "text", [], {}]' % event("in-array")
    answer = edge.client(Scope.INGEST).post("/ingest/batch", content=body, headers=JSON)
    assert answer.status_code == 202
    assert [one["status"] for one in answer.json()["events"]] == ["accepted"] + ["rejected"] * 5


def test_a_batch_of_bad_events_only_is_422_with_every_verdict(edge: Edge) -> None:
    answer = edge.client(Scope.INGEST).post("/ingest/batch", json=[{}, 5])
    assert answer.status_code == 422
    assert answer.json()["rejected"] == 2
    assert len(answer.json()["events"]) == 2


def test_ten_thousand_events_are_a_batch_and_one_more_is_not(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    events = [event(f"many-{n}") for n in range(MOST_EVENTS + 1)]
    assert client.post("/ingest/batch", content=b"\n".join(events), headers=NDJSON).status_code == 413
    assert (
        client.post("/ingest/batch", content=b"[" + b",".join(events) + b"]", headers=JSON).status_code == 413
    )
    answer = client.post("/ingest/batch", content=b"\n".join(events[:-1]), headers=NDJSON)
    assert answer.json()["accepted"] == MOST_EVENTS


def test_validating_says_what_ingesting_would_and_publishes_nothing(edge: Edge) -> None:
    before = len(in_kafka(edge))
    client = edge.client(Scope.INGEST)
    good = client.post("/validate", content=event("only-asked"), headers=JSON).json()
    bad = client.post("/validate", content=BAD[2], headers=JSON).json()
    assert good == {"valid": True, "warnings": []}
    assert (bad["valid"], bad["errors"][0]["field"]) == (False, "payload.event_type")
    assert len(in_kafka(edge)) == before


def test_without_a_valid_key_with_the_scope_nothing_is_taken(edge: Edge) -> None:
    revoked = edge.key(Scope.INGEST)
    edge.keys.revoke(revoked.split("_")[1])
    for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": "wotr_000000000000_x"}, {"X-API-Key": revoked}):
        answer = edge.client().post("/ingest", content=event("no-key"), headers=JSON | headers)
        assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid or missing API key")
    answer = edge.client(Scope.READ).post("/ingest", content=event("no-scope"), headers=JSON)
    assert answer.status_code == 403
    assert "scope ingest" in answer.json()["detail"]
    assert not {"no-key", "no-scope"} & set(ids_in_kafka(edge))


def test_a_key_beyond_its_rate_is_told_when_to_go_on(edge: Edge) -> None:
    key = edge.key(Scope.INGEST, events_per_minute=10)
    client = edge.client(**{"X-API-Key": key})
    body = b"\n".join(event(f"rated-{n}") for n in range(8))
    assert client.post("/ingest/batch", content=body, headers=NDJSON).status_code == 202
    refused = client.post("/ingest/batch", content=body, headers=NDJSON)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 121
    assert client.post("/ingest", content=event("rated-9"), headers=JSON).status_code == 202


def test_what_is_too_long_or_of_another_kind_is_refused_by_name(edge: Edge) -> None:
    client = edge.client(Scope.INGEST)
    big = event("big", data={"text": "x" * EVENT_BYTES})
    assert client.post("/ingest", content=big, headers=JSON).status_code == 413
    chunks = (big[start : start + 4096] for start in range(0, len(big), 4096))  # no Content-Length
    assert client.post("/ingest", content=chunks, headers=JSON).status_code == 413
    for kind in ("text/plain", "application/xml", "application/json; charset=utf-16", ""):
        answer = client.post("/ingest", content=event("kind"), headers={"Content-Type": kind})
        assert answer.status_code == 415, kind
    gzip = JSON | {"Content-Encoding": "gzip"}
    assert client.post("/ingest", content=event("kind"), headers=gzip).status_code == 415
    assert client.get("/ingest").status_code == 405
    assert "kind" not in ids_in_kafka(edge)


def test_the_examples_of_the_openapi_document_run(edge: Edge) -> None:
    client = edge.client(Scope.ADMIN)
    document = client.get("/openapi.json").json()
    ran = 0
    for path, methods in document["paths"].items():
        for content_type, content in (
            methods.get("post", {}).get("requestBody", {}).get("content", {}).items()
        ):
            for example in content.get("examples", {}).values():
                body = json.dumps(example["value"])
                answer = client.post(path, content=body, headers={"Content-Type": content_type})
                assert answer.status_code in (200, 202), (path, answer.text)
                ran += 1
    assert ran >= 7


def test_where_an_event_is_can_be_asked_by_its_id(edge: Edge) -> None:
    edge.client(Scope.INGEST).post("/ingest", content=event("where/is it?"), headers=JSON)
    reader = edge.client(Scope.READ)
    found = reader.get("/events/where%2Fis%20it%3F")
    assert found.status_code == 200
    assert found.json()["steps"][0]["what"] == "accepted by the gateway"
    assert reader.get("/events/never-sent").status_code == 404
    assert edge.client(Scope.INGEST).get("/events/x").status_code == 403
