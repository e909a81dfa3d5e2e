"""What the gateway tells browsers, and what it keeps to itself."""

import asyncio
import re

import httpx

from wotr_pipeline.gateway.headers import Message, Receive, Scope, Send, with_security_headers

from .conftest import Edge


def _headers_of(*, https: bool) -> dict[bytes, bytes]:
    told: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        told.append(message)

    asyncio.run(with_security_headers(app, https=https)({"type": "http"}, receive, send))
    return dict(told[0]["headers"])


def test_behind_https_browsers_are_told_to_stay_there() -> None:
    assert b"max-age=31536000" in _headers_of(https=True)[b"strict-transport-security"]
    assert b"strict-transport-security" not in _headers_of(https=False)


def test_the_server_tells_no_version(edge: Edge) -> None:
    for path in ("/sign-in", "/nothing", "/openapi.json"):
        answer = httpx.get(f"{edge.url}{path}", trust_env=False)
        assert not re.search(r"\d", answer.headers.get("server", "")), path
        assert "x-powered-by" not in answer.headers
