"""The health of the four stores, as everyone who asks shares it.

Belongs here: asking all at once, within two seconds. Does not belong here: the requests (``stores/probes.py``), how
health is told (``health.py``, ``admin.py``, ``metrics.py``).
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from ..config import Settings
from ..stores.errors import StoreError
from ..stores.probes import probes
from ..stores.thresholds import NAMES
from .shared_answer import PATIENCE_SECONDS, SharedAnswer

FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class StoreHealth:
    """One store; ``reason`` is a sentence for anyone, '' if it is up."""

    store: str
    up: bool
    reason: str
    at: datetime

    @property
    def name(self) -> str:
        """As people call it."""
        return NAMES[self.store]


@dataclass(frozen=True)
class Health:
    """All four."""

    stores: tuple[StoreHealth, ...]

    @property
    def healthy(self) -> bool:
        """Whether every one is up."""
        return all(store.up for store in self.stores)

    def of(self, store: str) -> StoreHealth:
        """One by its name."""
        return next(found for found in self.stores if found.store == store)


class Probes:
    """Asks the stores; a store that hangs keeps one thread, however often it is asked for.

    ``patience``: seconds after which a store that has not answered is down.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE_SECONDS) -> None:
        self._answers = {
            store: SharedAnswer(NAMES[store], probe, fresh=FRESH_SECONDS, patience=patience)
            for store, probe in probes(settings).items()
        }

    async def health(self) -> Health:
        """All stores, asked at once; never raises, and takes its patience at most."""
        return Health(tuple(await asyncio.gather(*map(self._of, self._answers))))

    async def _of(self, store: str) -> StoreHealth:
        try:
            answer = await self._answers[store].get()
        except StoreError as error:
            return StoreHealth(store, False, str(error), datetime.now(UTC))
        return StoreHealth(store, True, "", answer.at)
