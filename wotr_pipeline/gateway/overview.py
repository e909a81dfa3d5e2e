"""Everything that the admin page shows, gathered at once, each part from its store, each within two seconds.

Each part is asked for by one thread at a time, and kept for some seconds for everyone who looks: twenty open pages
cost what one costs. A part whose store is away says so; the others are there.

Belongs here: which parts there are, where each comes from, how old it may be. Does not belong here: what is good or
bad (``verdict.py``), how it looks (``admin.py``, ``templates/``).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from ..config import Settings
from ..stores import event_counts
from ..stores.batch import UNFINISHED, Batch, BatchState, LedgerSummary
from ..stores.dead_letter import LetterState, Switch
from ..stores.dead_letter_pages import ReasonCount
from ..stores.dead_letter_register import DeadLetterRegister
from ..stores.errors import StoreError
from ..stores.event_counts import Period, Source, TimeToTable
from ..stores.lag import Lag, lag
from ..stores.ledger import Ledger
from ..stores.operations_log import Action, Backup, Maintenance, OperationsLog
from ..stores.warehouse import Warehouse
from .probes import Health, Probes
from .shared_answer import DEAR, Answer, SharedAnswer

T = TypeVar("T")
FIRST_BATCHES = 3
LAST_ACTIONS = 8
MEASURED_BATCHES = 2_000
"""The newest batches of the last hour whose rows tell the time to the table."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """One part of the page: its value, or the sentence that stands in its place."""

    value: T | None
    away: str
    at: datetime


@dataclass(frozen=True)
class Batches:
    """The ledger in short."""

    summary: LedgerSummary
    oldest_unfinished: tuple[Batch, ...]
    first_quarantined: tuple[Batch, ...]


@dataclass(frozen=True)
class Letters:
    """The register of dead letters in short."""

    states: Mapping[LetterState, int]
    reasons: tuple[ReasonCount, ...]
    switch: Switch


@dataclass(frozen=True)
class Operations:
    """What people did, the mode, the backups."""

    maintenance: Maintenance | None
    actions: tuple[Action, ...]
    backups: Mapping[str, Backup]
    failed_drills: Mapping[str, str]


@dataclass(frozen=True)
class Overview:
    """The page's content."""

    now: datetime
    health: Health
    hour: Part[Period]
    day: Part[Period]
    sources: Part[list[Source]]
    speed: Part[TimeToTable]
    lag: Part[Lag]
    batches: Part[Batches]
    letters: Part[Letters]
    operations: Part[Operations]


class Overviews:
    """Gathers overviews."""

    def __init__(
        self,
        settings: Settings,
        probes: Probes,
        ledger: Ledger,
        letters: DeadLetterRegister,
        operations: OperationsLog,
        warehouse: Warehouse,
    ) -> None:
        self._settings = settings
        self._probes = probes
        self._ledger = ledger
        self._letters = letters
        self._log = operations
        self._warehouse = warehouse
        self.hour = SharedAnswer(
            "ClickHouse", lambda: event_counts.last_hour(warehouse, _now()), fresh=5, times=DEAR
        )
        self.day = SharedAnswer(
            "ClickHouse", lambda: event_counts.last_day(warehouse, _now()), fresh=5, times=DEAR
        )
        self.sources = SharedAnswer(
            "ClickHouse", lambda: event_counts.busiest_sources(warehouse, _now()), fresh=5, times=DEAR
        )
        self.speed = SharedAnswer("ClickHouse", self._time_to_table, fresh=5, times=DEAR)
        self.lag = SharedAnswer("Kafka", lambda: lag(settings, ledger), fresh=3)
        self.batches = SharedAnswer("PostgreSQL", self._batches, fresh=3)
        self.letters = SharedAnswer("PostgreSQL", self._dead_letters, fresh=3)
        self.operations = SharedAnswer("PostgreSQL", self._operations, fresh=1)

    async def overview(self) -> Overview:
        """All parts, asked for at once; never raises."""
        health, hour, day, sources, speed, behind, batches, letters, operations = (
            asyncio.create_task(self._probes.health()),
            asyncio.create_task(_part(self.hour)),
            asyncio.create_task(_part(self.day)),
            asyncio.create_task(_part(self.sources)),
            asyncio.create_task(_part(self.speed)),
            asyncio.create_task(_part(self.lag)),
            asyncio.create_task(_part(self.batches)),
            asyncio.create_task(_part(self.letters)),
            asyncio.create_task(_part(self.operations)),
        )
        return Overview(
            now=_now(),
            health=await health,
            hour=await hour,
            day=await day,
            sources=await sources,
            speed=await speed,
            lag=await behind,
            batches=await batches,
            letters=await letters,
            operations=await operations,
        )

    def _time_to_table(self) -> TimeToTable:
        since = _now() - timedelta(hours=1)
        loaded = self._ledger.loaded_since(self._settings.kafka_topic, since, MEASURED_BATCHES)
        return event_counts.time_to_table(self._warehouse, loaded, since)

    def _batches(self) -> Batches:
        topic = self._settings.kafka_topic
        return Batches(
            self._ledger.summary(topic),
            tuple(self._ledger.oldest_in(topic, UNFINISHED, FIRST_BATCHES)),
            tuple(self._ledger.oldest_in(topic, (BatchState.QUARANTINED,), FIRST_BATCHES)),
        )

    def _dead_letters(self) -> Letters:
        letters = self._letters
        return Letters(letters.by_state(), tuple(letters.by_reason()), letters.switch())

    def _operations(self) -> Operations:
        log = self._log
        return Operations(
            log.maintenance(),
            tuple(log.actions(LAST_ACTIONS)),
            dict(log.newest_verified_backups()),
            dict(log.failed_drills()),
        )


async def _part(answer: SharedAnswer[T]) -> Part[T]:
    try:
        found: Answer[T] = await answer.get()
    except StoreError as error:
        return Part(None, str(error), _now())
    return Part(found.value, "", found.at)


def _now() -> datetime:
    return datetime.now(UTC)
