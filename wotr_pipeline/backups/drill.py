"""The restore drill: a backup brought back into a scratch place, read whole, and held against its manifest.

Belongs here: restoring, comparing, measuring, discarding. Does not belong here: what a place holds and how that is
read (one module a store).
"""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from ..stores.errors import PermanentError
from .manifest import Fact, Manifest, Verification
from .repository import Repository
from .target import Selection, Target

SCRATCH_PREFIX = "wotr-drill-"
"""How the names of scratch places begin: those and no others are ever discarded unasked."""
PROBLEMS_TOLD = 5


def scratch_name(backup_id: str) -> str:
    """The scratch place of a backup's drill."""
    return f"{SCRATCH_PREFIX}{backup_id.lower()}"


def drill_backup(
    repository: Repository, target: Target, manifest: Manifest, log: logging.Logger
) -> Verification:
    """Restore, compare, measure; the scratch place is gone afterwards. The lease of the store must be held.

    Raises:
        TransientError: a store is away: the drill says nothing about the backup.
    """
    for place in target.leftovers():
        log.info("Removed the scratch place %s of a drill that was killed.", place)
        target.discard(place)
    place = scratch_name(manifest.backup_id)
    items = size = 0
    began = time.monotonic()
    try:
        restored = target.restore(repository, manifest, place, Selection(), log)
        seconds = time.monotonic() - began
        items, size = restored.items, restored.bytes
        log.info("Restored into %s in %.1f s; reading it whole.", place, seconds)
        problem = differences(manifest.facts, target.facts(place, manifest))
    except PermanentError as error:
        seconds, problem = time.monotonic() - began, str(error)
    finally:
        target.discard(place)
    return Verification(manifest.backup_id, datetime.now(UTC), seconds, items, size, problem)


def differences(expected: Iterable[Fact], found: Iterable[Fact]) -> str:
    """What is not as the manifest says, in one sentence each, the first few of them; empty if nothing is."""
    wanted = {(fact.name, fact.partition): fact for fact in expected}
    there = {(fact.name, fact.partition): fact for fact in found}
    told = []
    for key in sorted(wanted.keys() | there.keys()):
        want, have = wanted.get(key), there.get(key)
        if want == have:
            continue
        name = " ".join(part for part in key if part)
        if have is None:
            told.append(f"{name} was not restored ({want.items if want else 0} items).")
        elif want is None:
            told.append(f"{name} was restored ({have.items} items) and is not in the manifest.")
        elif want.items != have.items:
            told.append(f"{name} has {have.items} items after the restore, {want.items} in the manifest.")
        else:
            told.append(f"{name} has all of its {want.items} items, with other content than in the manifest.")
    more = f" And {len(told) - PROBLEMS_TOLD} more." if len(told) > PROBLEMS_TOLD else ""
    return " ".join(told[:PROBLEMS_TOLD]) + more
