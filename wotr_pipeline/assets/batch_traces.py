"""The trace of each batch of a run: one span from claim to outcome, with a child a step.

A batch's steps run in different threads and its name may change on the way (a split), so the open spans are kept here
by the batch's number in the ledger. While tracing is off all of it does nothing.

Belongs here: which spans a run's batches have and what they say.
Does not belong here: the order of work (``hour_run.py``), OpenTelemetry (``telemetry.py``).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from wotr_pipeline import telemetry
from wotr_pipeline.stores.batch import Batch


class BatchTraces:
    """The spans of one run's batches, used from its threads."""

    def __init__(self) -> None:
        self._open: dict[int, telemetry.Work] = {}

    def begin(self, batch: Batch) -> None:
        """The batch is claimed."""
        self._open[batch.id] = telemetry.begin(
            "batch",
            topic=batch.topic,
            partition=batch.partition,
            first_offset=batch.first_offset,
            generation=batch.generation,
            attempt=batch.attempts,
        )

    def step(self, batch: Batch, name: str) -> AbstractContextManager[None]:
        """What the thread does inside is a step of the batch."""
        return self._open.get(batch.id, telemetry.NO_WORK).step(name)

    @contextmanager
    def common_step(self, batches: list[Batch], name: str) -> Iterator[None]:
        """What is done for several batches at once is a step of each."""
        with ExitStack() as stack:
            for batch in batches:
                stack.enter_context(self.step(batch, name))
            yield

    def end(self, batch: Batch, error: BaseException | None = None) -> None:
        """The batch is as the run leaves it."""
        self._open.pop(batch.id, telemetry.NO_WORK).end(
            error,
            batch_id=batch.batch_id,
            state=str(batch.state),
            last_offset=batch.last_offset,
            records=batch.records,
            valid=batch.valid,
            rejected=batch.rejected,
            duplicate=batch.duplicate,
        )

    def close(self) -> None:
        """The run ends: what is still open was given up."""
        while self._open:
            self._open.popitem()[1].end(given_up=True)
