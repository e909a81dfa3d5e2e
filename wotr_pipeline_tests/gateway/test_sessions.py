"""Sessions of signed-in people: how they end, and what cannot be done with one."""

import contextlib
import re
from collections.abc import Iterator

import httpx

from wotr_pipeline.gateway.access import COOKIE, CSRF_HEADER
from wotr_pipeline.stores.api_keys import Scope, id_of

from ..topics import wait_until
from .conftest import Edge


@contextlib.contextmanager
def _signed_in(edge: Edge, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=edge.url, trust_env=False) as client:
        assert client.post("/sign-in", data={"key": key}).status_code == 303
        assert client.get("/retention-policies").status_code == 200
        yield client


def test_signing_out_ends_the_session_at_the_server_too(edge: Edge) -> None:
    with _signed_in(edge, edge.key(Scope.READ)) as client:
        kept = dict(client.cookies)
        assert client.post("/sign-out").status_code == 403, "without the form's token nothing happens"
        assert client.get("/retention-policies").status_code == 200
        answer = client.post("/sign-out", headers={CSRF_HEADER: _csrf_token(client)})
        assert answer.status_code == 303
        assert client.get("/retention-policies").status_code == 401
    with httpx.Client(base_url=edge.url, trust_env=False, cookies=kept) as thief:
        assert thief.get("/retention-policies").status_code == 401


def test_a_session_ends_with_its_key(edge: Edge) -> None:
    key = edge.key(Scope.READ)
    with _signed_in(edge, key) as client:
        edge.keys.revoke(id_of(key) or "")
        wait_until(lambda: client.get("/retention-policies").status_code == 401, 30)


def test_a_cookie_that_was_touched_opens_nothing(edge: Edge) -> None:
    with _signed_in(edge, edge.key(Scope.READ)) as client:
        (value,) = client.cookies.values()
    token, stamp, signature = value.rsplit(".", 2)
    for touched in (
        token,
        f"{token}x.{stamp}.{signature}",
        f"{token}.{stamp}.{signature[:-2]}AA",
        "..",
        "a" * 9000,
    ):
        answer = httpx.get(
            f"{edge.url}/retention-policies", headers={"cookie": f"{COOKIE}={touched}"}, trust_env=False
        )
        assert answer.status_code in (401, 431), touched


def test_each_sign_in_is_a_session_of_its_own(edge: Edge) -> None:
    key = edge.key(Scope.READ)
    with _signed_in(edge, key) as first, _signed_in(edge, key) as second:
        assert first.cookies[COOKIE] != second.cookies[COOKIE]
        assert first.post("/sign-out", headers={CSRF_HEADER: _csrf_token(first)}).status_code == 303
        assert second.get("/retention-policies").status_code == 200


def test_no_other_site_may_read_answers_or_change_anything(edge: Edge) -> None:
    with _signed_in(edge, edge.key(Scope.READ)) as client:
        csrf = _csrf_token(client)
        answer = client.get("/retention-policies", headers={"origin": "https://elsewhere.example"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        headers = {CSRF_HEADER: csrf, "origin": "https://elsewhere.example"}
        assert client.post("/sign-out", headers=headers).status_code == 403
        assert client.get("/sign-out").status_code == 405, "nothing changes anything by GET"
        assert client.get("/retention-policies").status_code == 200


def test_pages_are_kept_by_no_cache(edge: Edge) -> None:
    assert httpx.get(f"{edge.url}/sign-in", trust_env=False).headers["cache-control"] == "no-store"


def _csrf_token(client: httpx.Client) -> str:
    """As the pages carry it."""
    page = client.get("/sign-in")
    found = re.search(r'name="csrf-token" content="([0-9a-f]+)"', page.text)
    assert found is not None
    return found[1]
