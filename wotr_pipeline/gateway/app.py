"""The application: which router serves what, and what is around all of them.

Belongs here: putting it together. Does not belong here: any answer.
"""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from ..config import Settings, load_settings
from . import (
    admin,
    dead_letters,
    events,
    headers,
    health,
    ingest,
    key_pages,
    maintenance,
    openapi,
    pages,
    problems,
    retries,
)
from .form_limit import with_bounded_forms
from .services import opened
from .short_cut import with_short_cut

ROUTES = (ingest, events, health, pages, admin, dead_letters, retries, maintenance, key_pages)
DESCRIPTION = """\
Events in, exactly once: an answer of 200 or 202 means that Kafka has the event on record. Send a key with each
request (`X-API-Key`). The same id again, or the same `Idempotency-Key`, is answered as before and publishes nothing.
"""


def gateway(settings: Settings | None = None) -> headers.Application:
    """The gateway as an ASGI application; settings from the environment unless given."""
    settings = settings or load_settings()
    app = with_short_cut(
        application(settings), {"/ingest": ingest.ingest, "/ingest/batch": ingest.ingest_batch}
    )
    app = with_bounded_forms(app)
    return headers.with_security_headers(app, https=settings.wotr_gateway_url.startswith("https://"))


def application(settings: Settings) -> FastAPI:
    """Routes and problems, without what is around them."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings) as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="WOTR gateway",
        version="1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=True,
    )
    problems.install(app)
    app.add_exception_handler(pages.SignInNeeded, pages.to_sign_in)
    app.mount("/static", StaticFiles(directory=pages.HERE / "static"), name="static")
    for part in ROUTES:
        app.include_router(part.router)
    openapi.install(app)
    return app
