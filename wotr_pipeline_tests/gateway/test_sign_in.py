"""Signing in and out: what opens the pages, for how long, and what does not."""

import httpx

from wotr_pipeline.gateway.access import SIGN_INS_PER_MINUTE
from wotr_pipeline.stores.api_keys import Scope

from .conftest import Edge


def _sign_in(edge: Edge, key: str, **headers: str) -> httpx.Response:
    with httpx.Client(base_url=edge.url, trust_env=False) as client:
        return client.post("/sign-in", data={"key": key, "wanted": "/admin/"}, headers=headers)


def test_a_key_signs_in_with_a_cookie_that_no_script_and_no_other_site_can_use(edge: Edge) -> None:
    answer = _sign_in(edge, edge.key(Scope.READ))
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_a_wrong_key_or_one_for_events_only_does_not_sign_in(edge: Edge) -> None:
    for key in ("", "wotr_000000000000_nothing", edge.key(Scope.INGEST)):
        answer = _sign_in(edge, key)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


def test_another_site_cannot_sign_someone_in(edge: Edge) -> None:
    key = edge.key(Scope.READ)
    assert _sign_in(edge, key, origin="https://elsewhere.example").status_code == 403
    assert _sign_in(edge, key, **{"sec-fetch-site": "cross-site"}).status_code == 403


def test_the_way_after_the_sign_in_never_leads_elsewhere(edge: Edge) -> None:
    for wanted in ("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "/a\r\nb: c"):
        with httpx.Client(base_url=edge.url, trust_env=False) as client:
            answer = client.post("/sign-in", data={"key": edge.key(Scope.READ), "wanted": wanted})
        assert answer.headers["location"] == "/admin/"


def test_keys_cannot_be_guessed_at_speed(edge: Edge) -> None:
    statuses = [_sign_in(edge, "wotr_000000000000_guess").status_code for _ in range(SIGN_INS_PER_MINUTE + 1)]
    assert statuses[-1] == 429
    assert 401 in statuses
