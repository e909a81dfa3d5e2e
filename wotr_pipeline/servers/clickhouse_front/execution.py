"""Carrying bytes between a client and the engine while a statement runs.

Belongs here: the pipes through which results leave and data enter the engine, with bounded memory on both
ways; what happens when either side ends early.
Does not belong here: SQL (``statements.py``) and permissions (``access.py``).

The engine writes a SELECT's answer to a pipe (INTO OUTFILE) and reads an INSERT's data from one (FROM INFILE),
by descriptor and in this process: so every format is the engine's own, byte for byte, and a slow client holds
the engine back instead of filling memory.
"""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from wotr_pipeline.servers.clickhouse_front.answer import Answer, summary
from wotr_pipeline.servers.clickhouse_front.body import Body, ClientGoneError, write_all
from wotr_pipeline.servers.clickhouse_front.engine import Call, Engine, Outcome
from wotr_pipeline.servers.clickhouse_front.errors import TOO_MANY_SIMULTANEOUS_QUERIES, FrontError
from wotr_pipeline.servers.clickhouse_front.statements import Statement, with_input, with_output

PIPE_BYTES = 1 << 20
FIRST_BYTES = 256 * 1024
"""Held back before the headers go out: what fails within them fails with a proper status."""
IN_MEMORY_BYTES = 8 * 1024 * 1024
"""Of an answer that is wanted whole (wait_end_of_query); the rest waits on disk."""
QUEUE_SECONDS = 60.0
_SEEKABLE = {"parquet", "parquetmetadata", "orc", "arrow", "npy"}


class Execution:
    """Runs statements, at most ``slots`` at once; more wait for ``QUEUE_SECONDS``."""

    def __init__(self, engine: Engine, spool: Path, slots: int) -> None:
        self.engine = engine
        self._spool = spool
        self._slots = asyncio.Semaphore(slots)
        self._marks: set[str] = set()
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="query")

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for one's turn.

        Raises:
            FrontError: TOO_MANY_SIMULTANEOUS_QUERIES.
        """
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise FrontError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"All slots were busy for {QUEUE_SECONDS:.0f} seconds. Try again.",
            ) from None
        try:
            yield
        finally:
            self._slots.release()

    async def stop(self) -> None:
        """Kill what still runs and wait for its end."""
        for mark in list(self._marks):
            await asyncio.to_thread(self.engine.kill, mark)
        await asyncio.to_thread(self._threads.shutdown, wait=True)

    async def run(self, statement: Statement, call: Call, output_format: str) -> Outcome:
        """Run a statement with a small answer, to its end even if the client leaves."""
        return await self._start(statement.bare, output_format, call)

    async def insert(self, statement: Statement, call: Call, first: bytes, body: Body) -> Outcome:
        """Run an INSERT whose data are ``first`` and the rest of ``body``.

        Raises:
            ClientGoneError: the body was cut short; the statement has been killed.
            FrontError: the engine's, or the body's.
        """
        if (statement.format or "").lower() in _SEEKABLE:
            with tempfile.TemporaryFile(dir=self._spool) as file:
                await asyncio.to_thread(write_all, file.fileno(), first)
                await body.copy(file.fileno())
                return _as_read(await self._start(with_input(statement, _path(file.fileno())), "Null", call))
        source, sink = _pipe()
        running = self._start(with_input(statement, _path(source)), "Null", call, closing=source)
        try:
            with suppress(BrokenPipeError):  # the engine has ended early: its error comes from ``running``
                await asyncio.to_thread(write_all, sink, first)
                await body.copy(sink)
        except BaseException:
            await asyncio.shield(self._kill(call.mark, running))
            raise
        finally:
            os.close(sink)
            with suppress(FrontError):
                await asyncio.shield(running)
        return _as_read(await running)

    async def select(
        self, statement: Statement, call: Call, body: Body, answer: Answer, *, output_format: str,
        headers: dict[str, str], coding: str | None, wait_for_end: bool,
    ) -> None:  # fmt: skip
        """Run a SELECT and send what it yields.

        Raises:
            ClientGoneError: the client left; the query has been killed.
            FrontError: the engine's; if the answer has begun, the caller has to break it off.
        """
        source, sink = _pipe()
        text = with_output(statement, _path(sink), output_format)
        running = self._start(text, output_format, call, closing=sink)
        departure = asyncio.create_task(body.wait_for_departure())
        sending = asyncio.create_task(
            self._send(source, running, answer, headers=headers, coding=coding, wait_for_end=wait_for_end)
        )
        try:
            await asyncio.wait({departure, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientGoneError
            await sending
        finally:
            departure.cancel()
            if not running.done():
                await asyncio.shield(self._kill(call.mark, running))
                # What the engine still holds has to go somewhere, or it waits for ever.
                await asyncio.shield(asyncio.to_thread(_drain, source))
            with suppress(FrontError):
                await asyncio.shield(running)
            sending.cancel()
            with suppress(FrontError, TimeoutError, asyncio.CancelledError):
                await sending
            os.close(source)

    async def _send(
        self, source: int, running: asyncio.Future[Outcome], answer: Answer, *,
        headers: dict[str, str], coding: str | None, wait_for_end: bool,
    ) -> None:  # fmt: skip
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(self._spool)) as held:
            limit = None if wait_for_end else FIRST_BYTES
            size, ended = await asyncio.to_thread(_gather, source, held, limit)
            if ended:
                headers = headers | {"X-ClickHouse-Summary": summary(await asyncio.shield(running))}
            await answer.start(200, headers, coding if size >= 1024 else None)
            held.seek(0)
            if size <= IN_MEMORY_BYTES:
                await answer.write(held.read())
            else:
                while piece := await asyncio.to_thread(held.read, PIPE_BYTES):
                    await answer.write(piece)
        while not ended:
            piece = await asyncio.to_thread(os.read, source, PIPE_BYTES)
            ended = not piece
            await answer.write(piece)
        await asyncio.shield(running)
        await answer.finish()

    def _start(
        self, text: bytes, output_format: str, call: Call, closing: int | None = None
    ) -> asyncio.Future[Outcome]:
        """Run in a thread; ``closing`` is this side's copy of the pipe's end that the engine uses."""

        def work() -> Outcome:
            self._marks.add(call.mark)
            try:
                return self.engine.run(text, output_format, call)
            finally:
                self._marks.discard(call.mark)
                if closing is not None:
                    os.close(closing)

        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _kill(self, mark: str, running: asyncio.Future[Outcome]) -> None:
        """End a query; it may be so young that the engine does not list it yet."""
        while not running.done() and not await asyncio.to_thread(self.engine.kill, mark):
            await asyncio.sleep(0.01)


def _pipe() -> tuple[int, int]:
    source, sink = os.pipe()
    with suppress(OSError):  # a user without privileges has a limit on large pipes
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return source, sink


def _as_read(outcome: Outcome) -> Outcome:
    """Of an INSERT's data the engine counts what it wrote; it has read as much."""
    return replace(outcome, read_rows=outcome.written_rows, read_bytes=outcome.written_bytes)


def _path(descriptor: int) -> str:
    return f"/dev/fd/{descriptor}"


def _gather(source: int, held: IO[bytes], limit: int | None) -> tuple[int, bool]:
    """Read up to ``limit`` bytes, or all, into ``held``; how many there were and whether that was the end."""
    size = 0
    while limit is None or size < limit:
        piece = os.read(source, PIPE_BYTES)
        if not piece:
            return size, True
        held.write(piece)
        size += len(piece)
    return size, False


def _drain(source: int) -> None:
    while os.read(source, PIPE_BYTES):
        pass
