"""What a database of PostgreSQL holds, in the words of a manifest.

Belongs here: facts of tables and sequences, and when a sequence's are as good as the manifest's. Does not belong here:
how they are read (``stores/postgres_server.py``), how places compare (``differences.py``).

Tables are read in the snapshot of their dump: the sums are equal or something is wrong. Sequences stand outside of
snapshots: they are read before the dump, and a restored one may be further than that, never behind it, or it would
give a number that is taken.
"""

from collections.abc import Iterable, Sequence

from ..stores.postgres_server import SequencePosition, Snapshot
from .manifest import Fact

_AT = "sequence at "
_START = "start"


def table_facts(role: str, snapshot: Snapshot) -> list[Fact]:
    """Rows and sum of every table."""
    return [
        Fact(f"{role}.{table.schema}.{table.name}", "", table.rows, table.checksum)
        for table in snapshot.sums()
    ]


def sequence_facts(role: str, snapshot: Snapshot) -> list[Fact]:
    """Where every sequence is; no items."""
    return [_fact(role, sequence) for sequence in snapshot.sequences()]


def restored_facts(role: str, snapshot: Snapshot, manifest: Iterable[Fact]) -> list[Fact]:
    """What a restored database holds; a sequence that is not behind the manifest's is told as that one."""
    wanted = {fact.name: fact for fact in manifest}
    found = table_facts(role, snapshot)
    for sequence in snapshot.sequences():
        fact = _fact(role, sequence)
        want = wanted.get(fact.name)
        found.append(want if want is not None and _not_behind(sequence, want) else fact)
    return found


def tables_of(facts: Sequence[Fact]) -> list[tuple[str, str, str]]:
    """Role, schema and name of the tables among facts."""
    found = []
    for fact in facts:
        if not fact.checksum.startswith(_AT):
            role, schema, name = fact.name.split(".", 2)
            found.append((role, schema, name))
    return found


def _fact(role: str, sequence: SequencePosition) -> Fact:
    last = _START if sequence.last is None else str(sequence.last)
    return Fact(f"{role}.{sequence.schema}.{sequence.name}", "", 0, f"{_AT}{last}")


def _not_behind(sequence: SequencePosition, want: Fact) -> bool:
    if not want.checksum.startswith(_AT):
        return False
    last = want.checksum.removeprefix(_AT)
    if last == _START:
        return True
    return sequence.last is not None and (sequence.last - int(last)) * sequence.increment >= 0
