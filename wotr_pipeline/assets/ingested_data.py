"""Asset ``ingested_data``: the table that analysts query, each event in it once.

In: a VALIDATED batch, staged in the engine. Out: its rows in ``wotr.ingested_data`` and the state
LOADED.
Promise: whatever is killed, repeated or raced, a plain ``count()`` is exact: a batch's rows are all
there or none, and an id that is already there within the duplicate window is counted, not loaded.

Hazard: loads run one at a time under the ledger's load lock. Two at once could each miss an id that
both bring.

Belongs here: loading one batch, replacing the rows of several. Does not belong here: the SQL steps
(``stores/loading.py``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.ledger_writer import LedgerWriter
from wotr_pipeline.stores.loading import Loader, Replacement

LOAD_LOCK_SECONDS = 900.0
"""How long a load waits for another run's load before it gives up for now."""


def load(batch: Batch, loader: Loader, writer: LedgerWriter, left_out: Sequence[int] | None = None) -> Batch:
    """Bring a VALIDATED, staged batch to LOADED.

    ``left_out``: the duplicates of the load before, when the batch's rows shall come back as they were.

    Raises:
        IdsTakenError: another batch holds ids that were this one's; nothing was loaded.
        TransientError: the engine or the ledger is away, or the lock was not to be had in time.
    """
    with writer.load_lock(LOAD_LOCK_SECONDS):
        loader.wait_for_running_loads()
        duplicates = loader.load(batch, left_out)
        writer.check_alive()
    # Before the ledger is told: a run killed here leaves an unfinished batch, whose next run tidies up.
    loader.drop_staging(batch)
    return writer.loaded(batch, len(duplicates), duplicates)


def replace_rows(
    batches: list[Batch],
    validated: Callable[[], Iterable[Batch]],
    loader: Loader,
    writer: LedgerWriter,
    left_out: Mapping[int, Sequence[int] | None],
) -> Iterator[Batch]:
    """Bring reopened batches to LOADED, all their rows replaced at once; yields each when it is so.

    ``validated`` judges and stages the batches one after the other, while the lock is held.
    ``left_out``: as ``load``, by the row's number in the ledger.
    Nothing changes for readers until every batch is in; an error before that changes nothing.

    Raises:
        TransientError: the engine or the ledger is away, or the lock was not to be had in time.
    """
    replaced: list[tuple[Batch, list[int]]] = []
    with writer.load_lock(LOAD_LOCK_SECONDS):
        loader.wait_for_running_loads()
        with Replacement(loader, batches) as replacement:
            for batch in validated():
                replaced.append((batch, replacement.add(batch, left_out.get(batch.id))))
                loader.drop_staging(batch)
            writer.check_alive()
            replacement.swap()
    for batch, duplicates in replaced:
        yield writer.loaded(batch, len(duplicates), duplicates)
