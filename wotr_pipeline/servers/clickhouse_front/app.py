"""The HTTP application (ASGI): one request, from its address to its answer.

Belongs here: which address does what, the order of the checks, the log line of a failure.
Does not belong here: how bytes move (``execution.py``), who may come in (``access.py``).
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from functools import partial
from typing import Any

from wotr_pipeline.servers.clickhouse_front.access import ReaderPolicy, User, authenticate
from wotr_pipeline.servers.clickhouse_front.answer import Answer, Send, summary
from wotr_pipeline.servers.clickhouse_front.body import Body, ClientGoneError, Receive
from wotr_pipeline.servers.clickhouse_front.compression import choose_encoding
from wotr_pipeline.servers.clickhouse_front.engine import Call
from wotr_pipeline.servers.clickhouse_front.errors import (
    BAD_ARGUMENTS,
    UNKNOWN_EXCEPTION,
    FrontError,
)
from wotr_pipeline.servers.clickhouse_front.execution import Execution
from wotr_pipeline.servers.clickhouse_front.request import (
    Request,
    decode_headers,
    parse_form,
    parse_parameters,
    read_request,
)
from wotr_pipeline.servers.clickhouse_front.statements import Kind, Statement, read_statement

log = logging.getLogger("wotr.clickhouse")

SHORT_STATEMENT = 64 * 1024
"""Bytes of a statement that is parsed in less time than a thread takes to start."""

Scope = MutableMapping[str, Any]


class Application:
    """ASGI callable over one engine."""

    def __init__(self, execution: Execution, users: tuple[User, ...]) -> None:
        self._execution = execution
        self._engine = execution.engine
        self._users = users
        self._policy = ReaderPolicy(self._engine.table_functions, self._engine.functions)
        self._common = {
            "X-ClickHouse-Server-Display-Name": "wotr",
            "X-ClickHouse-Timezone": self._engine.timezone,
            "Content-Type": "text/plain; charset=UTF-8",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served, not {scope['type']}")
        started, query_id, user_name = time.monotonic(), "-", "-"
        answer = Answer(send, self._common)
        body: Body | None = None
        try:
            if scope["path"] == "/ping":
                await answer.whole(200, b"Ok.\n", {})
                return
            headers = decode_headers(scope["headers"])
            parameters = parse_parameters(scope["query_string"])
            user = authenticate(self._users, headers, parameters)
            user_name = user.name
            if scope["path"] in ("/health", "/replicas_status"):
                await asyncio.to_thread(self._engine.check)
                await answer.whole(200, b"Ok.\n", {})
                return
            if scope["path"] not in ("/", ""):
                raise FrontError(BAD_ARGUMENTS, "There is no such address. Queries go to /.", status=404)
            if scope["method"] not in ("GET", "POST"):
                raise FrontError(BAD_ARGUMENTS, "Only GET and POST are served.", status=405)
            query_id = read_request(parameters, headers).query_id
            body = Body(receive, headers.get("content-encoding", ""))
            await self._query(scope["method"], user, query_id, parameters, headers, body, answer)
        except (ClientGoneError, TimeoutError):
            _log_failure(query_id, user_name, "CLIENT_GONE", started)
        except FrontError as error:
            _log_failure(query_id, user_name, error.name, started)
            await self._fail(error, body, answer)
        except Exception as error:  # noqa: BLE001 - the last stop: its text may hold an event's content
            _log_failure(query_id, user_name, type(error).__name__, started)
            await self._fail(FrontError(UNKNOWN_EXCEPTION, "The server failed; see its log."), body, answer)

    async def _fail(self, error: FrontError, body: Body | None, answer: Answer) -> None:
        try:
            if answer.started:
                await answer.break_off(error, self._engine.version)
                return
            if body is not None:
                await body.discard()
            await answer.error(error, self._engine.version)
        except (ClientGoneError, TimeoutError, FrontError, OSError):
            return  # nobody listens

    async def _query(
        self, method: str, user: User, query_id: str, parameters: Mapping[str, str],
        headers: Mapping[str, str], body: Body, answer: Answer,
    ) -> None:  # fmt: skip
        held = bytearray()
        if headers.get("content-type", "").startswith("multipart/form-data"):
            while not body.complete:
                await body.read_decoded(held)
            parameters = {**parameters, **parse_form(headers["content-type"], bytes(held))}
            held.clear()
        request = read_request({**parameters, "query_id": query_id}, headers)
        if request.query:
            held += request.query.encode()
            if not body.complete:
                held += b"\n"
        statement = await _whole_statement(held, body)
        statement = await self._authorize(user, statement, request)
        call = Call(
            mark=str(uuid.uuid4()),
            log_comment=request.log_comment,
            base_settings={"readonly": "2", **user.settings} if method == "GET" else user.settings,
            settings=request.settings,
            parameters=request.parameters,
            database=request.database,
        )
        answering = {"X-ClickHouse-Query-Id": query_id}
        coding = choose_encoding(headers.get("accept-encoding", "")) if request.compress else None
        async with self._execution.slot():
            await self._execute(statement, call, request, held, body, answer, answering, coding)

    async def _execute(
        self, statement: Statement, call: Call, request: Request, held: bytearray, body: Body,
        answer: Answer, headers: dict[str, str], coding: str | None,
    ) -> None:  # fmt: skip
        output_format = statement.format or request.default_format
        if statement.kind is Kind.SELECT:
            headers |= _described(output_format)
            await self._execution.select(
                statement, call, body, answer, output_format=output_format, headers=headers,
                coding=coding, wait_for_end=request.wait_for_end,
            )  # fmt: skip
            return
        if statement.kind is Kind.INSERT_DATA:
            first = bytes(held[statement.data_start :])
            held.clear()
            outcome = await self._execution.insert(statement, call, first, body)
        else:
            outcome = await self._execution.run(statement, call, output_format)
            if outcome.body or statement.answers:
                headers |= _described(output_format)
        await answer.whole(200, outcome.body, headers | {"X-ClickHouse-Summary": summary(outcome)}, coding)

    async def _authorize(self, user: User, statement: Statement, request: Request) -> Statement:
        """The statement that may run: for a reader, the engine's own spelling of it, which is what was checked."""
        if len(statement.bare) < SHORT_STATEMENT:
            query_class = self._engine.classify(statement.bare)
        else:
            query_class = await asyncio.to_thread(self._engine.classify, statement.bare)
        if user.read_only:
            if statement.kind is not Kind.INSERT_DATA:
                canonical = await asyncio.to_thread(self._engine.canonical, statement.bare)
                statement = replace(statement, text=canonical, tail=b"")
            self._policy.check(query_class, statement.text, request.parameters, request.database)
        if statement.kind is Kind.SELECT and query_class != "READ_ONLY":
            return replace(statement, kind=Kind.OTHER)  # WITH … INSERT: nothing to stream
        return statement


async def _whole_statement(held: bytearray, body: Body) -> Statement:
    """Read until the statement is known; an INSERT's data may then still be on their way."""
    tried = -1
    while True:
        # A long statement is looked at each time it has doubled, not with every piece that arrives.
        if body.complete or len(held) > 2 * tried:
            tried = len(held)
            read = partial(read_statement, bytes(held), complete=body.complete)
            statement = read() if tried < SHORT_STATEMENT else await asyncio.to_thread(read)
            if statement is not None:
                return statement
        await body.read_decoded(held)


def _described(output_format: str) -> dict[str, str]:
    """Headers that say what a result looks like."""
    if output_format.startswith("JSON"):
        media = "application/json; charset=UTF-8"
    elif output_format.startswith(("CSV", "TabSeparated", "TSV", "Pretty", "Vertical", "XML", "Markdown")):
        media = "text/plain; charset=UTF-8"
    else:
        media = "application/octet-stream"
    return {"X-ClickHouse-Format": output_format, "Content-Type": media}


def _log_failure(query_id: str, user: str, what: str, started: float) -> None:
    """One line; never the statement, nor the engine's text, which quotes data."""
    shown = re.sub(r"[^\w.:-]", "?", query_id)[:100]
    log.warning("query %s of %s: %s after %.3f s", shown, user, what, time.monotonic() - started)
