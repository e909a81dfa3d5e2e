"""One run over one arrival hour: every unfinished batch brought to LOADED, or a reason why not.

Belongs here: the order of work, what happens to a batch when a step fails, reprocessing and its dry
run. Nothing here knows Dagster, so the same code serves runs, the command line and benchmarks.
Does not belong here: the steps themselves (``raw_objects``, ``validated_batches``,
``ingested_data``) or how a result is shown (``ingestion.py``).
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from threading import Event
from time import monotonic

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.assets.batch_traces import BatchTraces
from wotr_pipeline.assets.ingested_data import load, replace_rows
from wotr_pipeline.assets.overlap import overlap
from wotr_pipeline.assets.raw_objects import land
from wotr_pipeline.assets.validated_batches import GateFailed, judge, validate
from wotr_pipeline.checks.expectations import GateResult
from wotr_pipeline.config import Settings
from wotr_pipeline.events.columns import JudgedMessage
from wotr_pipeline.stores.batch import RECOVERY, Batch, BatchState
from wotr_pipeline.stores.errors import PermanentError, StoreError, TransientError
from wotr_pipeline.stores.kafka_records import RecordReader
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.ledger_writer import LedgerWriter
from wotr_pipeline.stores.loading import IdsTakenError, Loader, VerdictChange, preview_table, staging_table
from wotr_pipeline.stores.object_keys import dead_letters_key, validated_key
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

QUIET_SECONDS = 15.0
"""A run that follows its hour ends when nothing was planned for so long: three ticks of the sensor."""
POLL_SECONDS = 0.5

Gate = Callable[[Warehouse, str, Batch], GateResult]


@dataclass(frozen=True)
class Outcome:
    """A batch as the run left it: LOADED, or with the error that kept it from that."""

    batch: Batch
    gate: GateResult | None = None
    error: StoreError | None = None
    judged: tuple[JudgedMessage, ...] = ()
    """What the precise rules judged, on its way from one stage to the next."""
    taken_by: tuple[str, ...] = ()
    """Batches that hold ids which were this one's before its rows were lost; it is not loaded yet."""


Stage = Callable[[Outcome], Outcome]


class HourRun:
    """The work of one run. Use as ``outcomes = list(HourRun(...).catch_up(hour))``."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        objects: ObjectStore,
        warehouse: Warehouse,
        gate: Gate,
        run_id: str,
        log: logging.Logger,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._objects = objects
        self._warehouse = warehouse.for_run(run_id)
        self._loader = Loader(self._warehouse)
        self._gate = gate
        self._run_id = run_id
        self._log = log
        self._traces = BatchTraces()
        self._stopping = Event()

    def catch_up(self, hour: datetime, follow_seconds: float = 0.0) -> Iterator[Outcome]:
        """Bring every unfinished batch of ``hour`` to LOADED, batches planned meanwhile included.

        ``follow_seconds``: for so long, go on with batches that are planned later, unless none comes for
        ``QUIET_SECONDS``. A run that is there already serves an event sooner than one yet to be started.

        A permanent error quarantines its batch and the others go on; a transient one stops the run
        after the batches that are under way, for the next batch would meet the same.
        """
        with (
            closing(self),
            self._ledger.writer(self._run_id, hour=hour) as writer,
            RecordReader(self._settings) as reader,
        ):
            tried: set[str] = set()
            until = monotonic() + follow_seconds
            while not self._stopping.is_set() and (batches := self._next_batches(hour, tried, until)):
                tried.update(batch.batch_id for batch in batches)
                fresh = [batch for batch in batches if not _has_rows_to_replace(batch)]
                taken: list[Outcome] = []
                for outcome in overlap(
                    self._claimed(fresh, writer),
                    self._step("land", lambda item: self._landed(item, reader, writer), writer),
                    self._step("judge", self._judged, writer),
                    self._step("validate", lambda item: self._validated(item, writer), writer),
                    self._step("load", lambda item: self._loaded(item, writer), writer),
                ):
                    if outcome.taken_by:
                        taken.append(outcome)
                    else:
                        yield self._done(outcome)
                if not self._stopping.is_set():
                    replaced = (b for b in batches if _has_rows_to_replace(b))
                    yield from self._replace([o.batch for o in self._claimed(replaced, writer)], writer)
                for outcome in taken:
                    if not self._stopping.is_set():
                        yield from self._give_back(outcome, writer)

    def close(self) -> None:
        """End what traces are open."""
        self._traces.close()

    def _next_batches(self, hour: datetime, tried: set[str], until: float) -> list[Batch]:
        """Unfinished batches not tried yet; waits for some while there is time, [] if none comes."""

        def untried() -> list[Batch]:
            unfinished = self._ledger.unfinished(self._settings.kafka_topic, hour)
            return [batch for batch in unfinished if batch.batch_id not in tried]

        patience = min(QUIET_SECONDS, until - monotonic())
        waiting = Retrying(
            retry=retry_if_result(lambda found: not found),
            stop=stop_after_delay(max(0.0, patience)),
            wait=wait_fixed(POLL_SECONDS),
            retry_error_callback=lambda _: [],
        )
        found: list[Batch] = waiting(untried)
        return found

    def reprocess(self, hour: datetime) -> Iterator[Outcome]:
        """Judge the hour's LOADED batches again and replace their rows at once, then catch up."""
        with self._ledger.writer(self._run_id) as writer:
            loaded = [b.batch_id for b in self._ledger.batches(hour) if self._is_loaded(b)]
            writer.reopen(loaded, f"reprocess of {hour:%Y-%m-%d %H}h by run {self._run_id}")
        yield from self.catch_up(hour)

    def preview(self, hour: datetime) -> Iterator[tuple[Batch, list[VerdictChange]]]:
        """What ``reprocess`` would change, batch by batch; nothing is written but a scratch table."""
        for batch in self._ledger.batches(hour):
            if self._is_loaded(batch):
                scratch = preview_table(batch)
                judge(batch, self._loader, scratch)
                yield batch, self._loader.changes(batch, scratch)
                self._loader.drop_staging(batch, scratch)

    def _is_loaded(self, batch: Batch) -> bool:
        return batch.state is BatchState.LOADED and batch.topic == self._settings.kafka_topic

    def _claimed(self, batches: Iterable[Batch], writer: LedgerWriter) -> Iterator[Outcome]:
        for batch in batches:
            if self._stopping.is_set():
                return
            claimed = writer.claim(batch)
            if claimed is not None:
                self._traces.begin(claimed)
                yield Outcome(claimed)

    def _done(self, outcome: Outcome) -> Outcome:
        self._traces.end(outcome.batch, outcome.error)
        return outcome

    def _landed(self, item: Outcome, reader: RecordReader, writer: LedgerWriter) -> Outcome:
        if item.batch.state is not BatchState.PLANNED:
            return item
        landed = land(item.batch, reader, self._objects, writer, self._settings.wotr_batch_bytes)
        return replace(item, batch=landed)

    def _judged(self, item: Outcome) -> Outcome:
        return replace(item, judged=judge(item.batch, self._loader, staging_table(item.batch)))

    def _validated(self, item: Outcome, writer: LedgerWriter) -> Outcome:
        staging = staging_table(item.batch)
        batch, gate = validate(
            item.batch,
            item.judged,
            self._loader,
            self._objects,
            writer,
            lambda: self._gate(self._warehouse, staging, item.batch),
        )
        return Outcome(batch, gate)

    def _loaded(self, item: Outcome, writer: LedgerWriter) -> Outcome:
        left_out = self._left_out(item.batch)
        # Before the load: after it nobody holds the batch, to try again if the store is away.
        self._objects.delete(_earlier_generations(item.batch))
        try:
            batch = load(item.batch, self._loader, writer, left_out)
        except IdsTakenError as taken:
            self._loader.drop_staging(item.batch)
            return replace(item, taken_by=tuple(taken.batch_ids))
        return replace(item, batch=batch)

    def _left_out(self, batch: Batch) -> list[int] | None:
        return self._ledger.duplicate_offsets(batch) if batch.recovering else None

    def _step(self, name: str, step: Stage, writer: LedgerWriter) -> Stage:
        return lambda item: self._guarded(item, name, step, writer)

    def _guarded(self, item: Outcome, name: str, step: Stage, writer: LedgerWriter) -> Outcome:
        if item.error is not None:
            return item
        try:
            with self._traces.step(item.batch, name):
                return step(item)
        except StoreError as error:
            self._record(item.batch, writer, error)
            return Outcome(item.batch, _gate_of(error) or item.gate, error)

    def _record(self, batch: Batch, writer: LedgerWriter, error: StoreError) -> None:
        # The step may have got further than its item says: a split, say, and then a failure.
        batch = writer.held(batch) or batch
        if isinstance(error, PermanentError):
            self._log.error("%s is quarantined: %s", batch.batch_id, error)
            writer.quarantined(batch, str(error))
            with suppress(StoreError):  # memory only; a later attempt replaces the tables anyway
                self._loader.drop_staging(batch)
            return
        self._stopping.set()
        self._log.warning("%s stays unfinished for now: %s", batch.batch_id, error)
        try:
            writer.failed(batch, str(error))
        except TransientError as lost:
            # The ledger itself is away: the locks went with it, and the attempt counts as a crash.
            self._log.warning("The ledger could not be told: %s", lost)

    def _give_back(self, item: Outcome, writer: LedgerWriter) -> Iterator[Outcome]:
        """Replace the batch's rows together with those of the batches that took its ids, itself first."""
        try:
            writer.reopen(item.taken_by, RECOVERY)
        except StoreError as refused:
            # One of them is in another run's hands by now: the batch waits for the next attempt.
            error = TransientError(str(refused))
            self._record(item.batch, writer, error)
            yield self._done(Outcome(item.batch, item.gate, error))
            return
        takers = [self._ledger.batch(batch_id) for batch_id in item.taken_by]
        claimed = [outcome.batch for outcome in self._claimed(takers, writer)]
        yield from self._replace([item.batch, *claimed], writer)

    def _replace(self, claimed: list[Batch], writer: LedgerWriter) -> Iterator[Outcome]:
        if not claimed:
            return
        gates: dict[str, GateResult | None] = {}
        at_work: list[Batch] = []

        def validated() -> Iterator[Batch]:
            for batch in claimed:
                at_work[:] = [batch]
                with self._traces.step(batch, "judge"):
                    judged = self._judged(Outcome(batch))
                with self._traces.step(batch, "validate"):
                    done = self._validated(judged, writer)
                at_work[:] = [done.batch]
                gates[batch.batch_id] = done.gate
                yield done.batch

        try:
            left_out = {batch.id: self._left_out(batch) for batch in claimed}
            replaced = replace_rows(claimed, validated, self._loader, writer, left_out)
            with self._traces.common_step(claimed, "load"):
                # All rows are replaced before the first batch comes.
                first = list(islice(replaced, 1))
            for batch in chain(first, replaced):
                self._objects.delete(_earlier_generations(batch))
                yield self._done(Outcome(batch, gates[batch.batch_id]))
        except StoreError as error:
            # No row was replaced. The batch that failed is told; the others wait for the next run.
            self._stopping.set()
            for batch in at_work:
                self._record(batch, writer, error)
                yield self._done(Outcome(batch, gate=_gate_of(error), error=error))


def _has_rows_to_replace(batch: Batch) -> bool:
    # What a recovery opened has lost its rows: it goes the way of a batch that is new.
    return batch.generation > 1 and batch.state is not BatchState.PLANNED and not batch.recovering


def _gate_of(error: StoreError) -> GateResult | None:
    return error.result if isinstance(error, GateFailed) else None


def _earlier_generations(batch: Batch) -> list[str]:
    return [
        key(batch, generation)
        for generation in range(1, batch.generation)
        for key in (validated_key, dead_letters_key)
    ]
