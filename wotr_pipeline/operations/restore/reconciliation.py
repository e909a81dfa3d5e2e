"""After a restore the three stores and Kafka may each remember another moment: this makes them agree.

1. Raw objects that the ledger counts and the bucket lacks are written again from Kafka, byte for byte: the sum in the
   ledger says whether they are the same. What Kafka no longer holds is named; its rows, where there are some, stay.
2. Raw objects that the ledger lacks are adopted, rows that the table lacks are loaded again, and what neither an
   object nor Kafka has is entered as a loss: that is the recovery (``operations/recovery.py``).
3. What came to Kafka after the point of the restore is planned by the sensor, as ever. If Kafka was lost too, its topic
   begins anew, and the ledger's chain of offsets cannot be continued: that is said, with what to do.

Each part is safe to repeat and to kill. Dry by default.

Belongs here: 1, and calling 2. Does not belong here: restoring (``restoring.py``).
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.recovery import Hours, Recovery, Stores
from wotr_pipeline.operations.recovery_report import Recovered
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.kafka_records import RecordReader
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import RAW
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.raw_parquet import encode
from wotr_pipeline.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Reconciled:
    """What was, or would be, made to agree."""

    applied: bool
    landed_again: int
    offsets_landed_again: int
    lost: tuple[str, ...]
    """A sentence for each raw object that is gone and that Kafka does not hold any more."""
    recovered: Recovered
    new_topic: str = ""
    """What to do if Kafka is another one than the ledger knows: it ends before what was planned of it."""

    @property
    def complete(self) -> bool:
        """Whether everything agrees."""
        return not self.lost and not self.new_topic and self.recovered.complete

    def lines(self) -> Iterator[str]:
        """For people."""
        verb = "were" if self.applied else "would be"
        yield (
            f"{self.landed_again:,} raw objects that the bucket lacked ({self.offsets_landed_again:,} offsets) {verb} "
            "written again from Kafka."
        )
        for sentence in self.lost:
            yield f"- {sentence}"
        yield from self.recovered.lines()
        if self.new_topic:
            yield self.new_topic


def reconcile(settings: Settings, run_id: str, log: logging.Logger, *, apply: bool = False) -> Reconciled:
    """Make ledger, bucket, table and Kafka agree; only say what differs, unless ``apply``.

    Raises:
        TransientError, PermanentError: a store is away or refuses; doing it again goes on.
    """
    objects = ObjectStore(settings)
    with Ledger(settings) as ledger, closing(Warehouse(settings, run_id)) as warehouse:
        missing = list(_without_object(settings, ledger, objects))
        again, lost = _land_again(settings, objects, missing, log, apply=apply)
        recovery = Recovery(Stores(settings, ledger, objects, warehouse), _kept(settings), run_id, log)
        for report in recovery.apply() if apply else recovery.survey():
            if not report.quiet:
                log.info("%s", report.line())
        return Reconciled(
            apply,
            len(again),
            sum(batch.records or 0 for batch in again),
            tuple(lost),
            recovery.result,
            _another_kafka(settings, ledger),
        )


def _another_kafka(settings: Settings, ledger: Ledger) -> str:
    """What to do if the topic is not the one that the ledger has planned; empty if it is."""
    topic = settings.kafka_topic
    with KafkaOffsets(settings) as offsets:
        held = offsets.watermarks(topic)
    behind = [
        partition
        for partition, until in ledger.planned_until(topic).items()
        if partition not in held or held[partition].high < until
    ]
    if not behind:
        return ""
    return (
        f"Kafka's topic {topic} is a new one: {len(behind)} of its partitions end before what the ledger has of them, and "
        "its offsets must not be taken for those. Everything that was backed up is here. To go on, give the topic another "
        f"name (KAFKA_TOPIC={topic}-2, for the pipeline, the gateway and the producers), then: wotr init, wotr up. "
        f"See {settings.runbook('runbook/disaster.md#kafka-is-lost-too')}"
    )


def _kept(settings: Settings) -> Hours:
    """The hours whose rows are not past their time."""
    first = datetime.now(UTC) - timedelta(days=settings.wotr_keep_rows_days)
    return Hours(first.replace(minute=0, second=0, microsecond=0), datetime.max.replace(tzinfo=UTC))


def _without_object(settings: Settings, ledger: Ledger, objects: ObjectStore) -> Iterator[Batch]:
    there = {found.key for found in objects.list(RAW)}
    # Older ones were deleted on purpose.
    since = datetime.now(UTC) - timedelta(days=settings.wotr_keep_raw_days)
    for hour in ledger.hours(settings.kafka_topic):
        for batch in ledger.batches(hour) if hour >= since else ():
            mine = batch.topic == settings.kafka_topic
            if mine and batch.raw_key and batch.raw_sha256 and batch.raw_key not in there:
                yield batch


def _land_again(
    settings: Settings, objects: ObjectStore, missing: list[Batch], log: logging.Logger, *, apply: bool
) -> tuple[list[Batch], list[str]]:
    """The batches whose object can be had again, and a sentence for each one that cannot."""
    again: list[Batch] = []
    lost: list[str] = []
    if not missing:
        return again, lost
    with RecordReader(settings) as reader:
        for batch in missing:
            try:
                records = reader.read(
                    batch.partition, batch.first_offset, batch.last_offset, settings.wotr_batch_bytes
                )
            except PermanentError as error:
                lost.append(
                    f"{batch.batch_id}: its raw object is gone, and from Kafka it cannot be had: {error}"
                )
                continue
            data = encode(records.table)
            digest = hashlib.sha256(data).hexdigest()
            if digest != batch.raw_sha256:
                lost.append(
                    f"{batch.batch_id}: its raw object is gone, and what Kafka holds of these offsets now is not what "
                    f"was landed (sha256 {digest[:12]}…, noted was {(batch.raw_sha256 or '')[:12]}…)."
                )
                continue
            if apply:
                metadata = {"sha256": digest, "records": str(records.table.num_rows)}
                objects.put(batch.raw_key or "", data, metadata)
                log.info("%s is landed again.", batch.batch_id)
            again.append(batch)
    return again, lost
