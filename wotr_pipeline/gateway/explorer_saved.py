"""/explorer/saved: keeping a query, sharing it, deleting it.

Belongs here: those three routes. Does not belong here: whose a query is (``stores/saved_queries.py``).
"""

import asyncio

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from ..stores.errors import StoreError
from ..stores.saved_queries import TITLE_CHARACTERS
from .explorer_page import Person, json_of, short_body, statement_of, wants_json
from .explorer_running import refusal
from .problems import Problem
from .services import services_of

router = APIRouter(prefix="/explorer/saved", include_in_schema=False, dependencies=[Depends(short_body)])


@router.post("")
async def save(request: Request, person: Person) -> Response:
    """Keep a statement under a title; one's own of that title is replaced."""
    form = await request.form()
    statement = statement_of(form.get("statement"))
    title = " ".join(str(form.get("title", "")).split())
    if not title or len(title) > TITLE_CHARACTERS or not title.isprintable():
        raise Problem(422, f"A title has 1 to {TITLE_CHARACTERS} printable characters.")
    shared = str(form.get("shared", "")) in ("1", "on", "true")
    try:
        number = await asyncio.to_thread(
            services_of(request).saved.save, person.key_id, person.name, title, statement, shared=shared
        )
    except StoreError as error:
        raise refusal(error) from None
    return _done(request, number)


@router.post("/{number}/share")
async def share(request: Request, person: Person, number: int) -> Response:
    """Let everyone see it (``shared=1``), or no longer."""
    shared = str((await request.form()).get("shared", "")) in ("1", "on", "true")
    try:
        await asyncio.to_thread(services_of(request).saved.share, number, person.key_id, shared=shared)
    except StoreError as error:
        raise refusal(error) from None
    return _done(request, number)


@router.post("/{number}/delete")
async def delete(request: Request, person: Person, number: int) -> Response:
    """Forget it."""
    try:
        await asyncio.to_thread(services_of(request).saved.delete, number, person.key_id)
    except StoreError as error:
        raise refusal(error) from None
    return json_of({"id": number}) if wants_json(request) else RedirectResponse("/explorer/", 303)


def _done(request: Request, number: int) -> Response:
    if wants_json(request):
        return json_of({"id": number})
    return RedirectResponse(f"/explorer/?saved={number}#saved", 303)
