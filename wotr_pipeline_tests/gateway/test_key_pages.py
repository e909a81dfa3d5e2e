"""Keys by page: shown once, nowhere else, and what is done to them holds within seconds."""

import re

import httpx

from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline_tests.topics import wait_until

from .conftest import Edge
from .pages import HOSTILE, Page, csrf_token, signed_in


def make(edge: Edge, admin: httpx.Client, **form: str) -> httpx.Response:
    given = {"name": HOSTILE[:90], "why": "a new producer", "scope": "read", "days": "90"} | form
    return admin.post("/admin/keys/create", data=given | {"csrf_token": csrf_token(admin)})


def opens(edge: Edge, text: str) -> bool:
    answer = httpx.get(f"{edge.url}/admin/", headers={"X-API-Key": text}, trust_env=False)
    return answer.status_code == 200


def test_a_key_is_shown_once_works_is_rotated_and_revoked(edge: Edge) -> None:
    admin = signed_in(edge, Scope.ADMIN)
    token = {"csrf_token": csrf_token(admin), "why": "a test"}
    made = make(edge, admin)
    (text,) = [pre.text for pre in Page.of(made).all("pre")]
    assert re.fullmatch(r"wotr_[0-9a-f]{12}_\S{43}", text)
    assert made.headers["cache-control"] == "no-store"
    assert opens(edge, text)
    assert text not in admin.get("/admin/keys/").text
    key_id = text.split("_")[1]
    rotated = admin.post("/admin/keys/rotate", data=token | {"key_id": key_id, "hours": "1"})
    (newer,) = [pre.text for pre in Page.of(rotated).all("pre")]
    assert opens(edge, text)
    assert opens(edge, newer)
    for old in (text, newer):
        answer = admin.post("/admin/keys/revoke", data=token | {"key_id": old.split("_")[1]})
        assert answer.status_code == 303
        wait_until(lambda old=old: not opens(edge, old), 20)
    assert admin.post("/admin/keys/revoke", data=token | {"key_id": key_id}).status_code == 409
    assert admin.post("/admin/keys/rotate", data=token | {"key_id": key_id}).status_code == 409
    log = OperationsLog(edge.settings)
    told = "\n".join(f"{action.action} {action.target} {action.why}" for action in log.actions())
    log.close()
    for done in ("create a key", "rotate a key", "revoke a key"):
        assert done in told
    for secret in (text, newer):
        assert secret.split("_", 2)[2] not in told
        assert secret.split("_", 2)[2] not in edge.log.read_text()


def test_a_key_needs_a_name_a_scope_and_numbers_that_make_sense(edge: Edge) -> None:
    admin = signed_in(edge, Scope.ADMIN)
    before = len(edge.keys.all())
    for wrong in (
        {"name": ""},
        {"name": "x" * 101},
        {"name": "two\nlines"},
        {"scope": "everything"},
        {"scope": ""},
        {"days": "0"},
        {"days": "99999999999999999999"},
        {"days": "soon"},
        {"events_per_minute": "-1"},
        {"events_per_minute": "²"},
    ):
        assert make(edge, admin, **wrong).status_code == 422, wrong
    assert len(edge.keys.all()) == before
