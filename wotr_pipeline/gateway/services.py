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
from ..stores.dagster_runs import DagsterRuns
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
from .collector import Collector
from .explorer_results import KeptResults
from .explorer_running import Running
from .intake import Intake
from .metrics import Metrics
from .mode import Mode
from .overview import Overviews
from .probes import Probes

BATCHES_AT_ONCE = 4
"""Batches whose bodies are in memory; the others wait before theirs are read."""


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
    intake: Intake
    mode: Mode
    metrics: Metrics
    batches: asyncio.Semaphore
    """Turns of large bodies."""
    ledger: Ledger
    letters: DeadLetterRegister
    operations: OperationsLog
    objects: ObjectStore
    warehouse: Warehouse
    """As the platform's own user: for what the pages show. People's SQL goes through the reader."""
    probes: Probes
    overview: Overviews
    runs: DagsterRuns
    reader: WarehouseReader
    saved: SavedQueries
    results: KeptResults = field(default_factory=KeptResults)
    running: Running = field(default_factory=Running)
    schema: KnownSchema = field(default_factory=KnownSchema)


@contextlib.asynccontextmanager
async def opened(settings: Settings, metrics: Metrics) -> AsyncIterator[Services]:
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
        mode, probes = Mode(settings, operations), Probes(settings)
        overview = Overviews(settings, probes, ledger, letters, operations, warehouse)
        collector = Collector(settings, metrics, probes, overview, ledger, letters, operations)
        stack.callback(collector.close)
        for work in (ring.keep_fresh(), mode.keep_fresh(), collector.run()):
            stack.callback(asyncio.create_task(work).cancel)
        yield Services(
            settings=settings,
            access=Access(settings, ring, sessions),
            intake=Intake(publisher, seen),
            mode=mode,
            metrics=metrics,
            batches=asyncio.Semaphore(BATCHES_AT_ONCE),
            ledger=ledger,
            letters=letters,
            operations=operations,
            objects=ObjectStore(settings),
            warehouse=warehouse,
            probes=probes,
            overview=overview,
            runs=DagsterRuns(settings),
            reader=reader,
            saved=saved,
        )


def services_of(request: Request) -> Services:
    """The application's own."""
    services: Services = request.app.state.services
    return services
