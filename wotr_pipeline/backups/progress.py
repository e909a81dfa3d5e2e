"""Progress of long copies, for the run's page.

Belongs here: how often and in which words. Does not belong here: any copying.
"""

import logging
import time

EVERY_SECONDS = 10.0


class Progress:
    """Counts, and tells the log every ten seconds. For one thread."""

    def __init__(self, log: logging.Logger, noun: str, verb: str) -> None:
        """``noun`` and ``verb`` complete "1,000 … are …"."""
        self._log = log
        self._told = f"%d {noun} (%.1f MB) are {verb}, %.1f MB/s."
        self._began = self._last = time.monotonic()
        self._items = self._bytes = 0

    def add(self, items: int, size: int) -> None:
        """More of it: ``size`` in bytes."""
        self._items += items
        self._bytes += size
        now = time.monotonic()
        if now - self._last >= EVERY_SECONDS:
            self._last = now
            self._log.info(
                self._told, self._items, self._bytes / 1e6, self._bytes / 1e6 / (now - self._began)
            )
