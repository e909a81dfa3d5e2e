"""One restore of one store: which backup, where to, under which guard.

Belongs here: choosing the point in time, the plan, running it under the store's lease.
Does not belong here: the stores (``backups/``), what is printed (``commands.py``).
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime

from wotr_pipeline.backups.manifest import Manifest, Store, Verification
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import lease_name
from wotr_pipeline.backups.target import SCRATCH_PREFIX, Restored, Selection
from wotr_pipeline.backups.targets import target_of
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.restore.guard import require_confirmation, require_quiet
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.leases import lease
from wotr_pipeline.stores.operations_log import OperationsLog


@dataclass(frozen=True)
class Wanted:
    """What somebody wants back. ``backup_id`` or ``at`` choose the point; neither: the newest verified backup."""

    store: Store
    backup_id: str = ""
    at: datetime | None = None
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True)
class Plan:
    """What a restore would do."""

    manifest: Manifest
    verification: Verification | None
    steps: tuple[str, ...]


def chosen(repository: Repository, wanted: Wanted) -> Manifest:
    """The backup that is restored.

    Raises:
        PermanentError: there is none, or it cannot be trusted.
    """
    if wanted.backup_id:
        return repository.manifest(wanted.store, wanted.backup_id)
    return repository.newest(wanted.store, wanted.at, verified=True)


def plan(settings: Settings, wanted: Wanted, *, in_place: bool) -> Plan:
    """What would be done; nothing is changed."""
    repository = Repository(settings)
    manifest = chosen(repository, wanted)
    steps = target_of(settings, wanted.store).plan(repository, manifest, wanted.selection, in_place=in_place)
    return Plan(manifest, repository.verification(wanted.store, manifest.backup_id), tuple(steps))


def into_scratch(
    settings: Settings, wanted: Wanted, place: str, holder: str, log: logging.Logger
) -> Restored:
    """Restore into a scratch place, which stays until somebody removes it.

    Raises:
        PermanentError: the name is that of a drill, which would be removed by the next one.
    """
    if place.startswith(SCRATCH_PREFIX):
        raise PermanentError(
            f"Places that begin with {SCRATCH_PREFIX} belong to drills. Choose another name."
        )
    repository = Repository(settings)
    with lease(settings, lease_name(wanted.store), holder):
        manifest = chosen(repository, wanted)
        return target_of(settings, wanted.store).restore(repository, manifest, place, wanted.selection, log)


def in_place(settings: Settings, wanted: Wanted, typed: str, holder: str, log: logging.Logger) -> Restored:
    """Replace what is live.

    Raises:
        PermanentError: it was not confirmed, ingestion runs, or the backup does not hold what its manifest says:
            then nothing is replaced.
    """
    require_confirmation(settings, wanted.store, typed)
    require_quiet(settings)
    return replaced(settings, wanted, holder, log)


def replaced(settings: Settings, wanted: Wanted, holder: str, log: logging.Logger) -> Restored:
    """Replace what is live, asking nothing: for callers that have the confirmation and know that nobody writes."""
    repository = Repository(settings)
    with lease(settings, lease_name(wanted.store), holder):
        manifest = chosen(repository, wanted)
        _note(settings, holder, wanted.store, manifest.backup_id)
        return target_of(settings, wanted.store).replace(repository, manifest, wanted.selection, log)


def _note(settings: Settings, holder: str, store: Store, backup_id: str) -> None:
    log = OperationsLog(settings)
    try:
        log.note(holder, f"restore {store} in place", backup_id)
    except PermanentError:
        # An empty machine has no table of actions yet; what was done is in the restored one's notes.
        logging.getLogger(__name__).warning("There is no table of actions yet in which this could be noted.")
    finally:
        log.close()
