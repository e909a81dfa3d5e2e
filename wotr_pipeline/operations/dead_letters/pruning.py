"""Retention of dead letters: the content of those that are long closed is deleted, their rows stay.

Hazard: deletes objects for good. Dry by default. An object goes only when every letter in it is RESOLVED or
DISCARDED since long enough; the rows stay, so that a reprocess cannot bring a closed letter back as a new one.

Belongs here: that sweep. Does not belong here: which state a letter is in.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.objects import PAGE_KEYS, ObjectStore

REPEATED_FOR = timedelta(days=35)
"""Objects noted as pruned are deleted again by the runs of so many days: several Sundays."""


@dataclass(frozen=True)
class Pruned:
    """Objects that were, or (``applied`` False) would be deleted."""

    applied: bool
    keys: tuple[str, ...]


def prune(register: DeadLetterRegister, objects: ObjectStore, before: datetime, *, apply: bool) -> Pruned:
    """Delete the objects all of whose letters are closed since before that time.

    Raises:
        TransientError: a store is away; what was deleted is noted, the rest is for the next time.
    """
    keys = tuple(register.prunable(before))
    if apply:
        # What a killed run has noted, and not deleted any more.
        objects.delete(register.pruned_since(register.now() - REPEATED_FOR))
        for start in range(0, len(keys), PAGE_KEYS):
            page = keys[start : start + PAGE_KEYS]
            # Noted first: content that is announced as gone and still there does no harm, and goes the next time.
            register.note_pruned(page)
            objects.delete(page)
    return Pruned(apply, keys)
