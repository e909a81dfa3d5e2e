"""The pages of /admin/ without a script: what they say, to whom, and what they refuse."""

import contextlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.dead_letter import LetterState
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.dead_letter_tables import accesses
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline.stores.operations_log import Action, OperationsLog
from wotr_pipeline.stores.operations_tables import backups
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.chaos.wire import wire_to
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, epoch_event, send
from wotr_pipeline_tests.produced import BAD, event

from .conftest import Edge, beside, running
from .pages import HOSTILE, Page, csrf_token, signed_in

NOW = datetime.now(UTC)
GOOD = [f"good-{number}" for number in range(30)]
EPOCH = [f"epoch-{number}" for number in range(6)]
COUNTED = f"Events {len(GOOD + EPOCH + BAD)}"
POSTS = (
    "/admin/maintenance/on",
    "/admin/maintenance/off",
    "/admin/dead-letters/content",
    "/admin/dead-letters/retry",
    "/admin/keys/create",
    "/admin/keys/rotate",
    "/admin/keys/revoke",
)
GETS = ("/admin/", "/admin/dead-letters/", "/admin/maintenance/", "/admin/keys/")


def fill(edge: Edge) -> None:
    settings = edge.settings
    topics.create_topic(settings.model_copy(update={"kafka_topic": settings.kafka_dlq_topic}), partitions=1)
    send(settings, [event(name, NOW, source=HOSTILE) for name in GOOD])
    send(settings, [*(epoch_event(name, source=HOSTILE) for name in EPOCH), *BAD])
    carry(settings)
    with DeadLetterRegister(settings) as register:
        Desk(settings, register, who=HOSTILE).triage()
    log = OperationsLog(settings)
    log.note(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    log.close()
    edge.keys.create(HOSTILE[:90], [Scope.INGEST], HOSTILE)


@pytest.fixture(scope="module")
def place(platform: Settings, servers: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Events in the table, dead letters in the register, hostile texts in both."""
    with running(servers, tmp_path_factory.mktemp("gateway"), fill) as edge:
        yield edge


def letters(edge: Edge) -> list[str]:
    with DeadLetterRegister(edge.settings) as register:
        found = Desk(edge.settings, register).letters(reasons=("wrong_type",))
        return [letter.name for letter in found]


def actions(edge: Edge) -> list[Action]:
    log = OperationsLog(edge.settings)
    try:
        return log.actions(200)
    finally:
        log.close()


def fresh(client: httpx.Client, path: str, **wanted: str) -> Page:
    """A page once its parts are not those of a moment ago any more."""
    deadline = time.monotonic() + 40
    while True:
        page = Page.of(client.get(path))
        if all(text in page.text for text in wanted.values()):
            return page
        assert time.monotonic() < deadline, page.text
        time.sleep(0.2)


def test_the_overview_counts_what_arrived_by_type_and_source_and_what_was_rejected(place: Edge) -> None:
    page = fresh(
        signed_in(place, Scope.READ), "/admin/", counted=COUNTED, day="Events by hour (UTC)", by="api_call"
    )
    for told in ("api_call", HOSTILE, "Rejected 10", "wrong_type", "LOADED", "PostgreSQL up", "Kafka up"):
        assert told in page.text
    assert "PostgreSQL and ClickHouse have no verified backup" in page.text
    assert [heading.text for heading in page.all("h2")] == [
        "Services", "Events", "Pace", "Batches", "Dead letters", "Backups", "What people did last",
    ]  # fmt: skip
    links = {link.attributes["href"] for link in page.all("a")}
    settings = place.settings
    assert {settings.wotr_dagster_url, settings.wotr_grafana_url, settings.wotr_jaeger_url} <= links


def test_every_chart_has_a_title_a_description_and_a_table_with_its_numbers(place: Edge) -> None:
    page = fresh(
        signed_in(place, Scope.READ), "/admin/", counted=COUNTED, day="Events by hour (UTC)", by="api_call"
    )
    charts = page.all("svg")
    assert len(charts) == 2
    names = {element.attributes.get("id") for element in page.all("title") + page.all("desc")}
    for chart in charts:
        assert chart.attributes["role"] == "img"
        assert set(chart.attributes["aria-labelledby"].split()) <= names
    captions = [caption.text for caption in page.all("caption")]
    assert "Events by minute (UTC)" in captions
    assert len(captions) == len(page.all("table")), "every table has a caption"


def test_pages_have_landmarks_one_heading_labels_and_nothing_inline(place: Edge) -> None:
    client = signed_in(place, Scope.ADMIN)
    name = letters(place)[0]
    with_letters = [
        f"/admin/dead-letters/letter?{httpx.QueryParams(name=name)}",
        f"/admin/dead-letters/retry?{httpx.QueryParams(name=name)}",
    ]
    for path in [*GETS, *with_letters]:
        answer = client.get(path)
        page = Page.of(answer)
        assert len(page.all("h1")) == 1
        assert len(page.all("main")) == 1
        assert page.all("html", lang="en")
        assert all(nav.attributes.get("aria-label") for nav in page.all("nav"))
        labelled = {label.attributes.get("for") for label in page.all("label")}
        for control in page.all("input") + page.all("select") + page.all("textarea"):
            kind = control.attributes.get("type")
            assert kind in ("hidden", "checkbox") or control.attributes["id"] in labelled
        ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
        assert len(ids) == len(set(ids))
        assert not page.all("script")
        assert not page.all("style")
        for element in page.elements:
            assert "style" not in element.attributes
            assert not [name for name in element.attributes if name.startswith("on")]
        assert answer.headers["cache-control"] == "no-store"


def test_script_and_sql_in_every_text_that_others_chose_is_shown_as_text(place: Edge) -> None:
    client = signed_in(place, Scope.ADMIN)
    shown = f"/admin/dead-letters/letter?{httpx.QueryParams(name=letters(place)[0])}"
    for path in ("/admin/", "/admin/dead-letters/", "/admin/keys/", shown):
        page = fresh(client, path, hostile=HOSTILE[:40])
        assert not page.all("script")
    for field in ("source", "field", "reason", "event_type", "name"):
        answer = client.get("/admin/dead-letters/", params={field: HOSTILE})
        assert answer.status_code == 200
        assert not Page.of(answer).all("script")
        assert ("api_call" in answer.text) == (field == "source")
    with DeadLetterRegister(place.settings) as register:
        assert sum(register.by_state().values()) == len(EPOCH + BAD), "no statement was run"


@pytest.mark.parametrize(
    "path",
    [
        "/admin/dead-letters/?source=%00",
        "/admin/dead-letters/?state=NONSENSE",
        "/admin/dead-letters/?before=nonsense",
        "/admin/dead-letters/?before=2026-11-25T00:00:00~1",
        "/admin/dead-letters/letter",
        "/admin/dead-letters/letter?name=%00",
        "/admin/dead-letters/letter?name=no:0:1",
        "/admin/dead-letters/letter?name=" + "a" * 3_000,
        "/admin/dead-letters/retry",
        "/admin/runs/..%2f..%2fgraphql",
        "/admin/?refresh=" + "a" * 100,
    ],
)
def test_addresses_that_mean_nothing_get_a_clear_4xx(place: Edge, path: str) -> None:
    answer = signed_in(place, Scope.ADMIN).get(path, headers={"accept": "text/html"})
    assert answer.status_code in (404, 422)
    assert Page.of(answer).all("p", role="alert")


def test_pages_are_for_people_who_signed_in_and_keys_for_admins_only(place: Edge) -> None:
    stranger = place.client()
    for path in GETS:
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in")
    reader = signed_in(place, Scope.READ)
    assert [reader.get(path).status_code for path in GETS] == [200, 200, 200, 403]
    assert place.client(Scope.INGEST).get("/admin/").status_code == 403


@pytest.mark.parametrize("path", POSTS)
def test_no_action_without_its_scope_its_token_its_method_or_a_reason(place: Edge, path: str) -> None:
    form = {
        "why": "a test",
        "hours": "1",
        "name": letters(place)[0],
        "scope": "read",
        "key_id": "no-such-key",
    }
    before = actions(place)
    admin = signed_in(place, Scope.ADMIN)
    token = {"csrf_token": csrf_token(admin)}
    reader = signed_in(place, Scope.READ)
    other = signed_in(place, Scope.ADMIN)
    assert place.client().post(path, data=form).status_code == 401
    assert reader.post(path, data=form | {"csrf_token": csrf_token(reader)}).status_code == 403
    assert admin.post(path, data=form).status_code == 403, "no token"
    assert other.post(path, data=form | token).status_code == 403, "another session's token"
    assert admin.post(path, data=form | token, headers={"origin": "https://evil.example"}).status_code == 403
    assert admin.get(path, params=form | token).status_code in (200, 404, 405)
    for why in ("", " ", "x" * 501, "two\nlines", "nul\0"):
        assert admin.post(path, data=form | token | {"why": why}).status_code == 422
    assert actions(place) == before


def test_maintenance_begins_and_ends_by_two_forms_and_is_on_top_of_the_overview(place: Edge) -> None:
    operator = signed_in(place, Scope.OPERATE)
    token = {"csrf_token": csrf_token(operator)}
    form = {"why": HOSTILE, "hours": "2"} | token
    for hours in ("", "0", "-1", "nan", "inf", "1e9", "two"):
        refused = operator.post("/admin/maintenance/on", data=form | {"hours": hours})
        assert refused.status_code == 422
    assert operator.post("/admin/maintenance/on", data=form).status_code == 303
    page = fresh(operator, "/admin/", banner="Maintenance is on", why=HOSTILE)
    assert not page.all("script")
    assert "Maintenance is on" in Page.of(operator.get("/admin/maintenance/")).text
    assert operator.post("/admin/maintenance/off", data={"why": "done"} | token).status_code == 303
    assert "Maintenance is off" in Page.of(operator.get("/admin/maintenance/")).text
    done = [action.action for action in actions(place)][:2]
    assert done == ["end maintenance", "begin maintenance"]


def test_content_is_masked_until_an_operator_says_why_and_that_is_on_record_first(place: Edge) -> None:
    operator = signed_in(place, Scope.OPERATE)
    name = letters(place)[0]
    masked = operator.get("/admin/dead-letters/letter", params={"name": name})
    assert '"path"' not in Page.of(masked).text
    assert "1795420800" not in masked.text
    form = {"name": name, "why": "the sender asks", "csrf_token": csrf_token(operator)}
    whole = operator.post("/admin/dead-letters/content", data=form)
    assert "1795420800" in Page.of(whole).text
    assert whole.headers["cache-control"] == "no-store"
    assert not Page.of(whole).all("script")
    newest = actions(place)[0]
    assert (newest.action, newest.target, newest.why) == (
        "see a dead letter's content", name, "the sender asks",
    )  # fmt: skip
    with connect(place.settings, "test").connect() as connection:
        row = connection.execute(sa.select(accesses).order_by(accesses.c.id.desc())).first()
    assert row is not None
    assert (row.names, row.why) == ([name], "the sender asks")


def test_a_look_before_a_retry_says_how_many_would_pass_and_changes_nothing(place: Edge) -> None:
    operator = signed_in(place, Scope.OPERATE)
    page = Page.of(operator.get("/admin/dead-letters/retry", params={"reason": "wrong_type"}))
    assert f"NEW letters {len(EPOCH)}" in page.text
    assert "Would pass today 0" in page.text
    assert f"wrong_type {len(EPOCH)}" in page.text
    assert not page.all("form", action="/admin/dead-letters/retry"), "nothing would be sent"
    with DeadLetterRegister(place.settings) as register:
        assert register.by_state()[LetterState.NEW] == len(EPOCH + BAD)
    assert signed_in(place, Scope.READ).get("/admin/dead-letters/retry?reason=x").status_code == 403


def test_a_retry_while_dagster_is_away_says_what_to_type_instead_and_sends_nothing(
    place: Edge, tmp_path: Path
) -> None:
    with beside(place, tmp_path, wotr_dagster_url="http://127.0.0.1:1") as other:
        operator = signed_in(other, Scope.OPERATE)
        form = {"reason": "wrong_type", "field": "timestamp", "why": HOSTILE}
        answer = operator.post("/admin/dead-letters/retry", data=form | {"csrf_token": csrf_token(operator)})
        assert answer.status_code == 503
        page = Page.of(answer)
        assert not page.all("script")
        commands = [pre.text for pre in page.all("pre")]
        assert commands[0] == "wotr dlq retry --reason=wrong_type --field=timestamp"
        assert commands[1].startswith(
            "wotr dlq retry --reason=wrong_type --field=timestamp --apply '--why=<scr"
        )
    assert actions(place)[0].action == "retry dead letters", "asked for, on record"
    with DeadLetterRegister(place.settings) as register:
        assert register.by_state()[LetterState.NEW] == len(EPOCH + BAD)


@pytest.mark.parametrize(
    ("changed", "away", "there"),
    [
        ({"clickhouse_port": 1}, "ClickHouse is down", "wrong_type"),
        ({"kafka_bootstrap": "127.0.0.1:1"}, "Kafka is down", "api_call"),
        ({"minio_endpoint": "http://127.0.0.1:1"}, "The object store is down", "api_call"),
    ],
)
def test_a_store_that_is_away_leaves_its_part_saying_so_and_the_rest_works(
    place: Edge, tmp_path: Path, changed: dict[str, Any], away: str, there: str
) -> None:
    with beside(place, tmp_path, **changed) as other:
        page = Page.of(signed_in(other, Scope.READ).get("/admin/"))
        assert away in page.text
        assert there in page.text
        assert re.search(r"\d things? to be done now", page.all("h1")[0].text)


def test_the_pages_stay_open_for_who_is_signed_in_when_postgres_goes_away(
    place: Edge, tmp_path: Path
) -> None:
    settings = place.settings
    with (
        wire_to(settings.postgres_host, settings.postgres_port) as wire,
        beside(place, tmp_path, postgres_port=wire.port) as other,
    ):
        reader, leaver = signed_in(other, Scope.READ), signed_in(other, Scope.READ)
        token = {"csrf_token": csrf_token(leaver)}
        assert "PostgreSQL up" in Page.of(reader.get("/admin/")).text
        wire.breaks_after = 0
        page = fresh(reader, "/admin/", away="PostgreSQL is down")
        assert "Cannot be seen just now" in page.text
        assert "api_call" in page.text, "what other stores know is there"
        assert reader.post("/admin/maintenance/on", data={"why": "x", "hours": "1"}).status_code in (403, 503)
        assert leaver.post("/sign-out", data=token).status_code == 503
        assert leaver.get("/admin/").status_code != 200, "who signs out is out"
        wire.breaks_after = None
        fresh(reader, "/admin/", back="PostgreSQL up")


def test_the_newest_verified_backup_is_shown_and_one_that_was_never_restored_is_not(place: Edge) -> None:
    rows = [
        {"store": "minio", "location": "s3://verified", "verified_at": NOW, "restore_seconds": 12.5},
        {"store": "postgres", "location": "s3://hope", "verified_at": None, "restore_seconds": None},
    ]
    with connect(place.settings, "test").begin() as connection:
        for row in rows:
            connection.execute(
                sa.insert(backups).values(taken_at=NOW, bytes=123_456, backup_id=row["location"], **row)
            )
    page = fresh(signed_in(place, Scope.READ), "/admin/", place="s3://verified")
    assert "s3://hope" not in page.text
    assert "PostgreSQL and ClickHouse have no verified backup" in page.text


def test_the_page_loads_itself_again_only_when_asked(place: Edge) -> None:
    reader = signed_in(place, Scope.READ)
    assert not Page.of(reader.get("/admin/")).all("meta", **{"http-equiv": "refresh"})
    assert Page.of(reader.get("/admin/?refresh=on")).all("meta", **{"http-equiv": "refresh"})


def test_a_giant_form_is_refused_before_it_is_read_whoever_sends_it(place: Edge) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"why=" + b"a" * 65_536

    for path in (*POSTS, "/sign-in", "/sign-out"):
        headers = {"content-type": "application/x-www-form-urlencoded"}
        with place.client() as stranger:
            with contextlib.suppress(httpx.WriteError):  # cut off while it was still sending
                assert stranger.post(path, content=endless(), headers=headers).status_code == 413
