"""What operators did and in which mode the platform is: both are written before they take effect.

Belongs here: ``operator_actions``, ``maintenance_modes`` and ``backups`` as pages and metrics read them.
Does not belong here: who may act (``gateway/access.py``), taking backups (``assets/``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from ..config import Settings
from .gateway_tables import maintenance_modes, operator_actions
from .ledger_database import connect, translated
from .operations_tables import backups


@dataclass(frozen=True)
class Action:
    """One thing that an operator did."""

    at: datetime
    who: str
    action: str
    target: str
    why: str


@dataclass(frozen=True)
class Maintenance:
    """The mode that holds since ``at``."""

    enabled: bool
    at: datetime
    who: str
    why: str
    until: datetime | None


@dataclass(frozen=True)
class Backup:
    """A backup; it counts only once ``verified_at`` is there."""

    store: str
    taken_at: datetime
    location: str
    bytes: int
    verified_at: datetime | None
    restore_seconds: float | None


STORES_WITH_BACKUPS = ("minio", "postgres", "clickhouse")


class OperationsLog:
    """Raises TransientError and PermanentError as the ledger does."""

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr operations")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def note(
        self,
        who: str,
        action: str,
        target: str = "",
        why: str = "",
        *,
        key_id: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Write down what someone is about to do; never a secret, never an event's content."""
        entry = {"who": who, "action": action, "target": target, "why": why}
        with translated("note an action"), self._engine.begin() as connection:
            connection.execute(
                sa.insert(operator_actions).values(**entry, key_id=key_id, request_id=request_id)
            )

    def actions(self, limit: int = 50) -> list[Action]:
        """The newest actions first."""
        columns = [operator_actions.c[field.name] for field in fields(Action)]
        query = sa.select(*columns).order_by(operator_actions.c.id.desc()).limit(limit)
        with translated("read the actions"), self._engine.connect() as connection:
            return [Action(**row._mapping) for row in connection.execute(query)]

    def maintenance(self) -> Maintenance | None:
        """The newest turn of maintenance mode; None if it was never on."""
        query = sa.select(maintenance_modes).order_by(maintenance_modes.c.at.desc()).limit(1)
        with translated("read the maintenance mode"), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return Maintenance(**row._mapping) if row else None

    def turn_maintenance(self, enabled: bool, who: str, why: str, until: datetime | None = None) -> None:
        """Begin or end maintenance."""
        with translated("turn maintenance mode"), self._engine.begin() as connection:
            connection.execute(
                sa.insert(maintenance_modes).values(enabled=enabled, who=who, why=why, until=until)
            )

    def last_maintenance_ended_at(self) -> datetime | None:
        """When maintenance mode was last turned off."""
        query = sa.select(sa.func.max(maintenance_modes.c.at)).where(~maintenance_modes.c.enabled)
        with translated("read the maintenance mode"), self._engine.connect() as connection:
            ended: datetime | None = connection.scalar(query)
            return ended

    def newest_verified_backups(self) -> Mapping[str, Backup]:
        """By store, the newest backup that a restore drill has verified; stores without one are absent."""
        columns = [backups.c[field.name] for field in fields(Backup)]
        query = (
            sa.select(*columns)
            .where(backups.c.verified_at.is_not(None))
            .distinct(backups.c.store)
            .order_by(backups.c.store, backups.c.taken_at.desc())
        )
        with translated("read the backups"), self._engine.connect() as connection:
            found = [Backup(**row._mapping) for row in connection.execute(query)]
        return {backup.store: backup for backup in found}

    def failed_drills(self) -> Mapping[str, str]:
        """By store, what the drill of its newest backup found wrong; stores whose newest is not known bad are absent."""
        query = (
            sa.select(backups.c.store, backups.c.problem)
            .distinct(backups.c.store)
            .order_by(backups.c.store, backups.c.taken_at.desc())
        )
        with translated("read the backups"), self._engine.connect() as connection:
            return {row.store: row.problem for row in connection.execute(query) if row.problem}
