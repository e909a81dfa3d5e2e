"""A request's body, read as it arrives.

Belongs here: waiting for the client with a deadline, decoding, what a client that went away means.
Does not belong here: what the bytes are for.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from wotr_pipeline.servers.clickhouse_front.compression import BodyDecoder
from wotr_pipeline.servers.clickhouse_front.errors import QUERY_IS_TOO_LARGE, SOCKET_TIMEOUT, FrontError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

STEP = 512 * 1024
"""Bytes gathered before a worker thread is troubled with them."""
PATIENCE_SECONDS = 120.0
"""How long a client may stay silent in the middle of its body."""
STATEMENT_LIMIT = 64 * 1024 * 1024
"""Bytes of a statement that has to be held whole (an INSERT's data do not count)."""


class ClientGoneError(Exception):
    """Nobody is there to answer to."""


class Body:
    """Reads one request's body, once."""

    def __init__(self, receive: Receive, coding: str) -> None:
        self._receive = receive
        self._decoder = BodyDecoder(coding)
        self.complete = False

    async def read(self) -> bytes:
        """Bytes as they came, still encoded; empty at the end.

        Raises:
            ClientGoneError: the client left before the end of its body.
            FrontError: it said nothing for ``PATIENCE_SECONDS``.
        """
        gathered = bytearray()
        while not self.complete and len(gathered) < STEP:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                raise FrontError(SOCKET_TIMEOUT, "The request's body stopped arriving.") from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            gathered += message.get("body", b"")
            self.complete = not message.get("more_body", False)
        return bytes(gathered)

    async def read_decoded(self, into: bytearray) -> None:
        """Decode one step's bytes onto the end of ``into``.

        Raises:
            ClientGoneError, FrontError: as ``read``; the body is larger than ``STATEMENT_LIMIT`` or malformed.
        """
        raw = await self.read()
        await asyncio.to_thread(self._decode_into, raw, into)

    async def copy(self, target: int) -> None:
        """Decode all that is left into the file or pipe ``target``.

        Raises:
            BrokenPipeError: nobody reads the pipe any more.
            ClientGoneError, FrontError: as ``read``; the body is malformed.
        """
        while not self.complete:
            raw = await self.read()
            await asyncio.to_thread(self._decode_to, raw, target)

    async def discard(self) -> None:
        """Read what is left, so that a client that sends first and listens later hears the answer."""
        while not self.complete:
            await self.read()

    async def wait_for_departure(self) -> None:
        """Return when the client goes away. Only once the body is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _decode_into(self, raw: bytes, into: bytearray) -> None:
        for piece in self._decoder.decode(raw):
            into += piece
            if len(into) > STATEMENT_LIMIT:
                raise FrontError(
                    QUERY_IS_TOO_LARGE,
                    f"A statement may have {STATEMENT_LIMIT} bytes; send data with INSERT … FORMAT ….",
                )
        if self.complete:
            self._decoder.finish()

    def _decode_to(self, raw: bytes, target: int) -> None:
        for piece in self._decoder.decode(raw):
            write_all(target, piece)
        if self.complete:
            self._decoder.finish()


def write_all(target: int, data: bytes) -> None:
    """Write ``data`` to a descriptor, in as many calls as it takes. Blocks."""
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
