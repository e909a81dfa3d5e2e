"""Which backups are kept, and what else lies in their bucket and is of no use any more.

Belongs here: choosing (pure), and forgetting what was not chosen. Does not belong here: events, rows and objects of
the platform itself (``operations/maintenance/``).

Kept are the newest backup of each of the last days, weeks (ISO 8601) and months that the settings name; the newest
verified one, whatever its age; and every backup that a kept one builds upon. Of a day with a verified backup, an
unverified one is never the one that is kept. Contents of objects go when no manifest names them any more.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..config import Settings
from ..stores.backup_register import BackupRegister
from ..stores.errors import PermanentError
from ..stores.leases import lease
from .manifest import Manifest, Store
from .minio import JOURNALS
from .object_index import INDEX_NAME, open_index
from .repository import Repository
from .taking import lease_name

CONTENTS = "minio/contents/"


@dataclass(frozen=True)
class Candidate:
    """A backup as the choice sees it."""

    backup_id: str
    taken_at: datetime
    base_id: str | None
    verified: bool


@dataclass(frozen=True)
class Choice:
    """What is kept, with the reasons, and what goes, the newest first: a backup goes before what it builds upon."""

    kept: dict[str, tuple[str, ...]]
    gone: tuple[str, ...]


@dataclass(frozen=True)
class Tidied:
    """What a retention did, or would do."""

    store: Store
    choice: Choice
    contents: int
    bytes: int
    problems: tuple[str, ...]
    applied: bool


def choose(backups: Iterable[Candidate], *, daily: int, weekly: int, monthly: int) -> Choice:
    """Which of a store's backups are kept."""
    newest_first = sorted(backups, key=lambda backup: backup.taken_at, reverse=True)
    reasons: dict[str, list[str]] = {}
    rules: tuple[tuple[str, int, Callable[[datetime], str]], ...] = (
        ("day", daily, lambda at: f"{at:%Y-%m-%d}"),
        ("week", weekly, lambda at: f"{at:%G-W%V}"),
        ("month", monthly, lambda at: f"{at:%Y-%m}"),
    )
    for noun, count, period_of in rules:
        periods: dict[str, list[Candidate]] = {}
        for backup in newest_first:
            periods.setdefault(period_of(backup.taken_at), []).append(backup)
        for period in list(periods)[:count]:
            candidates = periods[period]
            best = next((backup for backup in candidates if backup.verified), candidates[0])
            reasons.setdefault(best.backup_id, []).append(f"newest of {noun} {period}")
    for backup in newest_first:
        if backup.verified:
            reasons.setdefault(backup.backup_id, []).append("newest verified")
            break
    by_id = {backup.backup_id: backup for backup in newest_first}
    for backup_id in list(reasons):
        base = by_id[backup_id].base_id
        while base is not None and base in by_id:
            reasons.setdefault(base, []).append(f"base of {backup_id}")
            base = by_id[base].base_id
    kept = {
        backup.backup_id: tuple(reasons[backup.backup_id])
        for backup in newest_first
        if backup.backup_id in reasons
    }
    return Choice(kept, tuple(backup.backup_id for backup in newest_first if backup.backup_id not in kept))


def retain(
    settings: Settings, store: Store, holder: str, log: logging.Logger, *, apply: bool = False
) -> Tidied:
    """Forget what is not to be kept; only say it, unless ``apply``.

    Backups whose manifest cannot be trusted are never touched, and while there is one no content goes: it may need it.

    Raises:
        LeaseTakenError: a backup of the store is under way.
    """
    repository = Repository(settings)
    with lease(settings, lease_name(store), holder) as held:
        repository.prepare()
        manifests, problems = repository.manifests(store)
        choice = choose(
            [_candidate(repository, manifest) for manifest in manifests],
            daily=settings.wotr_keep_backups_daily,
            weekly=settings.wotr_keep_backups_weekly,
            monthly=settings.wotr_keep_backups_monthly,
        )
        if apply:
            register = BackupRegister(settings)
            try:
                for backup_id in choice.gone:
                    held.check()
                    # The register first: what is in the bucket is found again by whoever comes after a kill.
                    register.forget([backup_id])
                    repository.forget(store, backup_id)
                    log.info("%s is forgotten.", backup_id)
            finally:
                register.close()
        kept = [manifest for manifest in manifests if manifest.backup_id in choice.kept]
        contents, size = (
            _tidy_contents(repository, kept, apply=apply) if store is Store.MINIO and not problems else (0, 0)
        )
    return Tidied(store, choice, contents, size, tuple(problems), apply)


def _candidate(repository: Repository, manifest: Manifest) -> Candidate:
    seen = repository.verification(manifest.store, manifest.backup_id)
    return Candidate(
        manifest.backup_id,
        manifest.taken_at,
        manifest.base_id,
        seen is not None and not seen.problem,
    )


def _tidy_contents(repository: Repository, kept: Sequence[Manifest], *, apply: bool) -> tuple[int, int]:
    """Remove contents that no kept backup names: how many, and their bytes. A key costs 100 bytes of memory."""
    named: set[str] = set()
    for manifest in kept:
        try:
            with open_index(repository, manifest.file(INDEX_NAME)) as rows:
                named.update(part.key for row in rows for part in row.parts())
        except PermanentError:
            return 0, 0
    if apply:
        # What a killed run has copied is not named by a manifest: it is copied again.
        repository.clear(JOURNALS)
    count = size = 0

    def unnamed() -> Iterator[str]:
        nonlocal count, size
        for found in repository.objects.list(CONTENTS):
            if found.key not in named:
                count, size = count + 1, size + found.size
                yield found.key

    if apply:
        repository.objects.delete(unnamed())
    else:
        deque(unnamed(), maxlen=0)
    return count, size
