"""Repair: a new version of each chosen dead letter, judged before it is kept.

A version that today's rules accept lies beside the original, which is never changed; the letter is then NEW and can
be retried. What the repair cannot be applied to, or does not make acceptable, is counted and left as it was. The
object with the versions is written before the register learns of it: a kill in between leaves an object that
nothing refers to, and letters as they were.

Belongs here: applying one repair to many letters. Does not belong here: what a repair does to a message
(``events/repair.py``, ``events/transformations.py``), sending (``retrying.py``).
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from wotr_pipeline.events.contract import RULES_VERSION
from wotr_pipeline.events.repair import AsIs, NotRepaired, Repair, Repaired, attempt, describe
from wotr_pipeline.events.repaired import RepairedLetter
from wotr_pipeline.events.rules import Rejected
from wotr_pipeline.events.transformations import RepairContext
from wotr_pipeline.stores.dead_letter import Letter, LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_contents import Content, LetterContents
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.object_keys import repaired_key
from wotr_pipeline.stores.objects import ObjectStore

VERSIONS_IN_AN_OBJECT = 5_000
REPAIRABLE = (LetterState.NEW, LetterState.QUARANTINED)


@dataclass
class RepairReport:
    """What a repair did, or (``applied`` False) would do."""

    applied: bool
    chosen: int = 0
    passing: int = 0
    """Letters that today's rules accept after the repair."""
    failing: Counter[str] = field(default_factory=Counter)
    """Letters that they reject after it, by reason: left as they were."""
    refused: Counter[str] = field(default_factory=Counter)
    """Letters that the repair cannot be applied to, by why: left as they were."""
    unchanged: int = 0
    """Letters among the passing ones that the repair leaves as they are."""
    unreadable: list[str] = field(default_factory=list)
    """Sentences about letters whose content cannot be had."""
    kept: int = 0
    """New versions that the register knows of."""
    examples: list[str] = field(default_factory=list)
    """Names of the first letters that still fail."""


class Repairs:
    """Repairs dead letters, or shows what a repair would do."""

    def __init__(self, register: DeadLetterRegister, objects: ObjectStore, who: str) -> None:
        self._register = register
        self._contents = LetterContents(objects)
        self._who = who

    def run(self, wanted: LetterFilter, repair: Repair, why: str, *, apply: bool) -> RepairReport:
        """Repair the NEW and QUARANTINED letters that the filter chooses; dry unless ``apply``.

        Raises:
            TransientError, PermanentError: a store is away or refuses; versions that were kept stay.
        """
        done = RepairReport(applied=apply)
        states = tuple(state for state in wanted.states or REPAIRABLE if state in REPAIRABLE)
        ids = self._register.ids(replace(wanted, states=states)) if states else []
        done.chosen = len(ids)
        # Unique, also for two operators at once: an object is never written over.
        operation = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        versions: list[tuple[Letter, bytes]] = []
        pages = 0
        for letter, content in self._contents.of_letters(self._register.of_ids(ids), done.unreadable):
            result = _attempted(repair, letter, content)
            if not self._count(result, letter, done) or not isinstance(result, Repaired):
                continue
            if apply and result.changed:
                versions.append((letter, result.value))
            if len(versions) == VERSIONS_IN_AN_OBJECT:
                done.kept += self._keep(repaired_key(operation, pages), versions, repair, why)
                versions, pages = [], pages + 1
        if versions:
            done.kept += self._keep(repaired_key(operation, pages), versions, repair, why)
        return done

    def rejudge(self, wanted: LetterFilter) -> RepairReport:
        """What today's rules say of the open letters as they are. Nothing is changed."""
        return self.run(wanted, AsIs(), f"judged by rules {RULES_VERSION}", apply=False)

    def _count(self, result: Repaired | NotRepaired, letter: Letter, done: RepairReport) -> bool:
        """Whether the letter passes now."""
        if isinstance(result, NotRepaired):
            done.refused[str(result.refusal)] += 1
        elif isinstance(result.verdict, Rejected):
            done.failing[str(result.verdict.reason)] += 1
        else:
            done.passing += 1
            done.unchanged += not result.changed
            return True
        if len(done.examples) < 10:
            done.examples.append(letter.name)
        return False

    def _keep(self, key: str, versions: list[tuple[Letter, bytes]], repair: Repair, why: str) -> int:
        now, described = datetime.now(UTC), describe(repair)
        self._contents.keep_repaired(
            key,
            [
                RepairedLetter(letter.name, letter.fix_version + 1, self._who, now, described, value)
                for letter, value in versions
            ],
        )
        places = [(letter.id, key, line) for line, (letter, _) in enumerate(versions)]
        return self._register.fixed(places, self._who, why)


def _attempted(repair: Repair, letter: Letter, content: Content) -> Repaired | NotRepaired:
    topic, _, position = letter.name.partition(":")
    partition, _, offset = position.partition(":")
    numbers = (
        (int(partition), int(offset)) if partition.isdecimal() and offset.isdecimal() else (0, letter.line)
    )
    return attempt(repair, content.value, RepairContext(letter.arrived_at, topic, *numbers))
