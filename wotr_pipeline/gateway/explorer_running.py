"""Queries of the explorer that run now: so that they end when their person cancels them or leaves.

Belongs here: that, and the refusals that people see. Does not belong here: running (``stores/warehouse_reader.py``).
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request

from ..stores.errors import StoreError
from ..stores.saved_queries import NotYoursError, TooManySavedError
from ..stores.warehouse_reader import BusyError, NoReaderError, StatementError, Verdict
from .problems import Problem, away

Value = TypeVar("Value")

_STATUS = {Verdict.WRONG: 400, Verdict.REFUSED: 403, Verdict.LIMIT: 422}
_INTRODUCTION = {
    Verdict.WRONG: "ClickHouse cannot run this.",
    Verdict.REFUSED: "The explorer may only read the events and what describes them.",
    Verdict.LIMIT: "The query needs more than a query of the explorer gets: ask for less, or for a shorter time.",
}


class ClientGoneError(Exception):
    """Nobody waits for the answer."""


@dataclass
class Running:
    """What runs, by the number that the page gave it."""

    _tasks: dict[tuple[str, str], asyncio.Task[Any]] = field(default_factory=dict)

    async def wait(self, request: Request, key_id: str, run: str, work: Coroutine[Any, Any, Value]) -> Value:
        """What ``work`` gives; it ends early when it is cancelled or when the client leaves.

        Raises:
            ClientGoneError
            Problem: 409 when it was cancelled.
        """
        task = asyncio.create_task(work)
        leaving = asyncio.create_task(_departure(request))
        name = (key_id, run)
        if run and name not in self._tasks:
            self._tasks[name] = task
        try:
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGoneError
            if task.cancelled():
                raise Problem(409, "The query was cancelled.")
            return task.result()
        finally:
            leaving.cancel()
            if self._tasks.get(name) is task:
                del self._tasks[name]
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def cancel(self, key_id: str, run: str) -> bool:
        """End a query of this key; False if there is none of that number."""
        task = self._tasks.get((key_id, run))
        return task.cancel() if task is not None else False


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refusal(error: StoreError) -> Problem:
    """The answer to a query that was not run to its end. The engine's words go to who wrote the statement."""
    if isinstance(error, StatementError):
        detail = f"{_INTRODUCTION[error.verdict]} {error.words}"
        return Problem(_STATUS[error.verdict], detail, code=error.code, symbol=error.symbol)
    if isinstance(error, BusyError):
        return Problem(429, str(error), retry_after=5)
    if isinstance(error, NoReaderError):
        return Problem(503, str(error), retry_after=600)
    if isinstance(error, NotYoursError):
        return Problem(404, str(error))
    if isinstance(error, TooManySavedError):
        return Problem(409, str(error))
    return away(error)
