"""Triage: what was rejected, wherever it lies, gets into the register, and retries get their verdict.

Four sources: the envelopes of loaded batches, the dead-letter topic, objects of others below ``dead-letters/``,
and the batches that retries lie in. Each step is entered together with what it has seen, so a kill costs only
time; repeating changes nothing.

Belongs here: that work, and looking whether there is any.
Does not belong here: how others' objects are noticed (``automation/dead_letter_sensors.py`` lists them), the rules
of the register (``stores/dead_letter_register.py``).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.dead_letter import Origin, Settled
from wotr_pipeline.stores.dead_letter_contents import (
    PUBLISHED_HEADER,
    LetterContents,
    ReceivedRecord,
)
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.errors import PermanentError, StoreError, TransientError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.kafka_records import RecordReader
from wotr_pipeline.stores.object_keys import received_key
from wotr_pipeline.stores.objects import ObjectStore

BATCHES_AT_ONCE = 100
OBJECTS_AT_ONCE = 100
SLICE_RECORDS = 10_000
SLICE_BYTES = 64 * 1024**2


@dataclass
class Triaged:
    """What a triage did. ``problems`` are sentences for an operator; none of them held up the rest."""

    batches: int = 0
    letters: int = 0
    """Rejected records of those batches, retries among them."""
    received: int = 0
    """Records of the dead-letter topic."""
    others: int = 0
    """Letters in objects of others."""
    published: int = 0
    settled: Settled = field(default_factory=Settled)
    problems: list[str] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether it had something to do."""
        return (
            bool(self.batches or self.received or self.others or self.problems) or self.settled != Settled()
        )


@dataclass(frozen=True)
class Waiting:
    """What a triage would do now."""

    batches: bool
    objects: bool
    retries: int
    received: int

    @property
    def anything(self) -> bool:
        """Whether a triage is worth its start."""
        return self.batches or self.objects or bool(self.retries) or bool(self.received)

    def describe(self) -> str:
        """In words."""
        told = [
            text
            for text, there in (
                ("rejected records of loaded batches", self.batches),
                ("objects of others", self.objects),
                (f"{self.retries} retries without a verdict", self.retries),
                (f"{self.received} records of the dead-letter topic", self.received),
            )
            if there
        ]
        return ", ".join(told) or "nothing"


class Triage:
    """One triage, or several one after the other, by ``who``."""

    def __init__(
        self,
        settings: Settings,
        register: DeadLetterRegister,
        objects: ObjectStore,
        who: str,
        log: logging.Logger,
    ) -> None:
        self._settings = settings
        self._register = register
        self._objects = objects
        self._contents = LetterContents(objects)
        self._who = who
        self._log = log

    def waiting(self) -> Waiting:
        """Whether there is something to do. Raises TransientError when a store is away."""
        return Waiting(
            batches=bool(self._register.batches_to_enter(1)),
            objects=bool(self._register.objects_to_enter(1)),
            retries=self._register.under_way(),
            received=sum(high - low for _, low, high in self._unread()),
        )

    def run(self) -> Triaged:
        """Enter and settle everything there is.

        Raises:
            TransientError: the ledger or the object store is away, or another triage is at work. What was entered
                stays entered.
            PermanentError: the ledger refuses.
        """
        done = Triaged()
        with self._register.exclusively("triage"):
            self._enter_batches(done)
            done.settled += self._register.settle(self._who)
            for enter in (self._enter_received, self._enter_others):
                try:
                    enter(done)
                except StoreError as error:
                    done.problems.append(str(error))
        return done

    def settle(self) -> Settled:
        """Only what retries wait for: batches that are LOADED since. Nothing while another triage is at work."""
        done = Triaged()
        try:
            with self._register.exclusively("triage"):
                self._enter_batches(done)
                return done.settled + self._register.settle(self._who)
        except TransientError as error:
            self._log.info("%s", error)
            return Settled()

    def _enter_batches(self, done: Triaged) -> None:
        refused: set[int] = set()
        while batches := [
            b for b in self._register.batches_to_enter(BATCHES_AT_ONCE + len(refused)) if b.id not in refused
        ]:
            for batch in batches:
                try:
                    self._enter_batch(batch, done)
                except PermanentError as error:
                    refused.add(batch.id)
                    done.problems.append(f"{batch.batch_id}: {error}")

    def _enter_batch(self, batch: Batch, done: Triaged) -> None:
        found = self._contents.of_batch(batch)
        settled = self._register.enter_batch(batch, found, self._who)
        if settled is None:
            # A run has reopened it: it comes again once it is LOADED.
            return
        done.batches += 1
        done.letters += len(found)
        done.settled += settled
        self._publish(batch, len(found), done)

    def _publish(self, batch: Batch, letters: int, done: Triaged) -> None:
        """For other services: the batch's envelopes into the dead-letter topic, as far as the bound allows."""
        room = self._settings.wotr_publish_dead_letters - done.published
        if room <= 0 or not letters or not batch.dead_letters_key:
            return
        lines = self._objects.get(batch.dead_letters_key).splitlines()[:room]
        with EventProducer(self._settings, self._settings.kafka_dlq_topic) as producer:
            for line in lines:
                producer.send(line, headers=[(PUBLISHED_HEADER, b"1")])
        done.published += len(lines)

    def _unread(self) -> Iterator[tuple[int, int, int]]:
        """Partitions of the dead-letter topic with their first offset to read and their end."""
        topic = self._settings.kafka_dlq_topic
        until = self._register.read_until(topic)
        with KafkaOffsets(self._settings) as offsets:
            for partition, held in offsets.watermarks(topic).items():
                first = max(held.low, until.get(partition, held.low))
                if first < held.high:
                    yield partition, first, held.high

    def _enter_received(self, done: Triaged) -> None:
        topic = self._settings.kafka_dlq_topic
        settings = self._settings.model_copy(update={"kafka_topic": topic})
        unread = list(self._unread())
        if not unread:
            return
        with RecordReader(settings) as reader:
            for partition, first, high in unread:
                while first < high:
                    last = min(first + SLICE_RECORDS, high) - 1
                    piece = reader.read(partition, first, last, SLICE_BYTES)
                    records = _foreign(piece.table.to_pylist())
                    key = received_key(topic, partition, first, piece.last_offset) if records else ""
                    found = self._contents.keep_received(key, topic, partition, records) if records else []
                    self._register.enter_slice(
                        key, piece.bytes, found, topic, partition, piece.last_offset + 1, self._who
                    )
                    done.received += len(found)
                    first = piece.last_offset + 1

    def _enter_others(self, done: Triaged) -> None:
        while waiting := self._register.objects_to_enter(OBJECTS_AT_ONCE):
            for key, size in waiting:
                there = self._objects.head(key)
                found = self._contents.of_others(key, size, there.modified) if there else []
                self._register.enter_object(key, size, Origin.OBJECT, found, self._who)
                done.others += len(found)


def _foreign(rows: list[dict[str, Any]]) -> list[ReceivedRecord]:
    """The records that this pipeline did not put there itself."""
    records = []
    for row in rows:
        headers = tuple((header["name"], header["value"]) for header in row["headers"] or ())
        if PUBLISHED_HEADER not in dict(headers):
            moment = row["kafka_timestamp"] or datetime.now(UTC)
            records.append(ReceivedRecord(row["kafka_offset"], moment, row["value"], row["key"], headers))
    return records
