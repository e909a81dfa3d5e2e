"""The restore drill: a backup brought back into a scratch place, read whole, and held against its manifest.

Belongs here: restoring, comparing, measuring, discarding. Does not belong here: what a place holds and how that is
read (one module a store).
"""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from ..stores.errors import PermanentError
from .differences import differences
from .manifest import Fact, Manifest, Verification
from .repository import Repository
from .target import Selection, Target, scratch_place


def drill_backup(
    repository: Repository,
    target: Target,
    manifest: Manifest,
    log: logging.Logger,
    verified: Sequence[Fact] = (),
) -> Verification:
    """Restore, compare, measure; the scratch place is gone afterwards. The lease of the store must be held.

    ``verified``: facts that an earlier drill has brought back. Where the store can be restored by groups, those that
    are unchanged since are only looked at, not restored again; the time is then extrapolated by items.

    Raises:
        TransientError: a store is away: the drill says nothing about the backup.
    """
    unchanged = _unchanged(manifest, verified) if target.drills_by_group else frozenset()
    wanted = [fact for fact in manifest.facts if fact not in unchanged]
    left_out = [fact.name for fact in manifest.facts if fact in unchanged]
    selection = Selection(groups=tuple(fact.name for fact in wanted)) if left_out else Selection()
    for place in target.leftovers():
        log.info("Removed the scratch place %s of a drill that was killed.", place)
        target.discard(place)
    place = scratch_place(manifest)
    items = size = 0
    began = time.monotonic()
    try:
        problem = target.check_shared(repository, manifest, left_out) if left_out else ""
        restored = target.restore(repository, manifest, place, selection, log)
        seconds = time.monotonic() - began
        items, size = restored.items, restored.bytes
        log.info("%d items restored into %s in %.1f s; reading them whole.", items, place, seconds)
        problem = f"{problem} {differences(wanted, target.facts(place, manifest))}".strip()
        if left_out and items:
            seconds *= manifest.items / items
    except PermanentError as error:
        seconds, problem = time.monotonic() - began, str(error)
    finally:
        target.discard(place)
    return Verification(manifest.backup_id, datetime.now(UTC), seconds, items, size, problem)


def _unchanged(manifest: Manifest, verified: Sequence[Fact]) -> frozenset[Fact]:
    """What need not be restored again; one group always is: a drill that restores nothing shows nothing."""
    unchanged = set(manifest.facts) & set(verified)
    if unchanged and len(unchanged) == len(manifest.facts):
        unchanged.remove(min(unchanged, key=lambda fact: (fact.items, fact.name)))
    return frozenset(unchanged)
