"""The way of the hot routes, past the framework's layers, which cost as much as all that the gateway does.

FastAPI knows these routes too: it documents them, and answers every other method. Their endpoints take a request and
give an answer, and refuse by raising what ``problems`` answers everywhere; so both ways give the same.

Belongs here: that dispatch. Does not belong here: the endpoints.
"""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response

from ..stores.errors import StoreError
from .headers import Application, Receive, Scope, Send
from .problems import Problem, answer, away
from .routes import ROUTE

Endpoint = Callable[[Request], Awaitable[Response]]


def with_short_cut(app: FastAPI, endpoints: Mapping[str, Endpoint]) -> Application:
    """``app``, but POST requests of these very paths go to their endpoints directly."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = (
            endpoints.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        )
        if endpoint is None:
            await app(scope, receive, send)
            return
        scope["app"] = app
        scope[ROUTE] = scope["path"]
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Problem as problem:
            response = answer(request, problem)
        except StoreError as error:
            response = answer(request, away(error))
        await response(scope, receive, send)

    return dispatch
