"""A notice reaches Slack once, says what to do, and never holds up or breaks the work that it is about."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import jinja2
import pytest
import sqlalchemy as sa
from jinja2 import Environment, meta
from pydantic import SecretStr

from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline.stores.operations_tables import notices
from wotr_pipeline.stores.slack import PER_MINUTE, SECONDS, Delivery, Importance, Slack
from wotr_pipeline_tests.slack_sink import (
    TOKEN,
    Answer,
    Broken,
    CutOff,
    Hung,
    Limited,
    Refused,
    SlackSink,
    slack_sink,
)
from wotr_pipeline_tests.topics import wait_until

FACTS = {"store": "postgres", "newest": "2 days old", "problem": "pg_dump ended with 1.", "run": "run 1"}


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackSink]:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with slack_sink() as sink:
        yield sink


@pytest.fixture
def slack(ledger_space: Settings, sink: SlackSink) -> Iterator[Slack]:
    slack = Slack(sink.settings(ledger_space))
    yield slack
    slack.close()


def _tell(
    slack: Slack, key: str = "k", importance: Importance = Importance.INCIDENT, **facts: str
) -> Delivery:
    return slack.tell("backup_failed", key, importance, **(FACTS | facts))


def _begun_earlier(settings: Settings, minutes: int) -> None:
    engine = connect(settings, "test", dedicated=True)
    with engine.begin() as connection:
        earlier = sa.func.now() - sa.text(f"interval '{minutes} minutes'")
        connection.execute(sa.update(notices).values(begun_at=earlier))


def test_a_notice_goes_to_the_channel_of_its_importance_and_ends_with_the_runbook(
    slack: Slack, sink: SlackSink, ledger_space: Settings
) -> None:
    assert _tell(slack, "a", Importance.PLANNED) is Delivery.SENT
    assert _tell(slack, "b", Importance.INCIDENT) is Delivery.SENT
    planned, incident = sink.messages
    assert (planned.channel, incident.channel) == ("#platform-team", "#incidents")
    assert planned.authorization == f"Bearer {TOKEN}"
    page = ledger_space.runbook("runbook/backups-missing.md")
    assert planned.text.splitlines()[-1] == f"<{page}|What to do: runbook/backups-missing.md>"
    assert "pg_dump ended with 1." in planned.text


def test_a_key_is_sent_once_over_processes_and_restarts(
    slack: Slack, sink: SlackSink, ledger_space: Settings
) -> None:
    others = [Slack(sink.settings(ledger_space)) for _ in range(4)]
    with ThreadPoolExecutor(5) as threads:
        told = list(threads.map(_tell, [slack, *others]))
    assert told.count(Delivery.SENT) == len(sink.messages) == 1
    assert set(told) <= {Delivery.SENT, Delivery.SENT_BEFORE, Delivery.HELD}
    _begun_earlier(ledger_space, 60 * 24 * 30)
    assert {_tell(other) for other in others} == {Delivery.SENT_BEFORE}
    assert len(sink.messages) == 1
    for other in others:
        other.close()


@pytest.mark.parametrize(
    "answer",
    [Refused("not_in_channel"), Limited(600), Broken(), CutOff()],
    ids=lambda one: type(one).__name__,
)
def test_what_slack_did_not_confirm_is_told_again_after_a_minute(
    answer: Answer, slack: Slack, sink: SlackSink, ledger_space: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answers.append(answer)
    with caplog.at_level(logging.WARNING):
        assert _tell(slack) is Delivery.FAILED
    assert "Slack did not take the notice 'k' for #incidents" in caplog.text
    assert _tell(slack) is Delivery.HELD
    assert sink.requests == 1
    _begun_earlier(ledger_space, 2)
    assert _tell(slack) is Delivery.SENT


def test_a_refusal_says_what_to_do(slack: Slack, sink: SlackSink, caplog: pytest.LogCaptureFixture) -> None:
    sink.answers.append(Refused("not_in_channel"))
    _tell(slack)
    assert "not_in_channel (invite the app into the channel)" in caplog.text


def test_a_short_pause_that_slack_asks_for_is_kept(slack: Slack, sink: SlackSink) -> None:
    sink.answers.append(Limited(0))
    assert _tell(slack) is Delivery.SENT
    assert (sink.requests, len(sink.messages)) == (2, 1)


def test_a_slack_that_hangs_holds_nobody_up(slack: Slack, sink: SlackSink) -> None:
    sink.answers.extend([Hung()] * 3)
    began = time.monotonic()
    assert _tell(slack) is Delivery.FAILED
    assert time.monotonic() - began < SECONDS + 2
    assert sink.requests == 1, "it may have been taken: it must not be sent again at once"


def test_a_slack_that_is_away_is_a_failure_and_no_error(ledger_space: Settings) -> None:
    away = {"wotr_slack_url": f"http://127.0.0.1:{free_port()}/api/", "slack_bot_token": SecretStr(TOKEN)}
    slack = Slack(ledger_space.model_copy(update=away))
    assert _tell(slack) is Delivery.FAILED
    slack.close()


def test_without_postgres_an_incident_is_told_once_and_a_plan_is_not(
    sink: SlackSink, platform: Settings
) -> None:
    slack = Slack(sink.settings(platform).model_copy(update={"postgres_port": free_port()}))
    assert _tell(slack, importance=Importance.PLANNED) is Delivery.FAILED
    assert sink.requests == 0
    assert _tell(slack) is Delivery.SENT
    assert _tell(slack) is Delivery.SENT_BEFORE
    assert len(sink.messages) == 1
    slack.close()


def test_a_flood_is_held_back_and_what_was_held_can_be_told_later(
    slack: Slack, sink: SlackSink, ledger_space: Settings
) -> None:
    told = [_tell(slack, f"k{number}", Importance.PLANNED) for number in range(PER_MINUTE + 1)]
    assert told == [Delivery.SENT] * PER_MINUTE + [Delivery.HELD]
    assert _tell(slack, "incident") is Delivery.SENT, "plans do not use up what incidents need"
    fresh = Slack(sink.settings(ledger_space))
    assert _tell(fresh, f"k{PER_MINUTE}", Importance.PLANNED) is Delivery.SENT
    fresh.close()


def test_without_a_token_nothing_is_sent(sink: SlackSink, ledger_space: Settings) -> None:
    slack = Slack(sink.settings(ledger_space).model_copy(update={"slack_bot_token": SecretStr("")}))
    assert _tell(slack) is Delivery.OFF
    assert sink.requests == 0
    slack.close()


def test_a_fact_cannot_address_people_or_hide_behind_a_link(slack: Slack, sink: SlackSink) -> None:
    _tell(slack, problem="<!channel> <https://evil.example|runbook> a & b " + "x" * 5_000)
    text = sink.texts[0]
    assert "&lt;!channel&gt; &lt;https://evil.example|runbook&gt; a &amp; b" in text
    assert len(text) < 2_000


def test_the_token_is_in_no_log(
    sink: SlackSink, ledger_space: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    malformed = SecretStr(f"{TOKEN}\nwhich no header can carry")
    slack = Slack(sink.settings(ledger_space).model_copy(update={"slack_bot_token": malformed}))
    with caplog.at_level(logging.DEBUG):
        assert _tell(slack) is Delivery.FAILED
        sink.answers.append(Refused("invalid_auth"))
        _tell(Slack(sink.settings(ledger_space)), "another")
    assert "check SLACK_BOT_TOKEN" in caplog.text
    assert TOKEN not in caplog.text
    slack.close()


def test_a_missing_text_or_fact_is_an_error_even_when_slack_is_off(ledger_space: Settings) -> None:
    slack = Slack(ledger_space.model_copy(update={"slack_bot_token": SecretStr("")}))
    with pytest.raises(jinja2.TemplateNotFound):
        slack.tell("no_such_text", "k", Importance.PLANNED)
    with pytest.raises(jinja2.UndefinedError):
        slack.tell("backup_failed", "k", Importance.PLANNED, store="minio")
    slack.close()


def test_what_was_given_up_is_marked_when_it_arrives_after_all(
    slack: Slack, sink: SlackSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wotr_pipeline.stores.slack.SECONDS", 0.0)
    assert _tell(slack) is Delivery.FAILED
    wait_until(lambda: len(sink.messages) == 1)
    monkeypatch.undo()
    wait_until(lambda: _tell(slack) is Delivery.SENT_BEFORE)
    assert len(sink.messages) == 1


TEXTS = sorted(
    file.name for file in files("wotr_pipeline").joinpath("notices").iterdir() if file.name.endswith(".txt")
)


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_ends_with_a_link_to_a_page_that_exists(text: str, platform: Settings) -> None:
    source = files("wotr_pipeline").joinpath("notices", text).read_text()
    needed = meta.find_undeclared_variables(Environment().parse(source)) - {"runbook"}
    slack = Slack(platform)
    told = slack.text(text.removesuffix(".txt"), **dict.fromkeys(needed, "a fact")).splitlines()[-1]
    page = told.partition("|What to do: ")[2].rstrip(">")
    assert told == f"<{platform.runbook(page)}|What to do: {page}>"
    assert (PROJECT_ROOT / "docs" / page.partition("#")[0]).is_file()
