"""What the doctor saw. Records only.

Does not belong here: asking (``looking.py``), judging (``flow.py``, ``condition.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from wotr_pipeline.stores.batch import Batch, LedgerSummary
from wotr_pipeline.stores.dagster_instance import DagsterState
from wotr_pipeline.stores.dead_letter import LetterState, Switch
from wotr_pipeline.stores.engine_condition import Disk, EngineCondition, Failure
from wotr_pipeline.stores.event_counts import Period
from wotr_pipeline.stores.lag import Lag
from wotr_pipeline.stores.operations_log import Backup, Maintenance
from wotr_pipeline.stores.postgres_condition import PostgresCondition

T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[T]):
    """One thing that was looked at: its value, or why there is none."""

    value: T | None
    away: str = ""
    """'' if there is a value, or if there is nothing to look at on purpose."""
    milliseconds: int = 0


class ServiceState(StrEnum):
    """How a service answered."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ServiceHealth:
    """One service. ``reason`` is a sentence for anyone, '' if it is up."""

    name: str
    state: ServiceState
    reason: str
    milliseconds: int


@dataclass(frozen=True)
class Batches:
    """The ledger in short."""

    summary: LedgerSummary
    oldest: tuple[Batch, ...]
    """Unfinished ones that were planned first."""
    quarantined: tuple[Batch, ...]


@dataclass(frozen=True)
class Letters:
    """The register of dead letters in short."""

    states: Mapping[LetterState, int]
    switch: Switch


@dataclass(frozen=True)
class Operations:
    """The mode, and the newest verified backup of each store."""

    maintenance: Maintenance | None
    backups: Mapping[str, Backup]


@dataclass(frozen=True)
class Failures:
    """Events of the last hour, and the rejected ones by reason and source."""

    hour: Period
    by_reason_and_source: tuple[Failure, ...]


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen at ``now``, within ``seconds``."""

    now: datetime
    seconds: float
    services: tuple[ServiceHealth, ...]
    lag: Part[Lag]
    batches: Part[Batches]
    letters: Part[Letters]
    operations: Part[Operations]
    postgres: Part[PostgresCondition]
    engine: Part[EngineCondition]
    failures: Part[Failures]
    dagster: Part[DagsterState | None]
    disk: Part[Disk | None]
    """Where the data directory is. These two may be None with nothing away: no Dagster, no directory to look at."""

    def down(self, *names: str) -> tuple[ServiceHealth, ...]:
        """Those of the named services that are down."""
        return tuple(one for one in self.services if one.name in names and one.state is ServiceState.DOWN)

    @property
    def unknown(self) -> tuple[tuple[str, str], ...]:
        """(what, why) of everything that could not be looked at."""
        parts: dict[str, Part[Any]] = {
            "lag": self.lag,
            "batches": self.batches,
            "dead letters": self.letters,
            "operations": self.operations,
            "PostgreSQL's statistics": self.postgres,
            "ClickHouse's statistics": self.engine,
            "events of the last hour": self.failures,
            "Dagster": self.dagster,
            "disk": self.disk,
        }
        return (
            *((one.name, one.reason) for one in self.services if one.state is ServiceState.UNKNOWN),
            *((name, part.away) for name, part in parts.items() if part.away),
        )
