"""Trace one event: every step it took, with time, object, offset, run and verdict.

An id is looked up where it is indexed: in the table by its hash, in the register of dead letters, in the gateway's
register of ids. What a batch did for all its events (landed, judged, loaded) is told by the ledger. A copy that was
left out as a duplicate has no row of its own: its batch counts it, and the row that is there is told.

Belongs here: putting the steps of one id together. Does not belong here: looking at content.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from .batch import Batch
from .dead_letter import Letter
from .dead_letter_reading import LetterReading
from .errors import PermanentError
from .ledger import Acceptance, Ledger
from .warehouse import Warehouse


@dataclass(frozen=True)
class Step:
    """One thing that happened. ``at`` is None where no time is on record."""

    at: datetime | None
    what: str
    where: str
    run: str = ""


@dataclass(frozen=True)
class Trace:
    """All that is known of an id, in the order of time."""

    event_id: str
    verdict: str
    steps: tuple[Step, ...]

    @property
    def known(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.steps)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"event {self.event_id}: {self.verdict}"
        for step in self.steps:
            at = f"{step.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if step.at else "-"
            run = f"  (run {step.run})" if step.run else ""
            yield f"  {at:<23}  {step.what:<44} {step.where}{run}"

    def as_json(self) -> dict[str, Any]:
        """For programs; times in ISO 8601."""
        steps = [asdict(step) | {"at": step.at and step.at.isoformat()} for step in self.steps]
        return {"id": self.event_id, "verdict": self.verdict, "steps": steps}


def trace_event(event_id: str, ledger: Ledger, register: LetterReading, warehouse: Warehouse) -> Trace:
    """Everything that is known of an id.

    Raises:
        TransientError, PermanentError: a store is away or refuses.
    """
    if not event_id or "\0" in event_id:  # no event can have such an id, and PostgreSQL takes no NUL
        return Trace(event_id, _verdict([], [], None), ())
    rows = warehouse.select("trace_event", {"id": event_id}).to_pylist()
    letters = {letter.name: letter for letter in register.of_event(event_id)}
    steps: list[Step] = []
    accepted = ledger.accepted_by_gateway(event_id)
    if accepted is not None:
        steps += _accepted_steps(accepted, ledger, is_loaded=bool(rows))
    for row in rows:
        topic = row["batch_id"].rsplit(":", 2)[0]
        place = f"{topic}:{row['kafka_partition']}:{row['kafka_offset']}"
        steps += _row_steps(row, place, _batch(ledger, row["batch_id"]))
        origin = register.retry_at(topic, row["kafka_partition"], row["kafka_offset"])
        if origin is not None:
            letters[origin.name] = origin
    for letter in letters.values():
        steps += _letter_steps(letter, register)
    ordered = sorted(steps, key=lambda step: step.at or datetime.max.replace(tzinfo=UTC))
    return Trace(event_id, _verdict(rows, list(letters.values()), accepted), tuple(ordered))


def _batch(ledger: Ledger, batch_id: str) -> Batch | None:
    try:
        return ledger.batch(batch_id)
    except PermanentError:
        return None  # rows of a batch that the ledger lost: what the row itself says is told


def _accepted_steps(accepted: Acceptance, ledger: Ledger, *, is_loaded: bool) -> Iterator[Step]:
    if accepted.topic is None or accepted.partition is None or accepted.offset is None:
        yield Step(accepted.created_at, "accepted by the gateway", "acknowledged by Kafka before the answer")
        return
    place = f"{accepted.topic}:{accepted.partition}:{accepted.offset}"
    yield Step(accepted.created_at, "accepted by the gateway", f"acknowledged by Kafka: {place}")
    if is_loaded:
        return  # its row tells the rest
    batch = ledger.batch_at(accepted.topic, accepted.partition, accepted.offset)
    if batch is not None:
        yield Step(batch.planned_at, "planned", f"batch {batch.batch_id}, {batch.state.value}")
        if batch.raw_key:
            yield Step(batch.landed_at, "landed", batch.raw_key)


def _row_steps(row: dict[str, Any], place: str, batch: Batch | None) -> Iterator[Step]:
    yield Step(row["created_at"], "arrived in Kafka", place)
    if batch is None:
        yield Step(None, "the ledger does not have its batch", row["batch_id"])
        return
    run = batch.run_id or ""
    verdict = (
        "valid"
        if row["status"] == "valid"
        else f"rejected: {row['error_code']}, {row['error_field'] or 'the message'}: {row['error_message']}"
    )
    yield Step(batch.planned_at, "planned", f"batch {batch.batch_id}")
    yield Step(batch.landed_at, "landed", batch.raw_key or "")
    yield Step(batch.validated_at, f"judged by rules {batch.rules_version}", verdict, run)
    if row["status"] == "failed" and batch.dead_letters_key:
        yield Step(batch.validated_at, "written as a dead letter", batch.dead_letters_key, run)
    again = f", generation {batch.generation}" if batch.generation > 1 else ""
    yield Step(batch.loaded_at, f"loaded as a {row['status']} row{again}", "ingested_data", run)


def _letter_steps(letter: Letter, register: LetterReading) -> Iterator[Step]:
    for change in register.history(letter):
        before = f"{change.from_state.value} → " if change.from_state else ""
        yield Step(
            change.at,
            f"dead letter {before}{change.to_state.value}",
            f"{letter.name}: {change.who}: {change.why}",
        )
    for attempt in register.attempts(letter):
        place = (
            f"{attempt.topic}:{attempt.partition}:{attempt.offset}"
            if attempt.offset is not None
            else "not sent yet"
        )
        yield Step(
            attempt.begun_at,
            f"retry {attempt.attempt}, version {attempt.fix_version}: {attempt.outcome or 'no verdict yet'}",
            place,
        )


def _verdict(rows: list[dict[str, Any]], letters: list[Letter], accepted: Acceptance | None) -> str:
    valid = [row for row in rows if row["status"] == "valid"]
    if valid:
        row = valid[0]
        repaired = ", repaired from a dead letter" if letters else ""
        return f"loaded{repaired}: {row['event_type']} of {row['source']}, happened {row['timestamp']:%Y-%m-%d %H:%M:%S}"
    if letters:
        return f"a dead letter, {letters[-1].state.value}: {letters[-1].reason}"
    if rows:
        return f"rejected: {rows[0]['error_code']}"
    if accepted is not None:
        return "accepted, and not loaded yet: see wotr batches --unfinished"
    return (
        "unknown. It was never sent, or it is not loaded yet (wotr batches --unfinished), or its id could not be read: "
        "then look for it by time and source, wotr dlq list"
    )
