"""One backup from its beginning to its end, under the lease of its store.

Belongs here: the order: clear leftovers, copy, publish, register, drill. Does not belong here: the copying (one
module a store), Dagster (``assets/backups.py``).

A kill at any point leaves either no manifest, and then leftovers that the next run clears or goes on with; or a
manifest without a verification, and then a backup that does not count until a drill has restored it.
"""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from ..config import Settings
from ..stores.backup_register import BackupRegister, RegisteredBackup
from ..stores.errors import PermanentError
from ..stores.leases import Lease, lease
from .drill import drill_backup
from .manifest import Fact, Manifest, Store, Verification
from .repository import Repository, new_id
from .target import Target


@dataclass(frozen=True)
class Taken:
    """A backup and what its drill found."""

    manifest: Manifest
    verification: Verification
    location: str


def lease_name(store: Store) -> str:
    """The lease under which backups of a store are taken, drilled, restored and forgotten."""
    return f"backup of {store}"


def take_backup(settings: Settings, target: Target, holder: str, log: logging.Logger) -> Taken:
    """Take a backup of now, then restore it into a scratch place and compare.

    The verification may name a problem: then the backup stays, and does not count.

    Raises:
        LeaseTakenError: one is under way.
        TransientError: a store is away; nothing looks like a backup, and the next run begins anew or goes on.
        PermanentError: the settings are wrong, or a store refuses.
    """
    repository = Repository(settings)
    with lease(settings, lease_name(target.store), holder) as held:
        repository.prepare()
        target.prepare(repository)
        for gone in repository.clear_leftovers(target.store):
            log.info("Cleared what was left of %s, which was never finished.", gone)
        backup_id = new_id(target.store, datetime.now(UTC))
        manifest = target.take(repository, backup_id, log)
        held.check()
        repository.publish(manifest)
        register(settings, repository, manifest, None)
        log.info(
            "%s is taken: %d items, %d new bytes. Now it is restored.",
            backup_id,
            manifest.items,
            manifest.bytes,
        )
        verified = _verified_facts(repository, target.store)
        return _drilled(settings, repository, held, target, manifest, log, verified)


def drill_newest(settings: Settings, target: Target, holder: str, log: logging.Logger) -> Taken:
    """Restore the whole newest backup into a scratch place and compare: what ``take_backup`` ends with, by itself.

    Raises as ``take_backup`` does; PermanentError too if there is no backup.
    """
    repository = Repository(settings)
    with lease(settings, lease_name(target.store), holder) as held:
        return _drilled(settings, repository, held, target, repository.newest(target.store), log)


def _drilled(
    settings: Settings,
    repository: Repository,
    held: Lease,
    target: Target,
    manifest: Manifest,
    log: logging.Logger,
    verified: Sequence[Fact] = (),
) -> Taken:
    """Drill a backup and write down what was found, in the bucket and in the register."""
    verification = drill_backup(repository, target, manifest, log, verified)
    held.check()
    repository.confirm(target.store, verification)
    register(settings, repository, manifest, verification)
    return Taken(manifest, verification, repository.location(manifest))


def _verified_facts(repository: Repository, store: Store) -> Sequence[Fact]:
    try:
        return repository.newest(store, verified=True).facts
    except PermanentError:
        return ()


def register(
    settings: Settings, repository: Repository, manifest: Manifest, verification: Verification | None
) -> None:
    """Let pages, metrics and alerts know of a backup."""
    with closing(BackupRegister(settings)) as entries:
        entries.enter([_entry(repository, manifest, verification)])


def _entry(repository: Repository, manifest: Manifest, verification: Verification | None) -> RegisteredBackup:
    good = verification is not None and not verification.problem
    return RegisteredBackup(
        manifest.backup_id,
        manifest.store,
        manifest.taken_at,
        repository.location(manifest),
        manifest.bytes,
        manifest.base_id,
        verification.at if verification and good else None,
        verification.restore_seconds if verification and good else None,
        verification.problem or None if verification else None,
    )


def register_all(settings: Settings, repository: Repository, store: Store) -> list[Manifest]:
    """Make the register say what the bucket does: after a disaster it knows nothing."""
    manifests, _ = repository.manifests(store)
    found = [
        _entry(repository, manifest, repository.verification(store, manifest.backup_id))
        for manifest in manifests
    ]
    with closing(BackupRegister(settings)) as entries:
        entries.keep_only(store, [entry.backup_id for entry in found])
        entries.enter(found)
    return manifests
