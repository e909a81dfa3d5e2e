"""Which backups there are, and which of them were restored: the table ``backups``, for pages, metrics and alerts.

Belongs here: entering, verifying and forgetting them. Does not belong here: reading them for pages
(``operations_log.py``), the truth: that is the signed manifests in the bucket of the backups (``backups/``),
from which the table can be made again.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ..config import Settings
from .ledger_database import connect, translated
from .operations_tables import backups


@dataclass(frozen=True)
class RegisteredBackup:
    """A row of the register; ``bytes`` is what it takes in the bucket."""

    backup_id: str
    store: str
    taken_at: datetime
    location: str
    bytes: int
    base_id: str | None = None
    verified_at: datetime | None = None
    restore_seconds: float | None = None
    problem: str | None = None


class BackupRegister:
    """Raises TransientError and PermanentError as the ledger does."""

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr backups")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def enter(self, found: Iterable[RegisteredBackup]) -> None:
        """Enter backups, or what has become of those that are there."""
        rows = [asdict(backup) for backup in found]
        if not rows:
            return
        statement = insert(backups).values(rows)
        changing = ("bytes", "verified_at", "restore_seconds", "problem")
        statement = statement.on_conflict_do_update(
            index_elements=["backup_id"], set_={name: statement.excluded[name] for name in changing}
        )
        with translated("enter backups"), self._engine.begin() as connection:
            connection.execute(statement)

    def forget(self, backup_ids: Iterable[str]) -> None:
        """Remove backups that are no more."""
        with translated("forget backups"), self._engine.begin() as connection:
            connection.execute(sa.delete(backups).where(backups.c.backup_id.in_(list(backup_ids))))

    def keep_only(self, store: str, backup_ids: Iterable[str]) -> None:
        """Remove every backup of ``store`` but these."""
        gone = sa.delete(backups).where(
            backups.c.store == store, backups.c.backup_id.not_in(list(backup_ids))
        )
        with translated("forget backups"), self._engine.begin() as connection:
            connection.execute(gone)
