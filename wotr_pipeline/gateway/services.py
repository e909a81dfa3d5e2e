"""What the routes share: opened when the gateway starts, closed when it stops.

Belongs here: making and closing them. Does not belong here: what they do.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from ..config import Settings
from ..stores.api_keys import ApiKeys
from ..stores.dagster_runs import DagsterRuns
from ..stores.dead_letter_register import DeadLetterRegister
from ..stores.kafka_publisher import KafkaPublisher
from ..stores.ledger import Ledger
from ..stores.objects import ObjectStore
from ..stores.operations_log import OperationsLog
from ..stores.seen_ids import SeenIds
from ..stores.sessions import Sessions
from ..stores.warehouse import Warehouse
from .access import Access, KeyRing
from .intake import Intake
from .metrics import Metrics
from .mode import Mode
from .overview import Overviews
from .probes import Probes

BATCHES_AT_ONCE = 4
"""Batches whose bodies are in memory; the others wait before theirs are read."""


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
        for closing in (keys, sessions, operations, ledger, letters, warehouse):
            stack.callback(closing.close)
        seen = await stack.enter_async_context(SeenIds(settings))
        publisher = await stack.enter_async_context(KafkaPublisher(settings))
        ring = KeyRing(settings, keys)
        mode, probes = Mode(settings, operations), Probes(settings)
        for work in (ring.keep_fresh(), mode.keep_fresh()):
            stack.callback(asyncio.create_task(work).cancel)
        yield Services(
            settings=settings,
            access=Access(settings, ring, sessions),
            intake=Intake(publisher, seen),
            mode=mode,
            metrics=Metrics(),
            batches=asyncio.Semaphore(BATCHES_AT_ONCE),
            ledger=ledger,
            letters=letters,
            operations=operations,
            objects=ObjectStore(settings),
            warehouse=warehouse,
            probes=probes,
            overview=Overviews(settings, probes, ledger, letters, operations, warehouse),
            runs=DagsterRuns(settings),
        )


def services_of(request: Request) -> Services:
    """The application's own."""
    services: Services = request.app.state.services
    return services
