"""What the tests of dead letters share: rejected events in the pipeline, a desk to work at, a run that carries.

Belongs here: producing, carrying, and the account of ids. Does not belong here: any fault or assertion of one test.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wotr_pipeline.automation.planning import plan_batches
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.dead_letters.repairing import Repairs
from wotr_pipeline.operations.dead_letters.retrying import Retry
from wotr_pipeline.operations.dead_letters.triage import Triage, Triaged
from wotr_pipeline.stores.dead_letter import Letter, LetterFilter
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.produced import event
from wotr_pipeline_tests.runs import hour_run

LOG = logging.getLogger("desk")


def epoch_event(name: str, **payload: object) -> bytes:
    """An event whose timestamp is a number: rejected, and mended by ``timestamp_from_epoch``."""
    made: dict[str, Any] = json.loads(event(name, **payload))
    return json.dumps(made | {"timestamp": 1795420800}).encode()


@dataclass(frozen=True)
class Desk:
    """One operator's view of one space."""

    settings: Settings
    register: DeadLetterRegister
    who: str = "ann"

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore(self.settings)

    def triage(self) -> Triaged:
        return Triage(self.settings, self.register, self.objects, self.who, LOG).run()

    def retry(self) -> Retry:
        return Retry(self.settings, self.register, self.objects, self.who, LOG)

    def repairs(self) -> Repairs:
        return Repairs(self.register, self.objects, self.who)

    def letters(self, **wanted: Any) -> list[Letter]:
        return self.register.find(LetterFilter(**wanted), 1000)


def send(settings: Settings, values: Iterable[bytes | None]) -> None:
    with topics.sending(settings) as put:
        for value in values:
            put(value, b"key", [("trace", b"abc")])


def carry(settings: Settings) -> None:
    """Plan what is in Kafka and bring it to LOADED, as sensor and runs do."""
    with Ledger(settings) as ledger, KafkaOffsets(settings) as offsets:
        plan_batches(offsets, ledger, settings, datetime.now(UTC))
        for hour in sorted({batch.hour for batch in ledger.unfinished(settings.kafka_topic)}):
            run = hour_run(settings, ledger, run_id="carry")
            for outcome in run.catch_up(hour):
                assert outcome.error is None, outcome.error


def copies(settings: Settings) -> dict[str, int]:
    """Valid rows by id."""
    query = "SELECT id, count() FROM ingested_data WHERE validation_status = 'valid' GROUP BY id"
    return dict(Warehouse(settings).client.query(query).result_rows)
