"""The table of states in ``dead_letter_register.py``: one test a row, of the row's number."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.stores import dead_letter_register
from wotr_pipeline.stores.batch import Batch, PlannedRange
from wotr_pipeline.stores.dead_letter import Found, Letter, LetterFilter, LetterState, Settled
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.ledger import Ledger

SHA256 = "0123456789abcdef" * 4
TRIES = 3


@pytest.fixture
def register(ledger_settings: Settings, topic: str) -> Iterator[DeadLetterRegister]:
    settings = ledger_settings.model_copy(update={"kafka_topic": topic, "wotr_dead_letter_tries": TRIES})
    with DeadLetterRegister(settings) as register:
        yield register


@pytest.fixture
def load(ledger: Ledger, topic: str, hour: datetime) -> Callable[..., Batch]:
    """A LOADED batch of the next 100 offsets; ``again`` judges it anew, as its next generation."""

    def load(rejected: int, again: Batch | None = None) -> Batch:
        if again is None:
            first = ledger.planned_until(topic).get(0, 0)
            (batch,) = ledger.plan([PlannedRange(topic, 0, first, first + 99, hour)])
        else:
            (batch,) = ledger.reopen([again.batch_id], "other rules")
        with ledger.writer("run-1") as writer:
            claimed = writer.claim(batch)
            assert claimed is not None
            if again is None:
                claimed = writer.landed(claimed, 100, f"raw/{batch.batch_id}.parquet", SHA256, 4711)
            key = f"dead-letters/{batch.batch_id}.g{batch.generation}.jsonl" if rejected else None
            claimed = writer.validated(
                claimed, 100 - rejected, rejected, "validated/x.parquet", key, "rules-1"
            )
            return writer.loaded(claimed, 0)

    return load


def found(
    batch: Batch, *offsets: int, retry_of: Letter | None = None, reason: str = "missing_field"
) -> list[Found]:
    """The envelopes of records at these places of the batch."""
    return [
        Found(
            name=f"{batch.topic}:0:{batch.first_offset + offset}",
            line=line,
            reason=reason,
            field="id",
            message="absent",
            rules_version="rules-1",
            source="web",
            event_type="metric",
            version="1.0",
            event_id="",
            size=17,
            arrived_at=datetime(2026, 11, 23, 8, tzinfo=UTC),
            retry_of=retry_of.name if retry_of else "",
            retry_attempt=retry_of.attempts if retry_of else 0,
        )
        for line, offset in enumerate(offsets)
    ]


@pytest.fixture
def new(register: DeadLetterRegister, load: Callable[..., Batch]) -> Letter:
    """A NEW letter, the only one of its batch."""
    batch = load(1)
    envelopes = found(batch, 7)
    assert register.enter_batch(batch, envelopes, "run-1") == Settled()
    return register.letter(envelopes[0].name)


def only(letter: Letter) -> LetterFilter:
    return LetterFilter(names=(letter.name,))


def begin(register: DeadLetterRegister, letter: Letter) -> Letter:
    """A retry of the letter that is on record and not sent."""
    assert register.begin([letter.id], "ann", "again") == [letter.id]
    return register.letter(letter.name)


def reject(register: DeadLetterRegister, load: Callable[..., Batch], letter: Letter) -> Batch:
    """A retry of the letter that comes back, in a batch of its own."""
    retried = begin(register, letter)
    batch = load(1)
    register.enter_batch(batch, found(batch, 3, retry_of=retried, reason="wrong_type"), "run-2")
    return batch


def states(register: DeadLetterRegister, letter: Letter) -> list[tuple[str | None, str]]:
    return [(change.from_state, change.to_state) for change in register.history(letter)]


def test_every_row_of_the_table_has_a_test_of_its_number() -> None:
    rows = re.findall(r"^ ?(\d+)  \S", dead_letter_register.__doc__ or "", flags=re.MULTILINE)
    tests = {name.split("_")[2] for name in globals() if name.startswith("test_row_")}
    assert rows == [str(number) for number in range(1, len(rows) + 1)]
    assert tests == {f"{int(row):02}" for row in rows}


def test_row_01_what_a_batch_rejected_is_a_new_letter(register: DeadLetterRegister, new: Letter) -> None:
    assert (new.state, new.tries, new.reason, new.source) == (LetterState.NEW, 0, "missing_field", "web")
    (change,) = register.history(new)
    assert (change.who, change.from_state, change.to_state) == ("run-1", None, LetterState.NEW)
    assert register.batches_to_enter(10) == []


def test_row_01_a_header_that_names_no_attempt_on_record_makes_no_retry(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch]
) -> None:
    forged = replace(new, attempts=1)
    batch = load(1)
    envelopes = found(batch, 1, retry_of=forged)
    register.enter_batch(batch, envelopes, "run-2")
    assert register.letter(envelopes[0].name).state == LetterState.NEW
    assert register.letter(new.name) == new


def test_row_02_a_letter_is_entered_once_and_gets_the_newer_verdict(
    register: DeadLetterRegister, load: Callable[..., Batch]
) -> None:
    batch = load(1)
    register.enter_batch(batch, found(batch, 7), "run-1")
    register.enter_batch(batch, found(batch, 7), "run-1")
    anew = load(1, again=batch)
    register.enter_batch(anew, found(anew, 7, reason="wrong_type"), "run-2")
    letter = register.letter(found(batch, 7)[0].name)
    assert (letter.reason, letter.generation, letter.object_key) == ("wrong_type", 2, anew.dead_letters_key)
    assert states(register, letter) == [(None, "NEW")]


def test_row_03_an_attempt_is_on_record_before_it_is_sent(register: DeadLetterRegister, new: Letter) -> None:
    retried = begin(register, new)
    assert (retried.state, retried.tries, retried.attempts) == (LetterState.RETRYING, 1, 1)
    (attempt,) = register.attempts(new)
    assert (attempt.attempt, attempt.who, attempt.offset, attempt.outcome) == (1, "ann", None, None)
    assert register.unsent() == [new.id]


@pytest.mark.parametrize("state", ["RETRYING", "RESOLVED", "DISCARDED", "QUARANTINED"])
def test_row_04_only_a_new_letter_is_retried(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch], state: str
) -> None:
    if state in ("RETRYING", "RESOLVED"):
        begin(register, new)
    if state == "RESOLVED":
        batch = load(0)
        register.note_positions([(new.id, 1, batch.topic, 0, batch.first_offset)])
        register.enter_batch(batch, [], "run-2")
    if state == "DISCARDED":
        register.discard(only(new), "ann", "spam")
    if state == "QUARANTINED":
        register.quarantine(only(new), "ann", "later")
    before = register.letter(new.name)
    assert before.state == state
    assert register.begin([new.id], "bob", "again") == []
    assert register.letter(new.name) == before


@pytest.mark.parametrize("place_is_noted", ["before its batch is entered", "after it"])
def test_row_05_a_retry_that_its_loaded_batch_does_not_reject_has_passed(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch], place_is_noted: str
) -> None:
    begin(register, new)
    batch = load(1)
    place = [(new.id, 1, batch.topic, 0, batch.first_offset + 5)]
    if place_is_noted.startswith("before"):
        register.note_positions(place)
    settled = register.enter_batch(batch, found(batch, 6), "run-2")
    if place_is_noted.startswith("after"):
        assert settled == Settled()
        register.note_positions(place)
        settled = register.settle("run-3")
    assert settled == Settled(passed=1)
    assert register.letter(new.name).state == LetterState.RESOLVED
    assert register.attempts(new)[0].outcome == "passed"
    assert register.settle("run-4") == Settled(), "once"
    assert register.retry_at(batch.topic, 0, batch.first_offset + 5) == register.letter(new.name)


def test_row_05_a_retry_in_a_batch_that_is_not_loaded_has_no_verdict(
    register: DeadLetterRegister, new: Letter, ledger: Ledger, topic: str, hour: datetime
) -> None:
    begin(register, new)
    (batch,) = ledger.plan([PlannedRange(topic, 0, 100, 199, hour)])
    register.note_positions([(new.id, 1, topic, 0, batch.first_offset)])
    assert register.settle("run-2") == Settled()
    assert register.letter(new.name).state == LetterState.RETRYING


def test_row_06_a_rejected_retry_is_new_again_with_its_new_reason(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch]
) -> None:
    batch = reject(register, load, new)
    letter = register.letter(new.name)
    assert (letter.state, letter.tries, letter.reason) == (LetterState.NEW, 1, "wrong_type")
    (attempt,) = register.attempts(new)
    assert (attempt.outcome, attempt.offset) == ("rejected", batch.first_offset + 3)
    with pytest.raises(PermanentError):
        register.letter(found(batch, 3)[0].name)


def test_row_06_a_second_copy_of_a_rejected_retry_changes_nothing(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch]
) -> None:
    reject(register, load, new)
    sent_twice = register.letter(new.name)
    batch = load(1)
    assert register.enter_batch(batch, found(batch, 3, retry_of=sent_twice), "run-3") == Settled()
    assert register.letter(new.name) == sent_twice


def test_row_07_the_last_try_quarantines(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch]
) -> None:
    for _ in range(TRIES):
        reject(register, load, register.letter(new.name))
    letter = register.letter(new.name)
    assert (letter.state, letter.tries) == (LetterState.QUARANTINED, TRIES)
    assert register.begin([new.id], "ann", "once more") == []
    assert "3 tries are the limit" in register.history(new)[-1].why


@pytest.mark.parametrize("state", ["NEW", "QUARANTINED"])
def test_row_08_a_letter_that_a_reprocess_accepts_is_resolved(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch], ledger: Ledger, state: str
) -> None:
    if state == "QUARANTINED":
        register.quarantine(only(new), "ann", "rules will change")
    batch = next(b for b in ledger.batches(_hour_of(ledger, new)) if b.id == new.batch)
    anew = load(0, again=batch)
    assert register.enter_batch(anew, [], "run-2") == Settled(judged_anew=1)
    assert states(register, new)[-1] == (state, "RESOLVED")
    assert "generation 2" in register.history(new)[-1].why


def test_row_08_a_rejected_retry_that_a_reprocess_accepts_is_resolved(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch]
) -> None:
    batch = reject(register, load, new)
    anew = load(0, again=batch)
    assert register.enter_batch(anew, [], "run-3") == Settled(judged_anew=1)
    assert register.letter(new.name).state == LetterState.RESOLVED
    assert register.attempts(new)[0].outcome == "passed"


def test_row_09_a_letter_that_a_later_reprocess_rejects_again_is_new(
    register: DeadLetterRegister, load: Callable[..., Batch]
) -> None:
    batch = load(1)
    register.enter_batch(batch, found(batch, 7), "run-1")
    accepted = load(0, again=batch)
    register.enter_batch(accepted, [], "run-2")
    rejected = load(1, again=accepted)
    assert register.enter_batch(rejected, found(rejected, 7), "run-3") == Settled(judged_anew=1)
    assert register.letter(found(batch, 7)[0].name).state == LetterState.NEW


def test_row_09_a_reprocess_does_not_reopen_what_a_retry_has_resolved(
    register: DeadLetterRegister, load: Callable[..., Batch]
) -> None:
    batch = load(1)
    register.enter_batch(batch, found(batch, 7), "run-1")
    letter = register.letter(found(batch, 7)[0].name)
    begin(register, letter)
    retry = load(0)
    register.note_positions([(letter.id, 1, retry.topic, 0, retry.first_offset)])
    register.enter_batch(retry, [], "run-2")
    anew = load(1, again=batch)
    assert register.enter_batch(anew, found(anew, 7), "run-3") == Settled()
    assert register.letter(letter.name).state == LetterState.RESOLVED


def test_row_10_a_passed_retry_that_a_reprocess_rejects_is_new(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch]
) -> None:
    retried = begin(register, new)
    batch = load(0)
    register.note_positions([(new.id, 1, batch.topic, 0, batch.first_offset + 3)])
    register.enter_batch(batch, [], "run-2")
    anew = load(1, again=batch)
    settled = register.enter_batch(anew, found(anew, 3, retry_of=retried), "run-3")
    assert settled == Settled(judged_anew=1)
    assert register.letter(new.name).state == LetterState.NEW
    assert register.attempts(new)[0].outcome == "rejected"


def test_row_11_a_fix_is_a_new_version_beside_the_original(register: DeadLetterRegister, new: Letter) -> None:
    assert register.fixed([(new.id, "dead-letters/repaired/a.jsonl", 4)], "ann", "typo") == 1
    assert register.fixed([(new.id, "dead-letters/repaired/b.jsonl", 0)], "bob", "better") == 1
    letter = register.letter(new.name)
    assert (letter.state, letter.fix_version, letter.content_key, letter.content_line) == (
        LetterState.NEW,
        2,
        "dead-letters/repaired/b.jsonl",
        0,
    )
    assert (letter.object_key, letter.line) == (new.object_key, new.line)
    assert [change.why for change in register.history(new)][1:] == ["typo", "better"]


def test_row_12_a_fix_takes_a_letter_out_of_quarantine(register: DeadLetterRegister, new: Letter) -> None:
    register.quarantine(only(new), "ann", "later")
    assert register.fixed([(new.id, "dead-letters/repaired/a.jsonl", 0)], "ann", "typo") == 1
    letter = register.letter(new.name)
    assert (letter.state, letter.tries) == (LetterState.NEW, 0)


@pytest.mark.parametrize("state", ["NEW", "QUARANTINED"])
def test_row_13_an_open_letter_can_be_discarded(
    register: DeadLetterRegister, new: Letter, state: str
) -> None:
    if state == "QUARANTINED":
        register.quarantine(only(new), "ann", "later")
    assert register.discard(only(new), "bob", "spam") == 1
    change = register.history(new)[-1]
    assert (change.from_state, change.to_state, change.who, change.why) == (state, "DISCARDED", "bob", "spam")


def test_row_14_a_new_letter_can_be_quarantined(register: DeadLetterRegister, new: Letter) -> None:
    assert register.quarantine(only(new), "ann", "later") == 1
    assert register.letter(new.name).state == LetterState.QUARANTINED


@pytest.mark.parametrize("state", ["DISCARDED", "QUARANTINED"])
def test_row_15_a_closed_letter_can_be_opened_again_with_all_its_tries(
    register: DeadLetterRegister, new: Letter, load: Callable[..., Batch], state: str
) -> None:
    reject(register, load, new)
    (register.discard if state == "DISCARDED" else register.quarantine)(only(new), "ann", "why not")
    assert register.reopen(only(new), "ann", "after all") == 1
    letter = register.letter(new.name)
    assert (letter.state, letter.tries, letter.attempts) == (LetterState.NEW, 0, 1)


def test_row_16_what_the_table_does_not_have_changes_nothing(
    register: DeadLetterRegister, new: Letter
) -> None:
    assert register.reopen(only(new), "ann", "it is open") == 0
    retrying = begin(register, new)
    assert register.discard(only(new), "ann", "it is under way") == 0
    assert register.quarantine(only(new), "ann", "it is under way") == 0
    assert register.fixed([(new.id, "dead-letters/repaired/a.jsonl", 0)], "ann", "it is under way") == 0
    assert register.letter(new.name) == retrying
    assert len(register.history(new)) == 2


def test_a_batch_that_was_reopened_meanwhile_enters_nothing(
    register: DeadLetterRegister, load: Callable[..., Batch], ledger: Ledger
) -> None:
    batch = load(1)
    ledger.reopen([batch.batch_id], "other rules")
    assert register.enter_batch(batch, found(batch, 7), "run-1") is None
    with pytest.raises(PermanentError, match="has no dead letter"):
        register.letter(found(batch, 7)[0].name)


def test_the_kill_switch_says_who_turned_it_and_why(register: DeadLetterRegister) -> None:
    register.turn_switch(True, "ann", "the last repair made it worse")
    assert (register.switch().stopped, register.switch().who) == (True, "ann")
    register.turn_switch(False, "bob", "repaired")
    assert not register.switch().stopped


def _hour_of(ledger: Ledger, letter: Letter) -> datetime:
    every = ledger.batches_between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
    return next(batch.hour for batch in every if batch.id == letter.batch)
