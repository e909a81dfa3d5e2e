"""Where what was restored is not what the manifest says.

Belongs here: that comparison, in sentences. Does not belong here: how either is read.
"""

from collections.abc import Iterable

from .manifest import Fact

PROBLEMS_TOLD = 5


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
