"""/admin/maintenance/: turning maintenance mode on and off.

While it is on, nothing new is planned or loaded (the sensors skip and say why); whether the gateway takes events into
Kafka meanwhile is a setting, ``WOTR_MAINTENANCE_ACCEPTS``.

Belongs here: the page and its two actions. Does not belong here: obeying the mode (``automation/``, ``ingest.py``).
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from ..stores.api_keys import Scope
from . import acting
from .access import Caller
from .pages import person_with, render
from .problems import Problem
from .services import services_of

MOST_HOURS = 168.0
PAGE = "/admin/maintenance/"

router = APIRouter(prefix="/admin/maintenance", include_in_schema=False)


@router.get("/")
async def mode_page(
    request: Request, caller: Annotated[Caller, Depends(person_with(Scope.READ))]
) -> Response:
    """The mode, and the form that turns it."""
    mode = await asyncio.to_thread(services_of(request).operations.maintenance)
    return render(
        request,
        "admin/maintenance.html",
        caller=caller,
        mode=mode,
        now=datetime.now(UTC),
        may=caller.may(Scope.OPERATE),
        most_hours=MOST_HOURS,
    )


@router.post("/on")
async def begin(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.OPERATE))],
    why: Annotated[str, Form()] = "",
    hours: Annotated[str, Form()] = "",
) -> Response:
    """Maintenance begins."""
    why = acting.reason(why)
    until = datetime.now(UTC) + timedelta(hours=_hours(hours))
    await acting.note(request, caller, "begin maintenance", f"until {until:%Y-%m-%d %H:%M} UTC", why)
    log = services_of(request).operations
    await asyncio.to_thread(log.turn_maintenance, True, acting.signature(caller), why, until)
    return RedirectResponse(PAGE, 303)


@router.post("/off")
async def end(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.OPERATE))],
    why: Annotated[str, Form()] = "",
) -> Response:
    """Maintenance ends; the sensors plan again with their next tick."""
    why = acting.reason(why)
    await acting.note(request, caller, "end maintenance", "", why)
    log = services_of(request).operations
    await asyncio.to_thread(log.turn_maintenance, False, acting.signature(caller), why)
    return RedirectResponse(PAGE, 303)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= MOST_HOURS:  # also not a number, which compares with nothing
        raise Problem(422, f"Say in how many hours it ends: more than 0, at most {MOST_HOURS:.0f}.")
    return hours
