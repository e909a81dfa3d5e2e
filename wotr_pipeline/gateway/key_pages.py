"""/admin/keys/: the gateway's keys: who has one, what it may, making, rotating and revoking them.

A new key's text is in one answer, and nowhere else: not in an address, a log, or a page that can be loaded again.

Belongs here: those pages. Does not belong here: what a key is (``stores/api_keys.py``), judging it (``access.py``).
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from ..stores.api_keys import NewKey, Scope
from ..stores.errors import PermanentError
from . import acting
from .access import Caller
from .pages import person_with, render
from .problems import Problem
from .services import services_of

PAGE = "/admin/keys/"
DAYS = 90
MOST_DAYS = 3_650
MOST_NAME = 100
OVERLAP_HOURS = 24
MOST_OVERLAP_HOURS = 30 * 24
MOST_EVENTS = 100_000_000

router = APIRouter(prefix="/admin/keys", include_in_schema=False)
Admin = Annotated[Caller, Depends(person_with(Scope.ADMIN))]


@router.get("/")
async def keys_page(request: Request, caller: Admin) -> Response:
    """Every key ever made, without its secret."""
    found = await asyncio.to_thread(services_of(request).access.keys.store.all)
    return render(
        request,
        "admin/keys.html",
        caller=caller,
        keys=found,
        now=datetime.now(UTC),
        scopes=tuple(Scope),
        days=DAYS,
        most_days=MOST_DAYS,
        overlap_hours=OVERLAP_HOURS,
        most_overlap_hours=MOST_OVERLAP_HOURS,
    )


@router.post("/create")
async def create(
    request: Request,
    caller: Admin,
    name: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
    scope: Annotated[list[str] | None, Form()] = None,
    days: Annotated[str, Form()] = "",
    events_per_minute: Annotated[str, Form()] = "",
) -> Response:
    """Make a key and show it, once."""
    name, why = acting.plain(name, "name", MOST_NAME), acting.reason(why)
    scopes = _scopes(scope or [])
    lifetime = _number(days, "Days", MOST_DAYS)
    limit = _number(events_per_minute, "Events a minute", MOST_EVENTS)
    told = f"{name}: {', '.join(scopes)}; {f'for {lifetime} days' if lifetime else 'without an end'}"
    await acting.note(request, caller, "create a key", told, why)
    store = services_of(request).access.keys.store
    expires_at = datetime.now(UTC) + timedelta(days=lifetime) if lifetime else None
    new = await asyncio.to_thread(
        lambda: store.create(
            name, scopes, acting.signature(caller), expires_at=expires_at, events_per_minute=limit
        )
    )
    return _shown_once(request, caller, new, name, "")


@router.post("/rotate")
async def rotate(
    request: Request,
    caller: Admin,
    key_id: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
    hours: Annotated[str, Form()] = "",
) -> Response:
    """Make a key that takes the place of another, which ends some hours later."""
    key_id, why = acting.plain(key_id, "key_id", MOST_NAME), acting.reason(why)
    overlap = _number(hours, "Hours", MOST_OVERLAP_HOURS) or 0
    await acting.note(request, caller, "rotate a key", f"{key_id}; it ends in {overlap} h", why)
    store = services_of(request).access.keys.store
    try:
        new = await asyncio.to_thread(
            store.rotate, key_id, acting.signature(caller), timedelta(hours=overlap)
        )
    except PermanentError:
        raise Problem(409, "There is no such key that is still valid.") from None
    return _shown_once(
        request, caller, new, key_id, f"The key {key_id} is refused {overlap} hours from now on."
    )


@router.post("/revoke")
async def revoke(
    request: Request,
    caller: Admin,
    key_id: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
) -> Response:
    """Refuse a key from now on, and end the sessions that it began."""
    key_id, why = acting.plain(key_id, "key_id", MOST_NAME), acting.reason(why)
    await acting.note(request, caller, "revoke a key", key_id, why)
    ring = services_of(request).access.keys
    try:
        await asyncio.to_thread(ring.store.revoke, key_id)
    except PermanentError:
        raise Problem(409, "There is no such key that is not revoked.") from None
    await ring.refresh(not_before=time.monotonic())
    return RedirectResponse(PAGE, 303)


def _shown_once(request: Request, caller: Caller, new: NewKey, name: str, more: str) -> Response:
    return render(request, "admin/new_key.html", caller=caller, new=new, name=name, more=more)


def _scopes(given: list[str]) -> list[Scope]:
    if not given or not set(given) <= set(Scope):
        raise Problem(422, f"Choose what the key may do: one or more of {', '.join(Scope)}.")
    return sorted({Scope(scope) for scope in given})


def _number(text: str, what: str, most: int) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:12]) <= most and len(text) <= 12):
        raise Problem(422, f"{what}: a whole number from 1 to {most:,}, or nothing.")
    return int(text)
