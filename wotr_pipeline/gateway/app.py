"""The application: which router serves what, and what is around all of them.

Belongs here: putting it together. Does not belong here: any answer.
"""

import contextlib
import gc
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.params import Depends
from fastapi.staticfiles import StaticFiles

from ..config import Settings, load_settings
from ..logs import configure_logging
from ..stores.api_keys import Scope
from ..stores.schema_register import SchemaRegister
from . import (
    admin,
    dead_letters,
    events,
    explorer,
    explorer_saved,
    health,
    ingest,
    key_pages,
    maintenance,
    metrics,
    openapi,
    pages,
    problems,
    retries,
)
from .access import anyone_with
from .form_limit import with_bounded_forms
from .headers import Application, with_security_headers
from .registry import registry_routes
from .request_log import RequestLog
from .services import opened
from .short_cut import with_short_cut
from .tracing import traced

ROUTES = (
    ingest,
    events,
    health,
    metrics,
    pages,
    admin,
    dead_letters,
    retries,
    maintenance,
    key_pages,
    explorer_saved,
    explorer,
)
HOT = {"/ingest": ingest.ingest, "/ingest/batch": ingest.ingest_batch}
GARBAGE = (50_000, 20, 50)
"""Thresholds of the garbage collector. A look at everything takes a tenth of a second, in which nobody is answered."""
DESCRIPTION = """\
Events in, exactly once: an answer of 202 means that Kafka has the event on record. Send a key with each request
(`X-API-Key`). The same id again, or the same `Idempotency-Key`, is answered as before and publishes nothing.
"""


def gateway() -> Application:
    """The gateway as an ASGI application, in a process of its own; settings from the environment."""
    settings = load_settings()
    configure_logging(settings=settings)
    counted = metrics.Metrics()
    app = with_bounded_forms(with_short_cut(application(settings, counted), HOT))
    around = metrics.with_request_metrics(RequestLog(app, problems.broken), counted)
    https = settings.wotr_gateway_url.startswith("https://")
    return traced(with_security_headers(around, https=https), settings)


def application(settings: Settings, counted: metrics.Metrics) -> FastAPI:
    """Routes and problems, without what is around them."""
    schemas = SchemaRegister(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with schemas:
            async with opened(settings, counted) as services:
                app.state.services = services
                # What is there now stays: the garbage collector need not look at it between requests.
                gc.collect()
                gc.freeze()
                gc.set_threshold(*GARBAGE)
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
    may = {"read": Depends(anyone_with(Scope.READ)), "write": Depends(anyone_with(Scope.OPERATE))}
    app.include_router(registry_routes(schemas, **may), prefix="/registry")
    openapi.install(app)
    return app
