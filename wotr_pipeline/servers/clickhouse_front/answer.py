"""An answer, written as it is made.

Belongs here: status and headers as ClickHouse sends them, compression, an error after the first byte.
Does not belong here: where the bytes come from.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from wotr_pipeline.servers.clickhouse_front.compression import Encoder, new_encoder
from wotr_pipeline.servers.clickhouse_front.engine import Outcome
from wotr_pipeline.servers.clickhouse_front.errors import FrontError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATIENCE_SECONDS = 300.0
"""How long a client may take to make room for the next bytes."""
WORTH_COMPRESSING = 1024


def summary(outcome: Outcome) -> str:
    """X-ClickHouse-Summary: counts as text, as a server writes them."""
    counts = {
        "read_rows": outcome.read_rows,
        "read_bytes": outcome.read_bytes,
        "written_rows": outcome.written_rows,
        "written_bytes": outcome.written_bytes,
        "total_rows_to_read": outcome.read_rows,
        "result_rows": outcome.result_rows,
        "result_bytes": len(outcome.body),
        "elapsed_ns": int(outcome.seconds * 1e9),
    }
    return json.dumps({name: str(value) for name, value in counts.items()}, separators=(",", ":"))


class Answer:
    """One request's answer: ``start`` once, then ``write``, then ``finish`` or ``break_off``."""

    def __init__(self, send: Send, common_headers: dict[str, str]) -> None:
        self._send = send
        self._headers = dict(common_headers)
        self._tag = secrets.token_hex(8)
        self._encoder: Encoder | None = None
        self.started = False

    async def whole(
        self, status: int, body: bytes, headers: dict[str, str], coding: str | None = None
    ) -> None:
        """Send all of it."""
        await self.start(status, headers, coding if len(body) >= WORTH_COMPRESSING else None)
        await self.write(body)
        await self.finish()

    async def error(self, error: FrontError, version: str) -> None:
        """Send an error as the whole answer."""
        headers = {"X-ClickHouse-Exception-Code": str(error.code)}
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        await self.whole(error.status, error.body(version).encode(errors="replace"), headers)

    async def start(self, status: int, headers: dict[str, str], coding: str | None = None) -> None:
        """Send status and headers."""
        self._headers |= headers | {"X-ClickHouse-Exception-Tag": self._tag}
        if coding:
            self._encoder = new_encoder(coding)
            self._headers["Content-Encoding"] = coding
        self.started = True
        encoded = [
            (name.encode(), value.encode("latin-1", "replace")) for name, value in self._headers.items()
        ]
        await self._patiently({"type": "http.response.start", "status": status, "headers": encoded})

    async def write(self, data: bytes) -> None:
        """Send ``data``, waiting until the client takes it."""
        if self._encoder is not None:
            data = await asyncio.to_thread(self._encoder.compress, data)
        if data:
            await self._patiently({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        """End the answer."""
        last = self._encoder.flush() if self._encoder is not None else b""
        await self._patiently({"type": "http.response.body", "body": last, "more_body": False})

    async def break_off(self, error: FrontError, version: str) -> None:
        """Tell of an error within the body; the connection then closes without the answer's proper end."""
        text = error.body(version).encode(errors="replace")
        tag = self._tag.encode()
        marked = b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (tag, text, len(text), tag)
        await self.write(marked)
        if self._encoder is not None:
            await self._patiently(
                {"type": "http.response.body", "body": self._encoder.flush(), "more_body": True}
            )

    async def _patiently(self, message: dict[str, Any]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._send(message)
