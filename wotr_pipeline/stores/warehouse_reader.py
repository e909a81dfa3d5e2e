"""ClickHouse as people's SQL reaches it: as the reader, whom the engine itself holds to reading and to limits.

Belongs here: the reader's connection, how many of its queries run at once, their bytes as the engine writes them,
and the engine's own words about a statement, bounded and without secrets.
Does not belong here: what the limits are (``servers/clickhouse_front/access.py`` and ``deploy/clickhouse/users.xml``,
which a query cannot change), pages and files (``gateway/``). Nothing here looks at a statement to judge it.

A query ends when its caller stops reading: the connection closes, and the engine kills what runs on it.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import Enum

import aiohttp
import clickhouse_connect
import orjson
from clickhouse_connect.common import set_setting
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from pydantic import SecretStr

from ..config import Settings
from .errors import PermanentError, TransientError
from .warehouse import failure

AT_ONCE = 4
AT_ONCE_OF_ONE = 2
"""Queries that run at the same time: all people's, and one person's."""
MESSAGE_CHARACTERS = 1500
TABLE_FORMAT = "JSONCompactStringsEachRowWithNamesAndTypes"
"""Every value as the engine writes it in text: no number loses a digit, no type is too exotic."""

_IN_BAND = b"__exception__"
_WORDS = re.compile(r"DB::Exception: (?P<text>.*)", re.DOTALL)
_LINE = b"\n"


class Verdict(Enum):
    """Why the engine did not do it."""

    WRONG = "wrong"
    """The statement is no valid query of these tables."""
    REFUSED = "refused"
    """The reader may not do that."""
    LIMIT = "limit"
    """It needs more time, memory or rows than a reader's query gets."""


_LIMITS = {
    158: "rows read", 159: "time", 160: "time", 191: "set size", 241: "memory", 243: "disk", 307: "bytes read",
    396: "rows or bytes of the result", 623: "rows of a join", 740: "columns",
}  # fmt: skip
_REFUSALS = {164, 291, 392, 446, 452, 497}
_BUSY = {202}


class StatementError(PermanentError):
    """The engine's answer to a statement that it did not carry out; ``words`` are its own, for who wrote it."""

    def __init__(self, verdict: Verdict, code: int, symbol: str, words: str) -> None:
        super().__init__(f"The engine did not run a reader's statement: {symbol} ({code}).")
        self.verdict, self.code, self.symbol, self.words = verdict, code, symbol, words


class BusyError(TransientError):
    """As many queries run as may."""


class NoReaderError(PermanentError):
    """No reader is configured; the writer is never used instead."""

    def __init__(self) -> None:
        super().__init__("CLICKHOUSE_READER_USER is not set: the explorer needs a user who may only read.")


@dataclass(frozen=True)
class Column:
    """A column of a result."""

    name: str
    type: str

    @property
    def is_number(self) -> bool:
        """Whether its values can be drawn and are set to the right."""
        return bool(_NUMBER.fullmatch(self.type))

    @property
    def is_time(self) -> bool:
        """Whether it is an axis of time."""
        return bool(_TIME.fullmatch(self.type))


_WRAPPED = r"(?:LowCardinality\()?(?:Nullable\()?"
_NUMBER = re.compile(_WRAPPED + r"(?:U?Int\d+|B?Float\d+|Decimal\d*\([^)]*\))\)*")
_TIME = re.compile(_WRAPPED + r"Date(?:32|Time(?:64)?)?(?:\([^)]*\))?\)*")


@dataclass(frozen=True)
class Rows:
    """The start of a result, or all of it. A row is its JSON text: ``values_of`` reads it."""

    columns: tuple[Column, ...]
    rows: tuple[bytes, ...]
    cut: bool
    """Whether there are more."""


def values_of(row: bytes) -> list[str]:
    """The values of one row."""
    values: list[str] = orjson.loads(row.decode("utf-8", "replace"))
    return values


class WarehouseReader:
    """Runs statements as CLICKHOUSE_READER_USER, for one event loop.

    Raises:
        StatementError: the engine does not carry it out.
        BusyError: too many run.
        TransientError, PermanentError: the engine is away, or does not know the reader.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._running: Counter[str] = Counter()

    @property
    def configured(self) -> bool:
        """Whether there is a reader."""
        return bool(self._settings.clickhouse_reader_user)

    async def close(self) -> None:
        """Close the connections; what runs on them ends."""
        client, self._client = self._client, None
        if client is not None:
            await client.close_connections()

    async def rows(self, statement: str, person: str, *, most_rows: int, most_bytes: int) -> Rows:
        """The first rows that a statement yields; the query ends there."""
        heads: list[list[str]] = []
        rows: list[bytes] = []
        size, rest = 0, b""
        async with self._slot(person), aclosing(self._bytes(statement, TABLE_FORMAT)) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(_LINE)
                for line in lines:
                    if len(heads) < 2:
                        heads.append(_head(line))
                        continue
                    if len(rows) == most_rows or size + len(line) > most_bytes:
                        return Rows(_columns(heads), tuple(rows), cut=True)
                    rows.append(line)
                    size += len(line)
                if len(rest) > most_bytes:
                    raise _over("A single row of the result is larger than what a page can hold.")
        if rest or len(heads) == 1:
            raise _foreign_format()
        return Rows(_columns(heads) if heads else (), tuple(rows), cut=False)

    @asynccontextmanager
    async def exported(
        self, statement: str, person: str, output_format: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The whole result in one of the engine's formats, piece by piece; the engine has it all before the first."""
        async with (
            self._slot(person),
            aclosing(self._bytes(statement, output_format, wait_end_of_query=1)) as pieces,
        ):
            yield pieces

    @asynccontextmanager
    async def _slot(self, person: str) -> AsyncIterator[None]:
        if not self.configured:
            raise NoReaderError
        if self._running[person] >= AT_ONCE_OF_ONE:
            raise BusyError(
                f"{AT_ONCE_OF_ONE} of your queries run already: wait for one to end, or cancel it."
            )
        if self._running.total() >= AT_ONCE:
            raise BusyError(
                f"{AT_ONCE} queries of the explorer run already, as many as may. Try again shortly."
            )
        self._running[person] += 1
        try:
            yield
        finally:
            self._running[person] -= 1
            self._running += Counter()  # forget who runs nothing

    async def _bytes(
        self, statement: str, output_format: str, **transport: int
    ) -> AsyncGenerator[bytes, None]:
        client = await self._connected()
        tail = b""
        try:
            # Asked for in a header: a FORMAT behind the text would be lost in its last comment.
            stream = await client.raw_stream(
                statement, settings=transport, transport_settings={"X-ClickHouse-Format": output_format}
            )
            async with stream as pieces:
                async for piece in pieces:
                    tail = (tail + piece)[-2 * MESSAGE_CHARACTERS :]
                    yield piece
        except (ClickHouseError, aiohttp.ClientError, OSError) as error:
            raise self._failure(error, tail) from None

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                settings = self._settings
                set_setting("max_error_size", 2 * MESSAGE_CHARACTERS)
                try:
                    self._client = await clickhouse_connect.get_async_client(
                        host=settings.clickhouse_host,
                        port=settings.clickhouse_port,
                        username=settings.clickhouse_reader_user,
                        password=settings.clickhouse_reader_password.get_secret_value(),
                        database=settings.clickhouse_db,
                        connect_timeout=5,
                        send_receive_timeout=120,
                        compress=False,
                        query_limit=0,
                        query_retries=0,
                        autogenerate_session_id=False,
                        show_clickhouse_errors="scrub",
                    )
                except (ClickHouseError, aiohttp.ClientError, OSError) as error:
                    raise failure(error, "connect as the reader") from None
            return self._client

    def _failure(self, error: Exception, tail: bytes) -> Exception:
        text = str(error)
        code = error.code if isinstance(error, Error) else None
        symbol = error.name if isinstance(error, Error) else None
        if code is None and _IN_BAND in tail:
            # It failed after the first bytes of the answer had left.
            text = tail.partition(_IN_BAND)[2].decode("utf-8", "replace")
            found = re.search(r"Code: (\d+)\.", text)
            code = int(found.group(1)) if found else None
            symbol = (re.findall(r"\(([A-Z][A-Z0-9_]+)\)", text) or [None])[-1]
        if code is None and isinstance(error, aiohttp.ClientPayloadError):
            words = "The answer broke off after it had begun: ask for fewer rows, or take it as a file, which says why."
            return StatementError(Verdict.WRONG, 0, "BROKEN_OFF", words)
        if code is None:
            return TransientError(f"ClickHouse did not answer a reader's query ({type(error).__name__}).")
        if code in _BUSY:
            return BusyError("The engine has no room for another query. Try again shortly.")
        if code in (516, 192, 193, 194):
            return PermanentError(
                "ClickHouse does not know CLICKHOUSE_READER_USER, or its password is another."
            )
        verdict = (
            Verdict.LIMIT if code in _LIMITS else Verdict.REFUSED if code in _REFUSALS else Verdict.WRONG
        )
        return StatementError(verdict, code, symbol or "UNKNOWN", self._words(text))

    def _words(self, text: str) -> str:
        found = _WORDS.search(text)
        words = found["text"] if found else text
        words = re.sub(r"\s*\(version [^()]*(?:\([^()]*\))?[^()]*\)[\s\S]*$", "", words).strip()
        for value in self._settings.model_dump().values():
            secret = value.get_secret_value() if isinstance(value, SecretStr) else ""
            for part in secret.split(","):
                if len(part) >= 6:
                    words = words.replace(part, "…")
        return words if len(words) <= MESSAGE_CHARACTERS else f"{words[:MESSAGE_CHARACTERS]} …"


def _head(line: bytes) -> list[str]:
    try:
        found = orjson.loads(line.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _foreign_format()
    return found


def _columns(heads: list[list[str]]) -> tuple[Column, ...]:
    if len(heads) != 2 or len(heads[0]) != len(heads[1]):
        raise _foreign_format()
    return tuple(Column(name, kind) for name, kind in zip(heads[0], heads[1], strict=True))


def _foreign_format() -> StatementError:
    return StatementError(
        Verdict.WRONG, 0, "FORMAT", "Leave FORMAT out: the table and the exports choose their own."
    )


def _over(words: str) -> StatementError:
    return StatementError(Verdict.LIMIT, 0, "ROW_TOO_LARGE", words)
