"""Notices to Slack, through Slack's own client, each one once.

Belongs here: the texts' rendering (``notices/*.txt``), who was told what (table ``notices``), and how long that may take.
Does not belong here: when a notice is due and what it says (whoever tells), alerts (Alertmanager has its own way to
Slack, which works while this platform does not).

A notice is work's companion and never its obstacle: ``tell`` has ``SECONDS`` for everything, then gives up.

A notice is written to the table before Slack gets it and marked after Slack took it. Between the two lies a window: a
process that is killed there, or an answer of Slack that is lost, leaves a notice that was begun and not marked. After
``AGAIN_AFTER`` it may be sent again, so it can come twice; it cannot be lost because someone else seemed to send it.
"""

import logging
import queue
import threading
from datetime import timedelta
from enum import StrEnum
from http.client import HTTPException
from urllib.error import URLError

import sqlalchemy as sa
from jinja2 import Environment, PackageLoader, StrictUndefined
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry import (
    ConnectionErrorRetryHandler,
    HttpRequest,
    HttpResponse,
    RateLimitErrorRetryHandler,
    RetryState,
)
from sqlalchemy.dialects.postgresql import insert

from ..config import Settings
from .errors import StoreError
from .ledger_database import connect, translated
from .operations_tables import notices

SECONDS = 6.0
"""The longest that ``tell`` takes."""
SLACK_SECONDS = 2
"""How long one connection to Slack may be silent; a refused one is tried once more."""
LONGEST_WAIT_SECONDS = 2
"""When Slack asks for a longer pause, the notice is left to the next time."""
AGAIN_AFTER = timedelta(minutes=1)
PER_MINUTE = 30
"""Notices of one importance from one process; Slack itself takes about one a second for a channel."""
LONGEST_FACT = 1_000
"""Characters; Slack cuts messages at 4,000 to 40,000."""

_log = logging.getLogger(__name__)
_silent = logging.getLogger(f"{__name__}.sdk")
# The client's own lines quote requests and answers; one with a malformed token would quote the token.
_silent.setLevel(logging.CRITICAL + 1)


class Importance(StrEnum):
    """What kind of news it is, which decides the channel."""

    PLANNED = "planned"
    INCIDENT = "incident"


class Delivery(StrEnum):
    """What became of a notice."""

    SENT = "sent"
    SENT_BEFORE = "sent_before"
    """Somebody sent this key already; nothing was sent now."""
    OFF = "off"
    """There is no SLACK_BOT_TOKEN."""
    HELD = "held"
    """Too many in this minute, or somebody has begun with it less than ``AGAIN_AFTER`` ago."""
    FAILED = "failed"
    """Slack or PostgreSQL did not take it in time. The log says why; telling again later is safe."""


class Slack:
    """Tells people. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channels = {
            Importance.PLANNED: settings.wotr_slack_channel,
            Importance.INCIDENT: settings.wotr_slack_incidents_channel,
        }
        self._texts = Environment(
            loader=PackageLoader("wotr_pipeline", "notices"),
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701 - not HTML: facts are escaped for Slack before they are rendered
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._texts.globals["runbook"] = self._link
        self._engine = connect(settings, "wotr notices")
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(PER_MINUTE)
        self._sent_unwritten: set[str] = set()

    def tell(self, notice: str, key: str, importance: Importance, **facts: str) -> Delivery:
        """Send the text ``notices/<notice>.txt`` with ``facts``, unless something was sent under ``key`` before.

        While PostgreSQL is away, an incident is sent all the same, once a process; what is planned waits.

        Raises:
            jinja2.TemplateNotFound, jinja2.UndefinedError: there is no such text, or a fact that it needs is missing.
                Nothing else: not for Slack's troubles, nor for PostgreSQL's.
        """
        text = self.text(notice, **facts)
        if not self._settings.slack_bot_token.get_secret_value():
            return Delivery.OFF
        answer: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        # A thread that may be left behind: no time limit of a socket bounds a name server or a dripping answer.
        threading.Thread(
            target=self._deliver, args=(text, key, importance, answer), name=f"notice {key}", daemon=True
        ).start()
        try:
            delivery = answer.get(timeout=SECONDS)
        except queue.Empty:
            _log.warning("The notice '%s' was given up after %.0f seconds.", key, SECONDS)
            return Delivery.FAILED
        if delivery is not Delivery.SENT_BEFORE:
            _log.info("Notice '%s' to %s: %s.", key, self._channels[importance], delivery)
        return delivery

    def text(self, notice: str, **facts: str) -> str:
        """What ``tell`` would send. Raises as ``tell`` does."""
        return (
            self._texts.get_template(f"{notice}.txt")
            .render({name: _escaped(fact) for name, fact in facts.items()})
            .strip()
        )

    def close(self) -> None:
        """Close the connections to PostgreSQL."""
        self._engine.dispose()

    def _link(self, page: str) -> str:
        return f"<{self._settings.runbook(page)}|What to do: {page}>"

    def _deliver(
        self, text: str, key: str, importance: Importance, answer: "queue.SimpleQueue[Delivery]"
    ) -> None:
        delivery = Delivery.FAILED
        try:
            delivery = self._once(text, key, importance)
        finally:
            answer.put(delivery)

    def _once(self, text: str, key: str, importance: Importance) -> Delivery:
        if key in self._sent_unwritten:
            return Delivery.SENT_BEFORE
        if not self._limiter.test(self._limit, importance):
            return Delivery.HELD
        channel, written = self._channels[importance], True
        try:
            before = self._begin(key, channel)
            if before is not None:
                return before
        except StoreError as error:
            _log.warning("Nobody can tell whether the notice '%s' was sent before. %s", key, error)
            if importance is not Importance.INCIDENT:
                return Delivery.FAILED
            written = False
        self._limiter.hit(self._limit, importance)
        if not self._post(text, channel, key):
            return Delivery.FAILED
        if written:
            try:
                self._end(key)
            except StoreError as error:
                _log.warning("The notice '%s' was sent, and may come again. %s", key, error)
                written = False
        if not written:
            self._sent_unwritten.add(key)
        return Delivery.SENT

    def _begin(self, key: str, channel: str) -> Delivery | None:
        """None: it is ours to send. Otherwise what became of it in other hands."""
        now = sa.func.clock_timestamp()
        claim = insert(notices).values(key=key, channel=channel, begun_at=now)
        claim = claim.on_conflict_do_update(
            index_elements=[notices.c.key],
            set_={"channel": channel, "begun_at": now},
            where=notices.c.sent_at.is_(None) & (notices.c.begun_at < now - AGAIN_AFTER),
        )
        with translated("begin a notice"), self._engine.begin() as connection:
            if connection.execute(claim.returning(notices.c.key)).first():
                return None
            sent = connection.scalar(sa.select(notices.c.sent_at).where(notices.c.key == key))
        return Delivery.HELD if sent is None else Delivery.SENT_BEFORE

    def _end(self, key: str) -> None:
        done = sa.update(notices).where(notices.c.key == key).values(sent_at=sa.func.clock_timestamp())
        with translated("note a sent notice"), self._engine.begin() as connection:
            connection.execute(done)

    def _post(self, text: str, channel: str, key: str) -> bool:
        try:
            client = WebClient(
                token=self._settings.slack_bot_token.get_secret_value(),
                base_url=self._settings.wotr_slack_url,
                timeout=SLACK_SECONDS,
                logger=_silent,
                # Only what surely never reached Slack is sent again: an answer that is lost raises other errors.
                retry_handlers=[ConnectionErrorRetryHandler(error_types=[URLError]), _ShortPause()],
            )
            client.chat_postMessage(channel=channel, text=text, unfurl_links=False, unfurl_media=False)
        except (SlackClientError, HTTPException, OSError, ValueError) as error:
            _log.warning("Slack did not take the notice '%s' for %s: %s", key, channel, _told(error))
            return False
        return True


class _ShortPause(RateLimitErrorRetryHandler):
    """Once more when Slack asks for a pause, if it is a short one."""

    def _can_retry(
        self,
        *,
        state: RetryState,  # noqa: ARG002 - the library's signature
        request: HttpRequest,  # noqa: ARG002
        response: HttpResponse | None = None,
        error: Exception | None = None,  # noqa: ARG002
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        pause = next(
            (value for name, value in response.headers.items() if name.lower() == "retry-after"), ["1"]
        )
        seconds = pause[0] if isinstance(pause, list) else pause
        return seconds.isdecimal() and int(seconds) <= LONGEST_WAIT_SECONDS


def _escaped(fact: str) -> str:
    """As Slack asks: https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    fact = fact if len(fact) <= LONGEST_FACT else f"{fact[: LONGEST_FACT - 1]}…"
    return fact.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_REMEDIES = {
    "invalid_auth": "check SLACK_BOT_TOKEN",
    "token_revoked": "make a new SLACK_BOT_TOKEN",
    "missing_scope": "give the app the scope chat:write",
    "not_in_channel": "invite the app into the channel",
    "channel_not_found": "check WOTR_SLACK_CHANNEL and WOTR_SLACK_INCIDENTS_CHANNEL; a private one needs an invitation",
    "ratelimited": "it asks for a long pause",
}


def _told(error: Exception) -> str:
    # The errors' own texts may quote the request, and with it the token.
    if isinstance(error, SlackApiError):
        code = str(error.response.get("error", ""))
        if code.replace("_", "").isalnum() and len(code) < 60:
            return f"{code} ({_REMEDIES[code]})." if code in _REMEDIES else f"{code}."
        return f"status {error.response.status_code}."
    reason = error.reason if isinstance(error, URLError) else error
    return f"{type(reason).__name__}. Is WOTR_SLACK_URL right, and is there a way to it?"
