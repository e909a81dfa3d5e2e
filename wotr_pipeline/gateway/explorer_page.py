"""The explorer's page, and what its forms must be like.

Belongs here: who may ask, how long a form and a statement may be, the page and the part of it that shows a result.
Does not belong here: the routes (``explorer.py``, ``explorer_saved.py``).
"""

import asyncio
import re
import secrets
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request, Response

from ..stores.api_keys import Scope
from ..stores.saved_queries import STATEMENT_CHARACTERS
from .access import Caller
from .explorer_chart import chart_of
from .explorer_queries import runbook_queries
from .explorer_results import PAGE_ROWS, Result
from .headers import policy
from .pages import person_with, render
from .problems import Problem
from .services import services_of

MOST_REQUEST_BYTES = 512 * 1024

Person = Annotated[Caller, Depends(person_with(Scope.READ))]


async def short_body(request: Request) -> None:
    """Refuse a large form before it is read."""
    if request.method == "POST":
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            raise Problem(411, "The request does not say how long it is (Content-Length).")
        if int(length) > MOST_REQUEST_BYTES:
            raise Problem(413, f"The request is longer than {MOST_REQUEST_BYTES // 1024} KiB.")


async def explorer_page(
    request: Request,
    person: Caller,
    *,
    statement: str = "",
    title: str = "",
    shared: bool = False,
    result: Result | None = None,
    page: int = 1,
    refused: Problem | None = None,
) -> Response:
    """The whole page."""
    services = services_of(request)
    nonce = secrets.token_urlsafe(16)
    saved, own, history = await asyncio.gather(
        asyncio.to_thread(services.saved.seen_by, person.key_id),
        asyncio.to_thread(services.saved.own_ids, person.key_id),
        asyncio.to_thread(services.saved.history, person.key_id),
    )
    return render(
        request,
        "explorer.html",
        status=refused.status if refused else 200,
        # The editor makes its styles at run time: this page alone allows those that carry its nonce.
        headers={
            "Content-Security-Policy": policy(style_nonce=nonce),
            **(refused.headers if refused else {}),
        },
        caller=person,
        nonce=nonce,
        configured=services.reader.configured,
        statement=statement,
        title=title,
        shared=shared,
        own=[query for query in saved if query.id in own],
        others=[query for query in saved if query.id not in own],
        history=history,
        runbook=runbook_queries(),
        refused=refused,
        **_shown(result, page),
    )


def statement_of(given: object) -> str:
    """The statement of a form.

    Raises:
        Problem: 422 if there is none, or if it is too long.
    """
    text = given.replace("\r\n", "\n") if isinstance(given, str) else ""
    if not text.strip():
        raise Problem(422, "There is no statement.")
    if len(text) > STATEMENT_CHARACTERS:
        raise Problem(422, f"A statement has at most {STATEMENT_CHARACTERS:,} characters.")
    if "\0" in text or re.search(r"[\ud800-\udfff]", text):
        raise Problem(422, "The statement holds characters that no text has.")
    return text


def wants_json(request: Request) -> bool:
    """Whether a program asks."""
    return "application/json" in request.headers.get("accept", "")


def is_part(request: Request) -> bool:
    """Whether the page's script asks for the result alone."""
    return request.headers.get("x-part") == "result"


def json_of(value: Any) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), media_type="application/json", headers={"Cache-Control": "no-store"})


def answer_with(request: Request, person: Caller, result: Result, page: int) -> Response:
    """A page of a result: as a part of the page, or as JSON."""
    if is_part(request):
        return render(request, "explorer_result.html", caller=person, **_shown(result, page))
    return json_of(
        {
            "token": result.token,
            "columns": [{"name": column.name, "type": column.type} for column in result.columns],
            "rows": result.values(page),
            "page": page,
            "pages": result.pages,
            "page_rows": PAGE_ROWS,
            "row_count": result.count,
            "more": result.rows.cut,
            "seconds": round(result.seconds, 3),
        }
    )


def _shown(result: Result | None, page: int) -> dict[str, Any]:
    return {
        "result": result,
        "page": page,
        "cells": result.cells(page) if result else [],
        "chart": chart_of(result) if result else None,
    }
