"""The gateway's register of ids (``ingest_meta``): is an id known, and where does its event lie.

An entry is written after Kafka has acknowledged the event. A gateway that dies in between leaves an event without an
entry: the client, who got no answer, sends it again, and the pipeline leaves the copy out as a duplicate. For the same
reason the entries are committed without waiting for the disk: what a power cut takes away costs a copy that is left
out, never an event.

Requests that come together share one statement: while one is under way, the next ones gather.

Belongs here: the hot path of that table. Does not belong here: reading it for people (``tracing.py``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

import asyncpg

from ..config import Settings
from .errors import PermanentError, StoreError, TransientError
from .kafka_publisher import Position

CONNECTIONS = 4
STATEMENT_SECONDS = 5.0
MOST_TOGETHER = 20_000
"""Ids in one statement."""
MANY = 500
"""Ids in a statement that others do not wait for."""
GATHERED_SECONDS = 0.002
"""How long the first one waits for others: a statement costs as much for one as for ten."""

_FIND = """
    SELECT id, object_key, topic, partition, "offset", content_hash
    FROM ingest_meta WHERE id = ANY($1::text[])
"""
_NOTE = """
    INSERT INTO ingest_meta (id, payload_size, topic, partition, "offset", content_hash)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::int[], $5::bigint[], $6::bigint[])
    ON CONFLICT (id) DO NOTHING
"""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Seen:
    """An id that was accepted before."""

    id: str
    object_key: str | None
    position: Position | None
    """None for entries of another hand."""
    content_hash: int | None


@dataclass(frozen=True, slots=True)
class Taken:
    """An id whose event was just acknowledged."""

    id: str
    payload_size: int
    position: Position
    content_hash: int


class SeenIds:
    """To be entered with ``async with`` on the loop that uses it. PostgreSQL need not be there yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening: asyncio.Lock = asyncio.Lock()
        self._finding: _Gathering[str, Seen] = _Gathering(self._find)
        self._noting: _Gathering[Taken, None] = _Gathering(self._note)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.terminate()

    async def find(self, ids: Sequence[str]) -> dict[str, Seen]:
        """Those of the ids that are known.

        Raises:
            TransientError, PermanentError: PostgreSQL is away, or refuses.
        """
        return {seen.id: seen for seen in await self._finding.call(ids)} if ids else {}

    async def note(self, taken: Sequence[Taken]) -> None:
        """Enter ids; one that another gateway has entered meanwhile stays as it is. Raises as ``find``."""
        if taken:
            await self._noting.call(taken)

    async def _find(self, ids: Sequence[str]) -> list[Seen]:
        async with self._connection() as connection:
            rows = await connection.fetch(_FIND, ids, timeout=STATEMENT_SECONDS)
        return [
            Seen(
                row["id"],
                row["object_key"],
                Position(row["topic"], row["partition"], row["offset"]) if row["topic"] is not None else None,
                row["content_hash"],
            )
            for row in rows
        ]

    async def _note(self, taken: Sequence[Taken]) -> list[None]:
        columns = (
            [one.id for one in taken],
            [one.payload_size for one in taken],
            [one.position.topic for one in taken],
            [one.position.partition for one in taken],
            [one.position.offset for one in taken],
            [one.content_hash for one in taken],
        )
        async with self._connection() as connection:
            await connection.execute(_NOTE, *columns, timeout=STATEMENT_SECONDS)
        return []

    def _connection(self) -> "_Connection":
        return _Connection(self)

    async def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        """The connections, opened at first use."""
        async with self._opening:
            if self._pool is None:
                settings = self._settings
                self._pool = await asyncpg.create_pool(
                    host=settings.postgres_host,
                    port=settings.postgres_port,
                    user=settings.postgres_user,
                    password=settings.postgres_password.get_secret_value(),
                    database=settings.postgres_db,
                    min_size=1,
                    max_size=CONNECTIONS,
                    timeout=3.0,
                    reset=_leave_as_it_is,
                    server_settings={"application_name": "wotr gateway", "synchronous_commit": "off"},
                )
            return self._pool


async def _leave_as_it_is(_connection: object) -> None:
    """Spares a round trip after each statement: these two change nothing of the session."""


class _Connection:
    """A connection of the pool for one statement, with the driver's errors translated."""

    def __init__(self, seen: SeenIds) -> None:
        self._seen = seen

    async def __aenter__(self) -> "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]":
        try:
            self._pool = await self._seen.pool()
            self._connection = await self._pool.acquire(timeout=STATEMENT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _translated(error) from error
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.release(self._connection)
        if isinstance(error, OSError | TimeoutError | asyncpg.PostgresError | asyncpg.InterfaceError):
            raise _translated(error) from error


def _translated(error: BaseException) -> StoreError:
    what = f"PostgreSQL does not look after the register of ids ({type(error).__name__})."
    permanent = (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.DataError,
    )
    return PermanentError(what) if isinstance(error, permanent) else TransientError(what)


class _Gathering(Generic[Item, Result]):
    """Calls that come within a moment, or while another statement is under way, are answered together."""

    def __init__(self, work: Callable[[Sequence[Item]], Awaitable[list[Result]]]) -> None:
        self._work = work
        self._waiting: list[tuple[Sequence[Item], asyncio.Future[list[Result]]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._large = 0

    async def call(self, items: Sequence[Item]) -> list[Result]:
        """The results for these items, and perhaps for those of others."""
        result: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, result))
        # One at a time, so that many gather; but a few do not wait for thousands.
        if len(self._tasks) <= self._large < CONNECTIONS // 2:
            self._tasks.add(asyncio.create_task(self._run()))
        return await result

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._answer_those_who_wait()
        finally:
            # Here, not when the task is done: in between, a call would count on a task that looks no more.
            self._tasks -= {asyncio.current_task()}

    async def _answer_those_who_wait(self) -> None:
        await asyncio.sleep(GATHERED_SECONDS)
        together: list[Item] = []
        callers: list[asyncio.Future[list[Result]]] = []
        while self._waiting and (not callers or len(together) + len(self._waiting[0][0]) <= MOST_TOGETHER):
            items, caller = self._waiting.pop(0)
            together.extend(items)
            callers.append(caller)
        if callers:
            await self._answer(together, callers)

    async def _answer(self, together: list[Item], callers: "list[asyncio.Future[list[Result]]]") -> None:
        is_large = len(together) > MANY
        self._large += is_large
        try:
            found = await self._work(together)
        except Exception as error:  # noqa: BLE001  (whatever it is, someone waits for it)
            told = error if isinstance(error, StoreError) else _translated(error)
            for caller in callers:
                if not caller.done():
                    caller.set_exception(told)
        else:
            for caller in callers:
                if not caller.done():
                    caller.set_result(found)
        finally:
            self._large -= is_large
