"""/explorer/: people's SQL on ClickHouse, read-only.

Without JavaScript it is a form and a table: POST runs, and leads to the result's own address. ``static/explorer.js``
asks the same routes for a part of the page (``X-Part: result``). Programs send ``Accept: application/json``.

Belongs here: the routes. Does not belong here: judging statements. What may be read, and how much of it, is the
engine's to say, which knows the reader (``stores/warehouse_reader.py``).
"""

import asyncio
import time
from datetime import UTC, datetime

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse, StreamingResponse

from ..sql import statement as sql_statement
from ..stores.errors import StoreError
from ..stores.warehouse_reader import StatementError, values_of
from .access import Caller
from .explorer_exports import ExportFormat, sent, spooled
from .explorer_page import (
    Person,
    answer_with,
    explorer_page,
    is_part,
    json_of,
    short_body,
    statement_of,
    wants_json,
)
from .explorer_queries import runbook_query
from .explorer_results import MOST_BYTES, MOST_ROWS, Result
from .explorer_running import ClientGoneError, refusal
from .problems import Problem, wants_page
from .services import Services, services_of

SCHEMA_SECONDS = 60.0

router = APIRouter(prefix="/explorer", include_in_schema=False, dependencies=[Depends(short_body)])


@router.get("/")
async def page(
    request: Request, person: Person, runbook: str = "", saved: int | None = None, history: int | None = None
) -> Response:
    """The page; with a query of the runbook, a saved or a past one in the editor. Nothing runs."""
    services = services_of(request)
    title, statement, shared = "", "", False
    try:
        if runbook:
            found = runbook_query(runbook)
            if found is None:
                raise Problem(404, "The runbook has no query of that name.")
            title, statement = found.title, found.statement
        elif saved is not None:
            kept = await asyncio.to_thread(services.saved.one, saved, person.key_id)
            title, statement, shared = kept.title, kept.statement, kept.shared
        elif history is not None:
            statement = (await asyncio.to_thread(services.saved.past, history, person.key_id)).statement
    except StoreError as error:
        raise refusal(error) from None
    if wants_json(request):
        return json_of({"title": title, "statement": statement, "shared": shared})
    return await explorer_page(request, person, statement=statement, title=title, shared=shared)


@router.post("/")
async def run(request: Request, person: Person) -> Response:
    """Run a statement and show its first rows."""
    form = await request.form()
    statement = statement_of(form.get("statement"))
    run_id = str(form.get("run", ""))[:64]
    try:
        result = await _result(request, person, statement, run_id)
    except ClientGoneError:
        return Response(status_code=499)
    except Problem as problem:
        if wants_page(request) and problem.status in (400, 403, 409, 422, 429, 503):
            return await explorer_page(request, person, statement=statement, refused=problem)
        raise
    if wants_json(request) or is_part(request):
        return answer_with(request, person, result, 1)
    return RedirectResponse(f"/explorer/results/{result.token}", 303)


@router.get("/results/{token}")
async def result_page(request: Request, person: Person, token: str, page: int = 1) -> Response:
    """A page of a result that is kept."""
    result = _kept(request, person, token)
    if not 1 <= page <= result.pages:
        raise Problem(404, f"The result has {result.pages} pages.")
    if wants_json(request) or is_part(request):
        return answer_with(request, person, result, page)
    return await explorer_page(request, person, statement=result.statement, result=result, page=page)


@router.get("/results/{token}/cell")
async def cell(request: Request, person: Person, token: str, row: int, column: int) -> Response:
    """One whole value."""
    result = _kept(request, person, token)
    if not (1 <= row <= result.count and 1 <= column <= len(result.columns)):
        raise Problem(404, "The result has no such value.")
    text = values_of(result.rows.rows[row - 1])[column - 1]
    return PlainTextResponse(text, headers={"Cache-Control": "no-store"})


@router.post("/export")
async def export(request: Request, person: Person) -> Response:
    """Run a statement and give the whole result as a file."""
    form = await request.form()
    statement = statement_of(form.get("statement"))
    try:
        output_format = ExportFormat(str(form.get("format", "")))
    except ValueError:
        raise Problem(422, "A file is csv or parquet.") from None
    services = services_of(request)
    run_id = str(form.get("run", ""))[:64]
    number = await asyncio.to_thread(services.saved.began, person.key_id, person.name, statement)
    started = time.monotonic()
    work = spooled(services.reader, statement, person.key_id, output_format)
    try:
        file = await services.running.wait(request, person.key_id, run_id, work)
    except ClientGoneError:
        return Response(status_code=499)
    except StoreError as error:
        await _note(services, number, started, None, error)
        problem = refusal(error)
        if wants_page(request):
            return await explorer_page(request, person, statement=statement, refused=problem)
        raise problem from None
    await _note(services, number, started, None, None)
    name = f"wotr-{datetime.now(UTC):%Y%m%d-%H%M%S}.{output_format}"
    size = await asyncio.to_thread(lambda: file.seek(0, 2) - file.seek(0))
    return StreamingResponse(
        sent(file),
        media_type=output_format.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(size),
            "Cache-Control": "no-store",
        },
    )


@router.post("/cancel")
async def cancel(request: Request, person: Person) -> Response:
    """End a query of one's own that runs."""
    form = await request.form()
    if not services_of(request).running.cancel(person.key_id, str(form.get("run", ""))[:64]):
        raise Problem(404, "No such query of yours runs: it has ended.")
    return Response(status_code=204)


@router.get("/schema")
async def schema(request: Request, person: Person) -> Response:
    """Tables, columns and functions for the editor, as the reader sees them."""
    services = services_of(request)
    known = services.schema
    if known.text is None or time.monotonic() - known.read_at > SCHEMA_SECONDS:
        limits = {"most_rows": MOST_ROWS, "most_bytes": MOST_BYTES}
        try:
            columns = await services.reader.rows(sql_statement("explorer_schema"), person.key_id, **limits)
            functions = await services.reader.rows(
                sql_statement("explorer_functions"), person.key_id, **limits
            )
        except StoreError as error:
            raise refusal(error) from None
        known.text = orjson.dumps(
            {
                "columns": [values_of(row) for row in columns.rows],
                "functions": [values_of(row)[0] for row in functions.rows],
            }
        )
        known.read_at = time.monotonic()
    return Response(
        known.text, media_type="application/json", headers={"Cache-Control": "private, max-age=60"}
    )


async def _result(request: Request, person: Caller, statement: str, run_id: str) -> Result:
    services = services_of(request)
    if not services.reader.configured:
        raise Problem(503, "CLICKHOUSE_READER_USER is not set: the explorer needs a user who may only read.")
    number = await asyncio.to_thread(services.saved.began, person.key_id, person.name, statement)
    started = time.monotonic()
    work = services.reader.rows(statement, person.key_id, most_rows=MOST_ROWS, most_bytes=MOST_BYTES)
    try:
        rows = await services.running.wait(request, person.key_id, run_id, work)
    except StoreError as error:
        await _note(services, number, started, None, error)
        raise refusal(error) from None
    seconds = await _note(services, number, started, len(rows.rows), None)
    return services.results.keep(person.key_id, statement, rows, seconds)


async def _note(
    services: Services, number: int, started: float, rows: int | None, error: StoreError | None
) -> float:
    """Write the end of a query into the history; gives how long it took."""
    seconds = time.monotonic() - started
    what = f"{error.code} {error.symbol}" if isinstance(error, StatementError) else type(error).__name__
    await asyncio.to_thread(services.saved.ended, number, seconds, rows, what if error else None)
    return seconds


def _kept(request: Request, person: Caller, token: str) -> Result:
    result = services_of(request).results.find(token, person.key_id)
    if result is None:
        raise Problem(404, "This result is no longer kept: run the query again. It is in your history.")
    return result
