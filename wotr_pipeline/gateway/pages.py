"""The pages: templates, the sign-in, and what every page has.

Belongs here: rendering, the dependency that sends people to the sign-in, the routes of signing in and out.
Does not belong here: any one page's content (``admin.py``, ``explorer.py``).

Templates escape everything by default. No page loads anything from elsewhere, and the Content-Security-Policy
(``headers.py``) allows no script or style but the files of ``static/``: no inline script, no style attribute.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from ..stores.api_keys import Scope
from ..words import FILTERS
from .access import COOKIE, Caller, access_of
from .problems import Problem
from .services import services_of

HERE = Path(__file__).parent
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters.update(FILTERS)

router = APIRouter(include_in_schema=False)


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    caller: Caller | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page. Templates get ``caller`` (None: not signed in), ``settings``, ``path`` and ``values``."""
    settings = services_of(request).settings
    text = TEMPLATES.get_template(template).render(
        caller=caller,
        settings=settings,
        path=request.url.path,
        request_id=request.scope.get("request_id"),
        **values,
    )
    return HTMLResponse(text, status, headers={"Cache-Control": "no-store", **(headers or {})})


class SignInNeeded(Exception):  # noqa: N818  (not an error: a way)
    """A person who is not signed in asks for a page."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


def person_with(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency of pages: a key or a session with this scope; otherwise a person is sent to the sign-in."""

    async def caller(request: Request) -> Caller:
        try:
            return await access_of(request).of_anyone(request, scope)
        except Problem as problem:
            if problem.status != 401 or request.method != "GET":
                raise
            query = f"?{request.url.query}" if request.url.query else ""
            raise SignInNeeded(request.url.path + query) from None

    return caller


async def to_sign_in(_request: Request, error: Exception) -> Response:
    """The answer to ``SignInNeeded``."""
    wanted = error.wanted if isinstance(error, SignInNeeded) else "/admin/"
    return RedirectResponse(f"/sign-in?{urlencode({'wanted': wanted})}", 303)


@router.get("/")
async def root() -> Response:
    """People who type the address only."""
    return RedirectResponse("/admin/", 303)


@router.get("/sign-in")
async def sign_in_page(request: Request, wanted: str = "/admin/") -> Response:
    """The form; who is signed in sees it too, with the way to sign out."""
    caller = await access_of(request).of_session(request)
    return render(request, "sign_in.html", caller=caller, wanted=_own(wanted), refused="")


@router.post("/sign-in")
async def sign_in(
    request: Request, key: Annotated[str, Form()] = "", wanted: Annotated[str, Form()] = "/admin/"
) -> Response:
    """Start a session. The key is never shown again, nor logged."""
    services = services_of(request)
    try:
        cookie = await services.access.sign_in(request, key.strip())
    except Problem as problem:
        if problem.status != 401:
            raise
        return render(request, "sign_in.html", status=401, wanted=_own(wanted), refused=problem.detail)
    answer = RedirectResponse(_own(wanted), 303)
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=services.settings.wotr_session_hours * 3600,
        httponly=True,
        samesite="lax",
        secure=services.settings.wotr_gateway_url.startswith("https://"),
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, caller: Annotated[Caller, Depends(person_with(Scope.READ))]) -> Response:
    """End the session, here and at the server."""
    if caller.session is not None:
        await asyncio.to_thread(services_of(request).access.sessions.end, caller.session)
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _own(target: str) -> str:
    """The address if it is one of ours, so that a link cannot send people elsewhere after they signed in."""
    parts = urlsplit(target)
    own = (
        target.startswith("/") and not target.startswith(("//", "/\\")) and not (parts.scheme or parts.netloc)
    )
    return target if own and not any(ord(char) < 32 or char == "\\" for char in target) else "/admin/"
