"""Every refusal of the gateway: RFC 9457 problem documents for programs, a page for people.

Belongs here: the one exception that routes raise, and how it and everything else is answered.
Does not belong here: deciding to refuse. A problem never quotes what was sent: it names fields, rules and limits.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..stores.errors import StoreError, TransientError
from .headers import Receive, Scope, Send

_BROKEN = "The gateway has failed. Send the request again; give operators the request_id if it goes on."
CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5
_PAGES = ("/admin", "/explorer", "/sign-in", "/sign-out")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FieldProblem:
    """One thing that is wrong with one member."""

    field: str
    """Path such as ``payload.tags[3]``; '' is the whole body."""
    reason: str
    """Code of a closed set."""
    message: str


class Problem(Exception):  # noqa: N818  (the RFC's word)
    """A request that is not done; answered with this status."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: tuple[FieldProblem, ...] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.more = status, detail, errors, more
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, retry_after))

    def document(self, request_id: str | None) -> dict[str, Any]:
        """The problem as JSON's values."""
        told: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        if self.errors:
            told["errors"] = [asdict(error) for error in self.errors]
        if request_id:
            told["request_id"] = request_id
        return told


def away(error: StoreError) -> Problem:
    """The problem for a store that does not do its work. The store's own words go to the log, not to the client."""
    _log.warning("store failed", error=str(error), kind=type(error).__name__)
    if isinstance(error, TransientError):
        detail = "A store of the platform does not answer. Nothing of this request was taken; send it again."
        return Problem(503, detail, retry_after=RETRY_SECONDS)
    return Problem(
        503, "A store of the platform refuses. Operators find the reason in the log.", retry_after=60
    )


def install(app: FastAPI) -> None:
    """Answer every refusal of ``app`` in one form."""

    @app.exception_handler(Problem)
    async def refused(request: Request, problem: Problem) -> Response:
        return answer(request, problem)

    @app.exception_handler(StoreError)
    async def store_failed(request: Request, error: StoreError) -> Response:
        return answer(request, away(error))

    @app.exception_handler(Exception)
    async def failed(request: Request, _error: Exception) -> Response:
        return answer(request, Problem(500, _BROKEN))

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        known = {404: "There is no such address.", 405: "This address does not take that method."}
        detail = known.get(error.status_code, "The request cannot be read.")
        return answer(request, Problem(error.status_code, detail, headers=error.headers))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = tuple(
            FieldProblem(".".join(str(part) for part in found["loc"]), found["type"], found["msg"])
            for found in error.errors()
        )
        return answer(request, Problem(422, "The request has wrong parameters.", errors=errors))


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that failed for a reason nobody thought of; ``request_log`` has it in the log."""
    request = Request(scope)
    await answer(request, Problem(500, _BROKEN))(scope, receive, send)


def answer(request: Request, problem: Problem) -> Response:
    """The answer to a request that was refused: JSON, or a page where a person asked for one."""
    request_id = request.scope.get("request_id")
    if wants_page(request):
        from .pages import render

        return render(
            request,
            "problem.html",
            status=problem.status,
            headers=problem.headers,
            problem=problem,
            title=HTTPStatus(problem.status).phrase,
        )
    return Response(
        orjson.dumps(problem.document(request_id)),
        problem.status,
        headers=problem.headers,
        media_type=CONTENT_TYPE,
    )


def wants_page(request: Request) -> bool:
    """Whether a browser asks for one of the pages."""
    path: str = request.scope["path"]
    return path.startswith(_PAGES) and "text/html" in request.headers.get("accept", "")
