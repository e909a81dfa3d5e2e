"""What other services put among the dead letters: objects below the prefix, records of the topic, whatever they hold."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from wotr_pipeline.automation.dead_letter_sensors import sweep
from wotr_pipeline.config import Settings
from wotr_pipeline.events.envelope import dead_letter, to_line
from wotr_pipeline.events.reasons import Reason
from wotr_pipeline.events.rules import Rejected
from wotr_pipeline.operations.account import account
from wotr_pipeline.operations.dead_letters.pruning import prune
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState, Origin
from wotr_pipeline.stores.dead_letter_contents import LetterContents
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.killed import killed
from wotr_pipeline_tests.operations.dead_letters.conftest import EPOCH
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, copies, epoch_event, send
from wotr_pipeline_tests.produced import BAD, event

ENVELOPE = to_line(
    dead_letter(
        Rejected(Reason.MISSING_FIELD, "id", "absent", source="billing"),
        topic="orders",
        partition=1,
        offset=7,
        kafka_timestamp=datetime(2026, 11, 23, 8, tzinfo=UTC),
        batch_id="orders:1",
        value=event("from-billing"),
    )
)


def put(desk: Desk, key: str, data: bytes) -> None:
    desk.objects.put(f"dead-letters/{key}", data)


def everything_swept(desk: Desk, pages: int = 100) -> int:
    cursor, found = "", 0
    for _ in range(pages):
        cursor, new = sweep(desk.objects, desk.register, cursor)
        found += new
        if not cursor:
            break
    return found


def test_objects_of_others_become_letters_whatever_they_hold(desk: Desk) -> None:
    put(desk, "billing/today.jsonl", ENVELOPE + event("plain") + b"\n\n" + epoch_event("late") + b"\n{cut")
    put(desk, "billing/picture.png", b"\x89PNG\r\n\x1a\n\x00\xff")
    put(desk, "billing/empty.jsonl", b"")
    assert everything_swept(desk) == 3
    assert desk.triage().others == 5
    letters = {letter.name.removeprefix("dead-letters/billing/"): letter for letter in desk.letters()}
    assert {name: letter.reason for name, letter in letters.items()} == {
        "today.jsonl#0": "missing_field",
        "today.jsonl#1": "refused_elsewhere",
        "today.jsonl#2": "wrong_type",
        "today.jsonl#3": "malformed_json",
        "picture.png#0": "invalid_encoding",
    }
    assert {letter.origin for letter in letters.values()} == {Origin.OBJECT}
    assert LetterContents(desk.objects).content(letters["today.jsonl#0"]).value == event("from-billing")
    assert everything_swept(desk) == 0
    assert not desk.triage().anything


def test_a_letter_of_others_is_retried_like_any_other(desk: Desk) -> None:
    put(desk, "billing/today.jsonl", ENVELOPE)
    everything_swept(desk)
    desk.triage()
    assert desk.retry().run(LetterFilter(), "billing asked for it").sent == 1
    carry(desk.settings)
    desk.triage()
    assert copies(desk.settings) == {"from-billing": 1}
    assert desk.letters()[0].state == LetterState.RESOLVED


def test_the_sweep_does_not_take_the_pipelines_own_objects_for_others(rejected: Desk) -> None:
    letters = rejected.letters()
    rejected.repairs()
    assert len(list(rejected.objects.list("dead-letters/"))) > 0
    assert everything_swept(rejected) == 0
    assert rejected.letters() == letters


def test_the_sweep_goes_on_where_it_ended_and_begins_anew_after_the_last(desk: Desk) -> None:
    for number in range(7):
        put(desk, f"others/{number}.jsonl", event(str(number)))
    cursor, found = sweep(desk.objects, desk.register, "", most=3)
    assert (cursor, found) == ("dead-letters/others/2.jsonl", 3)
    cursor, found = sweep(desk.objects, desk.register, cursor, most=3)
    assert (cursor, found) == ("dead-letters/others/5.jsonl", 3)
    assert sweep(desk.objects, desk.register, cursor, most=3) == ("", 1)


def test_records_of_the_dead_letter_topic_become_letters_once(desk: Desk) -> None:
    settings = desk.settings
    with topics.sending(settings, settings.kafka_dlq_topic) as put_on_topic:
        for value in (ENVELOPE, event("plain"), epoch_event("late"), None, b"\xff"):
            put_on_topic(value)
    assert desk.triage().received == 5
    assert [letter.reason for letter in desk.letters()] == [
        "missing_field",
        "refused_elsewhere",
        "wrong_type",
        "empty_message",
        "invalid_encoding",
    ]
    assert {letter.origin for letter in desk.letters()} == {Origin.TOPIC}
    assert not desk.triage().anything


def test_own_envelopes_are_published_up_to_the_bound_and_not_read_back(desk: Desk) -> None:
    settings = desk.settings.model_copy(update={"wotr_publish_dead_letters": 3})
    publishing = dataclasses.replace(desk, settings=settings)
    send(settings, map(epoch_event, "abcde"))
    carry(settings)
    done = publishing.triage()
    assert (done.published, done.received) == (3, 0)
    assert len(desk.letters()) == 5


def test_content_of_closed_letters_is_pruned_and_the_letters_stay(rejected: Desk) -> None:
    later = rejected.register.now() + timedelta(days=1)
    assert prune(rejected.register, rejected.objects, later, apply=True).keys == (), (
        "open letters keep theirs"
    )
    rejected.register.discard(LetterFilter(), "ann", "a test")
    dry = prune(rejected.register, rejected.objects, later, apply=False)
    assert dry.keys
    letter = rejected.letters()[0]
    assert LetterContents(rejected.objects).content(letter).value
    assert prune(rejected.register, rejected.objects, later, apply=True).keys == dry.keys
    pruned = rejected.register.letter(letter.name)
    assert pruned.state == LetterState.DISCARDED
    with pytest.raises(PermanentError, match="pruned"):
        LetterContents(rejected.objects).content(pruned)
    assert not list(rejected.objects.list("dead-letters/"))
    settings = rejected.settings
    with Ledger(settings) as ledger, KafkaOffsets(settings) as offsets:
        taken = account(settings, ledger, Warehouse(settings), offsets)
    assert (taken.balanced, taken.pruned, taken.dead_letters) == (True, len(EPOCH) + len(BAD), 0)


def prune_all(settings: Settings, before: datetime) -> None:
    with DeadLetterRegister(settings) as register:
        prune(register, ObjectStore(settings), before, apply=True)


def test_content_that_a_killed_run_noted_as_pruned_and_left_goes_with_the_next_one(rejected: Desk) -> None:
    rejected.register.discard(LetterFilter(), "ann", "a test")
    later = rejected.register.now() + timedelta(days=1)
    killed(prune_all, rejected.settings, later, at=DeadLetterRegister.note_pruned, moment="after")
    assert list(rejected.objects.list("dead-letters/"))
    assert prune(rejected.register, rejected.objects, later, apply=True).keys == ()
    assert not list(rejected.objects.list("dead-letters/"))
