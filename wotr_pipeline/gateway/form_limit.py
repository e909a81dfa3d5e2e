"""Forms of the pages are small and come at once; whatever else is sent there is cut off before anyone reads it.

The framework reads a form whole before it asks who sent it. So its size and its time are bounded here, for everyone.

Belongs here: that bound. Does not belong here: bodies of events (``bodies.py``), what forms say.
"""

import asyncio
from http import HTTPStatus

import orjson

from .headers import Application, Message, Receive, Scope, Send
from .problems import CONTENT_TYPE

PAGES = ("/admin", "/explorer", "/sign-in", "/sign-out")
FORM_BYTES = 1024 * 1024
FORM_SECONDS = 10.0


def with_bounded_forms(app: Application) -> Application:
    """``app``, which gets the bodies of its pages whole, or not at all."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] in ("GET", "HEAD")
            or not scope["path"].startswith(PAGES)
        ):
            await app(scope, receive, send)
            return
        body = bytearray()
        more = True
        try:
            async with asyncio.timeout(FORM_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        return  # gone
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > FORM_BYTES:
                        await _refuse(send, 413, f"A form may have {FORM_BYTES:,} bytes.")
                        return
        except TimeoutError:
            await _refuse(send, 408, f"The form was not there within {FORM_SECONDS:.0f} s.")
            return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await app(scope, replay, send)

    return answer


async def _refuse(send: Send, status: int, detail: str) -> None:
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(problem)})
