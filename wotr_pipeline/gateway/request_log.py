"""One line in the log for each request, with an id that the client gets too.

``X-Request-Id`` is taken from the client if it is a decent one, and made otherwise. An error that nobody caught is
logged once, here, and answered as a 500 that names the id.

Inside FastAPI, so that its own 500 does not come first: ``app.add_middleware(RequestLog, answer_failure=…)``. With
Granian's default ``task_impl``: each request then has a context of its own.

Belongs here: request ids and the access log. Does not belong here: what a line looks like (``logs.py``).
"""

import re
import secrets
import time
from http import HTTPStatus

import orjson
import structlog

from .. import telemetry
from ..logs import bind_request, unbind_request
from .headers import Application, Message, Receive, Scope, Send
from .routes import ROUTE, is_probe, route_of

HEADER = b"x-request-id"
CLIENT_LEFT = 499
"""In the log, of a request whose client was gone before it was answered. Nobody was sent it."""
_DECENT = re.compile(rb"[A-Za-z0-9._-]{1,64}")

_log = structlog.get_logger(__name__)


class RequestLog:
    """ASGI middleware. The id is ``scope["request_id"]`` for whoever is inside."""

    def __init__(self, app: Application, answer_failure: Application | None = None) -> None:
        self._app = app
        self._answer_failure = answer_failure or _internal_server_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and say so."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _given_id(scope) or secrets.token_hex(8).encode()
        scope["request_id"] = request_id.decode()
        unbind_request()
        bind_request(request_id=scope["request_id"])
        telemetry.annotate(request_id=scope["request_id"])
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends here
            _log.exception("request failed", method=scope["method"], route=route_of(scope))
            if not status:
                await self._answer_failure(scope, receive, send_with_id)
            # Where half an answer is out, the server breaks the connection off: it never gets the other half.
            telemetry.failed(error)
        finally:
            self._note(scope, status or CLIENT_LEFT, time.perf_counter() - started)
            unbind_request()

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # Thousands of accepted events a second are counted (``metrics.py``), not told one by one.
        is_quiet = is_probe(scope) or (ROUTE in scope and status < 300)
        note = _log.warning if status >= 500 else _log.debug if is_quiet else _log.info
        note(
            "request",
            method=scope["method"],
            route=route_of(scope),
            status=status,
            duration_ms=round(seconds * 1000, 3),
        )


def _given_id(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == HEADER:
            found: bytes = value
            return found if _DECENT.fullmatch(found) else None
    return None


async def _internal_server_error(scope: Scope, _receive: Receive, send: Send) -> None:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": "The gateway has failed. Send the request again; give operators the request_id if it goes on.",
        "request_id": scope["request_id"],
    }
    body = orjson.dumps(document)
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
