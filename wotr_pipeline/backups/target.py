"""What a store offers to backups: the interface of ``minio``, ``postgres`` and ``clickhouse``.

Belongs here: that interface and the types it speaks. Does not belong here: any store.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .manifest import Fact, Manifest, Store
from .repository import Repository

SCRATCH_PREFIX = "wotr-drill-"
"""How the names of drills' scratch places begin: those and no others are ever discarded unasked."""


def scratch_prefix(store: Store, source: str) -> str:
    """How the scratch places of one source's drills begin: several platforms may share a server."""
    return f"{SCRATCH_PREFIX}{store}-{hashlib.sha256(source.encode()).hexdigest()[:8]}-"


def scratch_place(manifest: Manifest) -> str:
    """The scratch place of a backup's drill."""
    moment = manifest.backup_id.rpartition("-")[2]
    return f"{scratch_prefix(manifest.store, manifest.source)}{moment.lower()}"


@dataclass(frozen=True)
class Selection:
    """Which part of a backup is wanted; empty: all of it."""

    table: str = ""
    """``table`` of ClickHouse's database, ``database.schema.table`` or ``schema.table`` of PostgreSQL."""
    partition: str = ""
    """A partition of that table in ClickHouse, such as 202611."""
    prefix: str = ""
    """Prefix of the objects' keys."""
    groups: tuple[str, ...] = ()
    """Names of facts: only these; for drills of a store that ``drills_by_group``."""

    @property
    def whole(self) -> bool:
        """Whether it is everything."""
        return self == Selection()


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    place: str
    """Bucket, or database (or databases), where it lies now."""
    items: int
    bytes: int
    notes: tuple[str, ...] = ()
    """Sentences for the operator: what was left alone, what is to be done next."""


class Target(Protocol):
    """One store. Every method may raise TransientError and PermanentError, and is safe to repeat after a kill."""

    store: Store
    drills_by_group: bool
    """Whether a drill may leave out what is unchanged since an earlier one."""

    def prepare(self, repository: Repository) -> None:
        """Wait for, or clear away, what a killed run has left in the store itself. The lease is held."""
        ...

    def take(self, repository: Repository, backup_id: str, log: logging.Logger) -> Manifest:
        """Copy the state of now into the repository. The caller publishes the manifest, under the lease."""
        ...

    def plan(
        self, repository: Repository, manifest: Manifest, selection: Selection, *, in_place: bool
    ) -> list[str]:
        """What a restore would do, a sentence each; changes nothing."""
        ...

    def restore(
        self,
        repository: Repository,
        manifest: Manifest,
        place: str,
        selection: Selection,
        log: logging.Logger,
    ) -> Restored:
        """Bring it back into the scratch place of that name, which is made, or emptied first."""
        ...

    def replace(
        self, repository: Repository, manifest: Manifest, selection: Selection, log: logging.Logger
    ) -> Restored:
        """Bring it back in place of what is there. The caller has made sure that nobody writes."""
        ...

    def facts(self, place: str, manifest: Manifest) -> Sequence[Fact]:
        """What the scratch place holds, every byte or column of it read, in the shape of ``manifest.facts``."""
        ...

    def check_shared(self, repository: Repository, manifest: Manifest, groups: Sequence[str]) -> str:
        """Whether what a drill leaves out is still whole in the repository: a sentence about what is not."""
        ...

    def discard(self, place: str) -> None:
        """Remove a scratch place; fine if there is none."""
        ...

    def leftovers(self) -> Sequence[str]:
        """Scratch places of drills that were killed."""
        ...
