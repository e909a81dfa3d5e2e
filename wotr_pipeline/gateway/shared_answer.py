"""One question to a slow place, asked once for everyone who wants to know.

Pages and probes ask stores that may hang. However many people ask: one thread asks at a time, what it learns is good
for everyone for a moment, and nobody waits longer than they were ready to. A thread that hangs is one thread.

Belongs here: that. Does not belong here: what is asked.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import structlog

from ..stores.errors import StoreError, TransientError

PATIENCE_SECONDS = 2.0

_log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What was learned, and when (aware, UTC)."""

    value: T
    at: datetime


class SharedAnswer(Generic[T]):
    """The answer to ``ask``, a blocking call; fresh for some seconds. Belongs to one event loop."""

    def __init__(
        self, what: str, ask: Callable[[], T], *, fresh: float, patience: float = PATIENCE_SECONDS
    ) -> None:
        """``what`` completes "… did not answer"."""
        self._what = what
        self._ask = ask
        self._fresh = fresh
        self._patience = patience
        self._asked_at = float("-inf")
        self._pending: asyncio.Future[Answer[T]] | None = None

    async def get(self) -> Answer[T]:
        """The answer, of now or of a moment ago.

        Raises:
            TransientError: there is none yet, or the place is away. PermanentError: it refuses.
        """
        now = time.monotonic()
        if self._pending is None or (self._pending.done() and now - self._asked_at > self._fresh):
            self._asked_at = now
            self._pending = self._begin()
        left = self._asked_at + self._patience - now
        try:
            return await asyncio.wait_for(asyncio.shield(self._pending), max(left, 0.01))
        except TimeoutError:
            waited = time.monotonic() - self._asked_at
            raise TransientError(f"{self._what} has not answered for {waited:.0f} s.") from None

    def _begin(self) -> "asyncio.Future[Answer[T]]":
        loop = asyncio.get_running_loop()
        pending: asyncio.Future[Answer[T]] = loop.create_future()
        # Nobody may be left to look at a failure that comes late.
        pending.add_done_callback(lambda done: done.cancelled() or done.exception())

        def run() -> None:
            answer: Answer[T] | None = None
            error: BaseException | None = None
            try:
                answer = Answer(self._ask(), datetime.now(UTC))
            except StoreError as failure:
                error = failure
            except BaseException as failure:  # noqa: BLE001  (whatever it is, someone waits for it)
                _log.error("a question failed", what=self._what, exc_info=failure)
                error = TransientError(f"{self._what} could not be asked ({type(failure).__name__}).")
            try:
                loop.call_soon_threadsafe(_settle, pending, answer, error)
            except RuntimeError:
                return  # the gateway has stopped meanwhile

        # Not the loop's pool: a thread that hangs there takes a place from everything else, and holds up the stop.
        threading.Thread(target=run, name=f"ask {self._what}", daemon=True).start()
        return pending


def _settle(
    pending: "asyncio.Future[Answer[T]]", answer: Answer[T] | None, error: BaseException | None
) -> None:
    if pending.done():
        return
    if answer is not None:
        pending.set_result(answer)
    elif error is not None:
        pending.set_exception(error)
