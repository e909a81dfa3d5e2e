"""The account: what Kafka took in, against what the ledger, the objects and the table hold.

Each number is counted where it lies, none is derived from another: offsets in Kafka, counts in the
ledger, records in the raw objects (their Parquet footers), dead letters in their objects, rows in
ClickHouse. ``balanced`` is promise 1 and 2 of the design in one word.

Belongs here: counting and comparing. Does not belong here: repair (``assets/``), or the standing checks
that compare one hour at a time (``checks/``).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch, BatchState
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import DEAD_LETTERS, RAW
from wotr_pipeline.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Account:
    """Counts of one topic at one moment, or of the time between two (``since``)."""

    produced: int
    """Offsets from the first planned one to Kafka's end, all partitions together."""
    planned: int
    """Offsets in batches. ``produced - planned`` wait for the next tick of the sensor."""
    landed: int
    """Offsets in batches whose raw object is noted."""
    batches: int
    unfinished: int
    quarantined: int
    records: int
    """Records that the ledger counts in landed batches. Compaction and transactions leave offsets without."""
    valid: int
    rejected: int
    duplicates: int
    object_records: int
    """Records in the raw objects of landed batches."""
    valid_rows: int
    failed_rows: int
    pruned: int = 0
    """Rejected records whose envelopes were deleted on purpose, long after they were closed."""
    retired: int = 0
    """Batches past their time: raw objects or rows of theirs may be deleted, and nothing of them is counted."""
    failed_by_reason: Mapping[str, int] = field(default_factory=dict)
    """Failed rows in ClickHouse, by reason code."""
    dead_letters_by_reason: Mapping[str, int] = field(default_factory=dict)
    """Envelopes in the dead-letter objects, by reason code."""

    @property
    def loaded(self) -> int:
        """Rows in the table, valid and failed."""
        return self.valid_rows + self.failed_rows

    @property
    def dead_letters(self) -> int:
        return sum(self.dead_letters_by_reason.values())

    def differences(self) -> Iterator[str]:
        """One line for each sum that does not come out; none when the account balances."""
        if self.produced != self.planned:
            yield f"{self.produced - self.planned} offsets are in Kafka and not planned yet (sensor kafka_offsets)"
        if self.unfinished:
            yield f"{self.unfinished} batches are unfinished (a run takes them, or wotr run-etl)"
        if self.quarantined:
            yield f"{self.quarantined} batches are quarantined (the ledger's last_error says why)"
        sums = (
            ("records in raw objects", self.object_records, "records in the ledger", self.records),
            ("valid + rejected", self.valid + self.rejected, "records in the ledger", self.records),
            ("valid rows", self.valid_rows, "valid - duplicates", self.valid - self.duplicates),
            ("failed rows", self.failed_rows, "rejected", self.rejected),
            ("dead letters", self.dead_letters, "rejected - pruned", self.rejected - self.pruned),
        )
        for left, found, right, expected in sums:
            if found != expected:
                yield f"{left} are {found}, {right} {expected}: a difference of {found - expected}"
        for reason in sorted({*self.failed_by_reason, *self.dead_letters_by_reason}):
            rows, letters = self.failed_by_reason.get(reason, 0), self.dead_letters_by_reason.get(reason, 0)
            # Of pruned ones only their number is known.
            if letters > rows or (letters < rows and not self.pruned):
                yield f"reason {reason}: {rows} failed rows, {letters} dead letters"

    @property
    def balanced(self) -> bool:
        """Whether produced = loaded + duplicates (+ offsets without a record), and every sum comes out."""
        return not any(self.differences())

    def since(self, earlier: Self) -> "Account":
        """What was added after ``earlier`` was taken."""
        values = {}
        for name, value in vars(self).items():
            before = getattr(earlier, name)
            if isinstance(value, int):
                values[name] = value - before
            else:
                added = {reason: count - before.get(reason, 0) for reason, count in value.items()}
                values[name] = {reason: count for reason, count in added.items() if count}
        return Account(**values)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: the fields, the sums and what does not come out."""
        sums = {"loaded": self.loaded, "dead_letters": self.dead_letters, "balanced": self.balanced}
        return {**asdict(self), **sums, "differences": list(self.differences())}

    def lines(self) -> Iterator[str]:
        """The account as a table for people."""
        without_record = self.landed - self.records if self.landed else 0
        for name, count, where in (
            ("produced", self.produced, "offsets in Kafka since the plan began"),
            ("planned", self.planned, f"offsets in {self.batches} batches of the ledger"),
            ("landed", self.landed, f"offsets in raw objects; {without_record} of them without a record"),
            ("records", self.object_records, "records in the raw objects"),
            ("loaded", self.loaded, "rows in ClickHouse:"),
            ("  valid", self.valid_rows, "rows"),
            ("  failed", self.failed_rows, "rows, each with its dead letter:"),
            *(
                (f"    {reason}", count, "dead letters")
                for reason, count in sorted(
                    self.dead_letters_by_reason.items(), key=lambda item: (-item[1], item[0])
                )
            ),
            ("duplicates", self.duplicates, "valid events whose id was there already"),
            ("unfinished", self.unfinished, "batches"),
            ("quarantined", self.quarantined, "batches"),
            *(
                (("past their time", self.retired, "batches, not counted above: retention may delete them"),)
                if self.retired
                else ()
            ),
        ):
            yield f"{name:<34} {count:>12,}  {where}"
        problems = list(self.differences())
        if problems:
            yield "The account does not balance:"
            yield from (f"  - {problem}" for problem in problems)
        else:
            yield (
                f"It balances: {self.produced:,} produced = {self.valid_rows:,} loaded "
                f"+ {self.duplicates:,} duplicates + {self.dead_letters:,} dead letters"
                + (f" + {self.pruned:,} pruned ones" if self.pruned else "")
                + (f" + {without_record:,} offsets without a record" if without_record else "")
            )


def account(settings: Settings, ledger: Ledger, warehouse: Warehouse, offsets: KafkaOffsets) -> Account:
    """Count everything of the settings' topic. Reads each store once; runs may go on meanwhile, but then
    the sums need not come out.

    Raises:
        TransientError: a store is away. PermanentError: it refuses.
    """
    topic = settings.kafka_topic
    first = first_kept_hour(settings, datetime.now(UTC))
    every = _batches(settings, ledger)
    batches = [batch for batch in every if batch.hour >= first]
    landed = [batch for batch in batches if batch.raw_key is not None]
    planned_until = ledger.planned_until(topic)
    behind = sum(
        max(0, held.high - planned_until.get(partition, held.low))
        for partition, held in offsets.watermarks(topic).items()
    )
    planned = sum(batch.offsets for batch in batches)
    rows = warehouse.select(
        "account_rows", {"batches": f"{topic}:", "first_hour": int(first.timestamp())}
    ).to_pylist()
    pruned = ledger.pruned_objects([batch.dead_letters_key for batch in batches if batch.dead_letters_key])
    failed = {row["reason"]: row["rows"] for row in rows if row["status"] == "failed"}
    return Account(
        produced=planned + behind,
        planned=planned,
        landed=sum(batch.offsets for batch in landed),
        batches=len(batches),
        unfinished=sum(batch.state.unfinished for batch in batches),
        quarantined=sum(batch.state is BatchState.QUARANTINED for batch in batches),
        records=sum(batch.records or 0 for batch in landed),
        valid=sum(batch.valid or 0 for batch in batches),
        rejected=sum(batch.rejected or 0 for batch in batches),
        duplicates=sum(batch.duplicate or 0 for batch in batches),
        object_records=_object_records(settings, warehouse, landed),
        valid_rows=sum(row["rows"] for row in rows if row["status"] == "valid"),
        failed_rows=sum(failed.values()),
        pruned=sum(batch.rejected or 0 for batch in batches if batch.dead_letters_key in pruned),
        retired=len(every) - len(batches),
        failed_by_reason=failed,
        dead_letters_by_reason=_dead_letters(settings, warehouse, batches),
    )


def first_kept_hour(settings: Settings, now: datetime) -> datetime:
    """The first hour of which retention deletes neither raw objects (by hours) nor rows (by whole months)."""
    oldest = now - timedelta(days=settings.wotr_keep_rows_days)
    rows = oldest.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    raw = now - timedelta(days=settings.wotr_keep_raw_days) + timedelta(hours=1)
    return max(rows, raw.replace(minute=0, second=0, microsecond=0), settings.wotr_first_hour)


def _batches(settings: Settings, ledger: Ledger) -> list[Batch]:
    # Arrival hours lie between the first partition and the hour of planning.
    end = datetime.now(UTC) + timedelta(hours=2)
    every = ledger.batches_between(settings.wotr_first_hour, end)
    return [batch for batch in every if batch.topic == settings.kafka_topic]


def _object_records(settings: Settings, warehouse: Warehouse, landed: list[Batch]) -> int:
    pattern = f"{settings.minio_bucket}/{RAW}**/{settings.kafka_topic}-*.parquet"
    known = {f"{settings.minio_bucket}/{batch.raw_key}" for batch in landed}
    table = warehouse.select("account_raw_objects", {"pattern": pattern})
    return sum(row["records"] for row in table.to_pylist() if row["path"] in known)


def _dead_letters(settings: Settings, warehouse: Warehouse, batches: list[Batch]) -> dict[str, int]:
    pattern = f"{settings.minio_bucket}/{DEAD_LETTERS}**/{settings.kafka_topic}-*.jsonl"
    # An object of a judgement that was overtaken may still be there; the ledger names the one that holds.
    known = {
        f"{settings.minio_bucket}/{batch.dead_letters_key}" for batch in batches if batch.dead_letters_key
    }
    table = warehouse.select("account_dead_letters", {"pattern": pattern})
    letters: Counter[str] = Counter()
    for row in table.to_pylist():
        if row["path"] in known:
            letters[row["reason"]] += row["letters"]
    return dict(letters)
