"""Keys: what they open, when they stop to, and what is known of them afterwards."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from wotr_pipeline.stores.api_keys import Scope, granted, id_of
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.ledger_database import connect

from ..produced import event
from ..topics import wait_until
from .conftest import Edge
from .test_ingest import JSON

HEADERS = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
ROUTES = [
    ("POST", "/ingest", Scope.INGEST),
    ("POST", "/ingest/batch", Scope.INGEST),
    ("POST", "/validate", Scope.INGEST),
    ("GET", "/events/x", Scope.READ),
    ("GET", "/retention-policies", Scope.READ),
]


def _status(edge: Edge, key: str) -> int:
    """What a request that wants the scope read is answered."""
    answer = edge.client(**{"X-API-Key": key}).get("/retention-policies")
    return answer.status_code


def test_a_key_is_stored_as_its_digest_only(edge: Edge) -> None:
    text = edge.key(Scope.READ)
    engine = connect(edge.settings, "pytest", dedicated=True)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT api_keys::text FROM api_keys")).scalars().all()
    assert not any(text in row or text.split("_", 2)[2] in row for row in rows)
    assert any(hashlib.sha256(text.encode()).hexdigest() in row for row in rows)


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_each_route_takes_the_scopes_it_wants_and_no_other(
    edge: Edge, method: str, path: str, scope: Scope
) -> None:
    for given in Scope:
        answer = edge.client(given).request(method, path, headers=JSON)
        if scope in granted([given]):
            assert answer.status_code not in (401, 403), given
        else:
            assert answer.status_code == 403, given
    assert edge.client().request(method, path, headers=JSON).status_code == 401


def test_a_key_that_has_expired_opens_nothing(edge: Edge) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    key = edge.keys.create("short", [Scope.READ], "pytest", expires_at=soon).text
    assert _status(edge, key) == 200
    wait_until(lambda: _status(edge, key) == 401, 30)


def test_a_revoked_key_opens_nothing_within_seconds(edge: Edge) -> None:
    key = edge.key(Scope.READ)
    assert _status(edge, key) == 200
    edge.keys.revoke(id_of(key) or "")
    wait_until(lambda: _status(edge, key) == 401, 30)
    with pytest.raises(PermanentError, match="not revoked"):
        edge.keys.revoke(id_of(key) or "")


def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_is_over(edge: Edge) -> None:
    old = edge.key(Scope.READ)
    new = edge.keys.rotate(id_of(old) or "", "pytest", timedelta(seconds=3)).text
    assert (_status(edge, old), _status(edge, new)) == (200, 200)
    wait_until(lambda: _status(edge, old) == 401, 60)
    assert _status(edge, new) == 200
    with pytest.raises(PermanentError, match="still valid"):
        edge.keys.rotate(id_of(old) or "", "pytest", timedelta())


def test_the_id_of_a_key_without_its_secret_opens_nothing(edge: Edge) -> None:
    key = edge.key(Scope.READ)
    prefix = "_".join(key.split("_", 2)[:2])
    for guess in (
        prefix,
        f"{prefix}_",
        f"{prefix}_x",
        key[:-1],
        key + "x",
        key.upper(),
        f"{prefix}_{'A' * 43}",
    ):
        assert _status(edge, guess) == 401, guess


def test_a_key_may_come_as_a_bearer_token_and_not_in_the_address(edge: Edge) -> None:
    key = edge.key(Scope.READ)
    bearer = edge.client(Authorization=f"Bearer {key}")
    assert bearer.get("/retention-policies").status_code == 200
    assert edge.client().get(f"/retention-policies?api_key={key}&key={key}").status_code == 401


def test_every_answer_carries_the_security_headers(edge: Edge) -> None:
    client = edge.client(Scope.ADMIN)
    answers = [
        client.post("/ingest", content=event("headers"), headers=JSON),
        client.post("/ingest", content=b"{", headers=JSON),
        client.get("/nothing-here"),
        client.get("/sign-in"),
        client.get("/static/style.css"),
        client.get("/openapi.json"),
    ]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name].startswith(value), (answer.url, name)


def test_confluents_clients_reach_the_registry_with_a_key_as_their_password(edge: Edge) -> None:
    url = f"{edge.url}/registry"
    reader, writer = edge.key(Scope.READ), edge.key(Scope.OPERATE)
    register = {"url": url, "basic.auth.user.info": f"wotr:{writer}"}
    SchemaRegistryClient(register).register_schema("of-the-gateway", Schema('"string"', "AVRO"))
    look = SchemaRegistryClient({"url": url, "basic.auth.user.info": f"wotr:{reader}"})
    assert look.get_subjects() == ["of-the-gateway"]
    with pytest.raises(SchemaRegistryError):
        look.register_schema("of-the-gateway", Schema('"int"', "AVRO"))
    assert edge.client().get("/registry/subjects").status_code == 401
