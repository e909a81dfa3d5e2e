"""What the routes share: opened when the gateway starts, closed when it stops.

Belongs here: making and closing them. Does not belong here: what they do.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request

from ..config import Settings
from ..stores.api_keys import ApiKeys
from ..stores.dead_letter_register import DeadLetterRegister
from ..stores.kafka_publisher import KafkaPublisher
from ..stores.ledger import Ledger
from ..stores.objects import ObjectStore
from ..stores.operations_log import OperationsLog
from ..stores.saved_queries import SavedQueries
from ..stores.seen_ids import SeenIds
from ..stores.sessions import Sessions
from ..stores.warehouse import Warehouse
from ..stores.warehouse_reader import WarehouseReader
from .access import Access, KeyRing
from .explorer_results import KeptResults
from .explorer_running import Running


@dataclass
class KnownSchema:
    """What the explorer's editor completes, as it was read last."""

    text: bytes | None = None
    read_at: float = 0.0


@dataclass(frozen=True)
class Services:
    """Everything behind the routes. What blocks is called in a thread."""

    settings: Settings
    access: Access
    publisher: KafkaPublisher
    seen: SeenIds
    ledger: Ledger
    letters: DeadLetterRegister
    operations: OperationsLog
    objects: ObjectStore
    warehouse: Warehouse
    """As the platform's own user: for what the pages show. People's SQL goes through the reader."""
    reader: WarehouseReader
    saved: SavedQueries
    results: KeptResults = field(default_factory=KeptResults)
    running: Running = field(default_factory=Running)
    schema: KnownSchema = field(default_factory=KnownSchema)


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """The services, with their background work; nothing needs to be up for that."""
    async with contextlib.AsyncExitStack() as stack:
        keys, sessions, operations = ApiKeys(settings), Sessions(settings), OperationsLog(settings)
        ledger, letters, warehouse = (
            Ledger(settings),
            DeadLetterRegister(settings),
            Warehouse(settings, "gateway"),
        )
        saved, reader = SavedQueries(settings), WarehouseReader(settings)
        for closing in (keys, sessions, operations, ledger, letters, warehouse, saved):
            stack.callback(closing.close)
        stack.push_async_callback(reader.close)
        seen = await stack.enter_async_context(SeenIds(settings))
        publisher = await stack.enter_async_context(KafkaPublisher(settings))
        ring = KeyRing(settings, keys)
        refreshing = asyncio.create_task(ring.keep_fresh())
        stack.callback(refreshing.cancel)
        yield Services(
            settings=settings,
            access=Access(settings, ring, sessions),
            publisher=publisher,
            seen=seen,
            ledger=ledger,
            letters=letters,
            operations=operations,
            objects=ObjectStore(settings),
            warehouse=warehouse,
            reader=reader,
            saved=saved,
        )


def services_of(request: Request) -> Services:
    """The application's own."""
    services: Services = request.app.state.services
    return services
