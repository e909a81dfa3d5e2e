"""Slack for tests: a real HTTP server that takes ``chat.postMessage`` and answers as it is told.

Belongs here: what Slack's Web API does with messages, well or badly. Does not belong here: asserting.

    with slack_sink() as sink:
        told = Slack(sink.settings(space))
        sink.answers.append(Refused("not_in_channel"))   # for the next request; after these, all goes well
        …
        assert [message.text for message in sink.messages] == […]
"""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from pydantic import SecretStr

from wotr_pipeline.config import Settings

TOKEN = "xoxb-1234567890-a-token-for-tests"


@dataclass(frozen=True)
class Message:
    """What Slack took."""

    channel: str
    text: str
    authorization: str


@dataclass(frozen=True)
class Refused:
    """Status 200, ``ok: false`` with this error."""

    error: str


@dataclass(frozen=True)
class Limited:
    """Status 429 with Retry-After."""

    seconds: int


class Hung:
    """No answer until the sink is closed."""


class Broken:
    """Status 500, and no JSON."""


class CutOff:
    """The message is taken, and the connection closed without an answer."""


Answer = Refused | Limited | Hung | Broken | CutOff


@dataclass
class SlackSink:
    """What came in, and what is answered next."""

    url: str
    messages: list[Message] = field(default_factory=list)
    requests: int = 0
    answers: deque[Answer] = field(default_factory=deque)
    closing: threading.Event = field(default_factory=threading.Event)

    def settings(self, settings: Settings) -> Settings:
        """These settings, with this Slack."""
        return settings.model_copy(update={"wotr_slack_url": self.url, "slack_bot_token": SecretStr(TOKEN)})

    @property
    def texts(self) -> list[str]:
        """Of all messages, in order."""
        return [message.text for message in self.messages]


@contextmanager
def slack_sink() -> Iterator[SlackSink]:
    """A sink that serves until the block ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.sink = sink = SlackSink(f"http://127.0.0.1:{server.server_port}/api/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="slack sink")
    thread.start()
    try:
        yield sink
    finally:
        sink.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    sink: SlackSink


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        sink = self.server.sink
        sink.requests += 1
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        as_json = self.headers["Content-Type"].startswith("application/json")
        sent = json.loads(body) if as_json else dict(parse_qsl(body))
        match sink.answers.popleft() if sink.answers else None:
            case Refused(error):
                self._answer(200, {"ok": False, "error": error})
            case Limited(seconds):
                self._answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)})
            case Hung():
                sink.closing.wait()
            case Broken():
                self.send_error(500)
            case CutOff():
                self._take(sent)
            case None if self.path == "/api/chat.postMessage" and sent.get("channel") and sent.get("text"):
                self._take(sent)
                self._answer(200, {"ok": True, "channel": sent["channel"], "ts": f"{sink.requests}.000"})
            case None:
                self._answer(200, {"ok": False, "error": "unknown_method"})

    def _take(self, sent: dict[str, Any]) -> None:
        authorization = self.headers.get("Authorization", "")
        self.server.sink.messages.append(Message(sent["channel"], sent["text"], authorization))

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
