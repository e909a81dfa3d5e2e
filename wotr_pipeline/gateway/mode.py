"""Maintenance mode as the gateway sees it: read every few seconds, so that no request has to.

Belongs here: the copy, and refusing events while the setting says so. Does not belong here: turning it
(``admin.py``, the maintenance job).
"""

import asyncio
from datetime import UTC, datetime

import structlog

from ..config import Settings
from ..stores.errors import StoreError
from ..stores.operations_log import Maintenance, OperationsLog
from .problems import Problem

REFRESH_SECONDS = 5.0
RETRY_SECONDS = 300
"""What is told while nobody has said when maintenance ends."""

_log = structlog.get_logger(__name__)


class Mode:
    """The newest turn of maintenance mode that was read."""

    def __init__(self, settings: Settings, operations: OperationsLog) -> None:
        self._accepts = settings.wotr_maintenance_accepts
        self._operations = operations
        self.maintenance: Maintenance | None = None

    @property
    def refuses_events(self) -> bool:
        """Whether events are refused now."""
        return not self._accepts and self.maintenance is not None and self.maintenance.enabled

    def check(self) -> None:
        """Let events in, or not.

        Raises:
            Problem: 503 with Retry-After.
        """
        if self.refuses_events and self.maintenance is not None:
            until, seconds = self.maintenance.until, RETRY_SECONDS
            if until is not None:
                seconds = max(30, int((until - datetime.now(UTC)).total_seconds()))
            raise Problem(
                503, "Maintenance: events are not taken now. Send them again later.", retry_after=seconds
            )

    async def keep_fresh(self) -> None:
        """Read the mode for ever."""
        while True:
            try:
                self.maintenance = await asyncio.to_thread(self._operations.maintenance)
            except StoreError as error:
                _log.warning("maintenance mode not read", error=str(error))
            await asyncio.sleep(REFRESH_SECONDS)
