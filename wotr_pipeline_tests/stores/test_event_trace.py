"""Where one event is: loaded, rejected, repaired, twice sent, unknown."""

import json
from collections.abc import Iterator

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.events.repair import Transformation
from wotr_pipeline.stores.dead_letter import LetterFilter
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.event_trace import Trace, trace_event
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, epoch_event, send
from wotr_pipeline_tests.produced import event


@pytest.fixture
def desk(space: Settings) -> Iterator[Desk]:
    with DeadLetterRegister(space) as register:
        yield Desk(space, register)


def trace(desk: Desk, event_id: str) -> Trace:
    with Ledger(desk.settings) as ledger:
        return trace_event(event_id, ledger, desk.register, Warehouse(desk.settings))


def test_a_loaded_event_tells_every_step_with_time_object_offset_and_run(desk: Desk) -> None:
    send(desk.settings, [event("first"), event("wanted"), event("wanted")])
    carry(desk.settings)
    found = trace(desk, "wanted")
    assert found.verdict.startswith("loaded: api_call of tests")
    steps = {step.what: step for step in found.steps}
    assert list(steps) == [
        "arrived in Kafka",
        "planned",
        "landed",
        f"judged by rules {steps_rules(found)}",
        "loaded as a valid row",
    ]
    assert steps["arrived in Kafka"].where.startswith(f"{desk.settings.kafka_topic}:")
    assert steps["landed"].where.startswith("raw/date=")
    assert steps["loaded as a valid row"].run == "carry"
    times = [step.at for step in found.steps]
    assert all(times)
    assert json.loads(json.dumps(found.as_json()))["id"] == "wanted"


def steps_rules(found: Trace) -> str:
    return next(step.what.removeprefix("judged by rules ") for step in found.steps if "rules" in step.what)


def test_a_repaired_event_tells_of_its_dead_letter_and_its_retry(desk: Desk) -> None:
    send(desk.settings, [epoch_event("broken")])
    carry(desk.settings)
    desk.triage()
    assert trace(desk, "broken").verdict == "a dead letter, NEW: wrong_type"
    wanted = LetterFilter(fields=("timestamp",))
    desk.repairs().run(wanted, Transformation("timestamp_from_epoch"), "epochs", apply=True)
    desk.retry().run(wanted, "epochs")
    carry(desk.settings)
    desk.triage()
    found = trace(desk, "broken")
    assert found.verdict.startswith("loaded, repaired from a dead letter")
    told = [step.what for step in found.steps]
    assert "dead letter RETRYING → RESOLVED" in told
    assert "retry 1, version 1: passed" in told
    assert "loaded as a failed row" in told
    assert "loaded as a valid row" in told


def test_an_unknown_id_says_where_else_to_look(desk: Desk) -> None:
    found = trace(desk, "never'sent\0")
    assert not found.known
    assert "wotr dlq list" in found.verdict
