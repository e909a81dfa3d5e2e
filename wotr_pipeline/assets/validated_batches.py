"""Asset ``validated_batches``: every record of a landed batch with a verdict.

In: a LANDED batch's raw object. Out: the judged rows in the engine's staging table, the valid rows'
typed columns below ``validated/``, the rejected ones below ``dead-letters/``, the state VALIDATED.
Promise: each record is valid or rejected with a reason; one bad record holds back no good one.

The engine judges by SQL what is right beyond doubt; the rest comes here to the precise rules, whose
word is final. ``validated/`` holds columns a lake reader can use and the position of the raw row;
a second copy of the payload would be the dearest step of the whole path.

Belongs here: judging one batch. Does not belong here: the rules (``events/``).
"""

from collections.abc import Callable, Sequence

from wotr_pipeline.assets.dead_letters import bury
from wotr_pipeline.checks.expectations import GateResult
from wotr_pipeline.events.columns import BatchContext, JudgedMessage, judged_rows
from wotr_pipeline.events.contract import RULES_VERSION
from wotr_pipeline.events.rules import judge as judge_message
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.ledger_writer import LedgerWriter
from wotr_pipeline.stores.loading import Loader
from wotr_pipeline.stores.object_keys import validated_key
from wotr_pipeline.stores.objects import ObjectStore


class GateFailed(PermanentError):  # noqa: N818 - it says what happened
    """A blocking expectation failed: the batch stays out of the table."""

    def __init__(self, batch: Batch, result: GateResult) -> None:
        names = ", ".join(failed.name for failed in result.blocking_failures)
        super().__init__(
            f"{batch.batch_id}: blocking expectations failed ({names}), so nothing of the batch was loaded. "
            "See the checks' results for counts, ids and what to do, then reopen the batch."
        )
        self.result = result


def validate(
    batch: Batch,
    judged: Sequence[JudgedMessage],
    loader: Loader,
    objects: ObjectStore,
    writer: LedgerWriter,
    gate: Callable[[], GateResult],
) -> tuple[Batch, GateResult]:
    """Bring a LANDED batch, staged by ``judge``, to VALIDATED; a VALIDATED one is validated anew.

    Raises:
        GateFailed: a blocking expectation failed.
        PermanentError: the raw object is gone.
        TransientError: the engine, the object store or the ledger is away.
    """
    counts = loader.staged_counts(batch)
    result = gate()
    if result.blocking_failures:
        raise GateFailed(batch, result)
    dead_letters = bury(batch, judged, loader, objects)
    valid = validated_key(batch, batch.generation)
    loader.write_validated(batch, valid)
    batch = writer.validated(
        batch,
        valid=counts.valid,
        rejected=counts.rejected,
        validated_key=valid,
        dead_letters_key=dead_letters,
        rules_version=RULES_VERSION,
    )
    return batch, result


def judge(batch: Batch, loader: Loader, staging: str) -> tuple[JudgedMessage, ...]:
    """Fill ``staging`` with a verdict on every record of the raw object; returns the precise rules' share.

    Raises:
        PermanentError: the raw object is gone.
        TransientError: the engine or the object store is away.
    """
    judged = tuple(
        JudgedMessage(offset, created_at, value, judge_message(value))
        for offset, created_at, value in loader.stage(batch, staging)
    )
    context = BatchContext(batch.batch_id, batch.hour, batch.partition)
    loader.add_judged(judged_rows(context, judged), staging)
    return judged
