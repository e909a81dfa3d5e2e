"""A dead letter is seen, repaired, sent again and loaded once; whoever asks, however often, whatever is away."""

import dataclasses
import threading

import pytest

from wotr_pipeline.config import Settings
from wotr_pipeline.events.repair import AsIs, Patch, Replacement, Transformation
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_contents import LetterContents
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline_tests.operations.dead_letters.conftest import EPOCH, GOOD
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, copies, epoch_event, send
from wotr_pipeline_tests.produced import BAD, event

EPOCH_LETTERS = LetterFilter(reasons=("wrong_type",), fields=("timestamp",))
MEND = Transformation("timestamp_from_epoch")


def states(desk: Desk, wanted: LetterFilter = EPOCH_LETTERS) -> dict[str, int]:
    return {state.value: count for state, count in desk.register.by_state(wanted).items() if count}


def mend(desk: Desk) -> None:
    assert desk.repairs().run(EPOCH_LETTERS, MEND, "epochs", apply=True).kept == len(EPOCH)


def assert_all_loaded_once(desk: Desk) -> None:
    assert copies(desk.settings) == dict.fromkeys([*GOOD, *EPOCH], 1)


def test_what_was_rejected_is_in_the_register_with_its_reason_and_place(rejected: Desk) -> None:
    assert states(rejected, LetterFilter()) == {"NEW": len(EPOCH) + len(BAD)}
    (group,) = [group for group in rejected.register.groups() if group.field == "timestamp"]
    assert (group.reason, group.source, group.letters) == ("wrong_type", "tests", len(EPOCH))
    letter = rejected.register.letter(group.examples[0])
    content = LetterContents(rejected.objects).content(letter)
    assert content.value in [epoch_event(name) for name in EPOCH]
    assert (content.key, content.headers) == (b"key", (("trace", b"abc"),))
    assert rejected.triage().anything is False


def test_a_dry_repair_says_what_would_pass_and_changes_nothing(rejected: Desk) -> None:
    before = rejected.letters()
    report = rejected.repairs().run(LetterFilter(), MEND, "", apply=False)
    assert (report.chosen, report.passing, report.kept) == (len(EPOCH) + len(BAD), len(EPOCH), 0)
    assert report.failing.total() + report.refused.total() == len(BAD)
    assert rejected.letters() == before


def test_a_class_is_repaired_and_retried_and_every_event_is_loaded_once(rejected: Desk) -> None:
    mend(rejected)
    dry = rejected.retry().preview(EPOCH_LETTERS)
    assert (dry.chosen, dry.passing, dry.sent) == (len(EPOCH), len(EPOCH), 0)
    done = rejected.retry().run(EPOCH_LETTERS, "epochs")
    assert (done.sent, done.waiting, done.stopped) == (len(EPOCH), len(EPOCH), "")
    assert states(rejected) == {"RETRYING": len(EPOCH)}
    carry(rejected.settings)
    assert rejected.triage().settled.passed == len(EPOCH)
    assert states(rejected) == {"RESOLVED": len(EPOCH)}
    assert_all_loaded_once(rejected)


def test_the_link_between_a_repaired_event_and_its_dead_letter_holds_both_ways(rejected: Desk) -> None:
    mend(rejected)
    rejected.retry().run(EPOCH_LETTERS, "epochs")
    carry(rejected.settings)
    rejected.triage()
    letter = rejected.letters(states=(LetterState.RESOLVED,))[0]
    (attempt,) = rejected.register.attempts(letter)
    assert attempt.topic is not None
    assert attempt.partition is not None
    assert attempt.offset is not None
    assert rejected.register.retry_at(attempt.topic, attempt.partition, attempt.offset) == letter


def test_a_retry_that_is_repeated_at_once_or_after_it_passed_changes_nothing(rejected: Desk) -> None:
    mend(rejected)
    rejected.retry().run(EPOCH_LETTERS, "epochs")
    again = rejected.retry().run(EPOCH_LETTERS, "epochs")
    assert (again.chosen, again.sent) == (0, 0)
    carry(rejected.settings)
    rejected.triage()
    assert rejected.retry().run(EPOCH_LETTERS, "epochs").sent == 0
    assert_all_loaded_once(rejected)


def test_what_todays_rules_reject_is_not_sent_unless_forced_and_comes_back_to_its_letter(
    rejected: Desk,
) -> None:
    refused = rejected.retry().run(EPOCH_LETTERS, "hope")
    assert (refused.sent, refused.failing) == (0, {"wrong_type": len(EPOCH)})
    forced = rejected.retry().run(EPOCH_LETTERS, "hope", force=True)
    assert forced.sent == len(EPOCH)
    carry(rejected.settings)
    assert rejected.triage().settled.rejected == len(EPOCH)
    assert states(rejected) == {"NEW": len(EPOCH)}
    assert states(rejected, LetterFilter()) == {"NEW": len(EPOCH) + len(BAD)}, "a retry makes no new letter"


def test_after_the_last_try_a_letter_is_quarantined_and_a_fix_takes_it_out(rejected: Desk) -> None:
    for _ in range(rejected.settings.wotr_dead_letter_tries):
        rejected.retry().run(EPOCH_LETTERS, "hope", force=True)
        carry(rejected.settings)
        rejected.triage()
    assert states(rejected) == {"QUARANTINED": len(EPOCH)}
    assert rejected.retry().run(EPOCH_LETTERS, "hope", force=True).sent == 0
    mend(rejected)
    rejected.retry().run(EPOCH_LETTERS, "epochs")
    carry(rejected.settings)
    rejected.triage()
    assert_all_loaded_once(rejected)


def test_a_fix_that_makes_it_worse_is_not_kept(rejected: Desk) -> None:
    worse = Patch('[{"op": "remove", "path": "/payload"}]')
    report = rejected.repairs().run(EPOCH_LETTERS, worse, "wrong patch", apply=True)
    assert (report.passing, report.kept) == (0, 0)
    assert report.failing.total() == len(EPOCH)
    assert all(letter.fix_version == 0 for letter in rejected.letters())


def test_one_letter_is_mended_by_an_edited_message_and_the_original_stays(rejected: Desk) -> None:
    letter = rejected.letters(reasons=("malformed_json",))[0]
    only = LetterFilter(names=(letter.name,))
    original = LetterContents(rejected.objects).content(letter).value
    rejected.repairs().run(only, Replacement(event("by-hand")), "read from its log", apply=True)
    fixed = rejected.register.letter(letter.name)
    assert LetterContents(rejected.objects).content(fixed).value == event("by-hand")
    envelope = LetterContents(rejected.objects).envelope(fixed)
    assert envelope is not None
    assert envelope.value == original
    rejected.retry().run(only, "by hand")
    carry(rejected.settings)
    rejected.triage()
    assert copies(rejected.settings)["by-hand"] == 1


def test_an_event_that_was_loaded_meanwhile_is_a_duplicate_and_its_letter_resolved(rejected: Desk) -> None:
    mend(rejected)
    send(rejected.settings, [event(EPOCH[0])])
    carry(rejected.settings)
    rejected.retry().run(EPOCH_LETTERS, "epochs")
    carry(rejected.settings)
    rejected.triage()
    assert states(rejected) == {"RESOLVED": len(EPOCH)}
    assert_all_loaded_once(rejected)


def test_rejudging_tells_what_passes_and_changes_nothing(rejected: Desk) -> None:
    mend(rejected)
    report = rejected.repairs().rejudge(LetterFilter())
    assert (report.passing, report.failing.total()) == (len(EPOCH), len(BAD))
    assert rejected.repairs().run(EPOCH_LETTERS, AsIs(), "", apply=True).kept == 0


def test_two_operators_who_retry_the_same_set_send_each_letter_once(rejected: Desk) -> None:
    mend(rejected)
    sent: list[int] = []
    refused: list[Exception] = []
    ready = threading.Barrier(2)

    def retry(who: str) -> None:
        with DeadLetterRegister(rejected.settings) as register:
            ready.wait(30)
            try:
                sent.append(Desk(rejected.settings, register, who).retry().run(EPOCH_LETTERS, "epochs").sent)
            except TransientError as error:
                refused.append(error)

    operators = [threading.Thread(target=retry, args=(who,)) for who in ("ann", "bob")]
    for operator in operators:
        operator.start()
    for operator in operators:
        operator.join(60)
    assert sum(sent) == len(EPOCH)
    assert len(sent) + len(refused) == 2
    carry(rejected.settings)
    rejected.triage()
    assert_all_loaded_once(rejected)


def test_the_first_wave_stops_the_rest_when_too_few_pass(rejected: Desk) -> None:
    strict = dataclasses.replace(
        rejected, settings=rejected.settings.model_copy(update={"wotr_retry_success_share": 0.9})
    )
    done = strict.retry().run(EPOCH_LETTERS, "hope", force=True, first_wave=3, verdict_seconds=0.1)
    assert "No verdict on the first 3" in done.stopped
    carry(rejected.settings)
    rejected.triage()
    stop = threading.Event()

    def keep_carrying() -> None:
        while not stop.wait(0.2):
            carry(rejected.settings)

    carrier = threading.Thread(target=keep_carrying)
    carrier.start()
    try:
        done = strict.retry().run(EPOCH_LETTERS, "hope", force=True, first_wave=3)
    finally:
        stop.set()
        carrier.join(60)
    assert "Only 0 of 3 retries passed" in done.stopped
    assert (done.sent, done.rejected) == (3, 3)
    assert states(rejected)["NEW"] == len(EPOCH)


def test_the_kill_switch_stops_retries_until_it_is_turned_back(rejected: Desk) -> None:
    mend(rejected)
    rejected.register.turn_switch(True, "bob", "the table is being repaired")
    done = rejected.retry().run(EPOCH_LETTERS, "epochs")
    assert done.sent == 0
    assert "stopped by bob" in done.stopped
    rejected.register.turn_switch(False, "bob", "done")
    assert rejected.retry().run(EPOCH_LETTERS, "epochs").sent == len(EPOCH)


def test_no_more_are_sent_in_a_minute_than_the_bound(rejected: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    mend(rejected)
    slow = dataclasses.replace(
        rejected, settings=rejected.settings.model_copy(update={"wotr_retries_per_minute": 5})
    )
    begun: list[int] = []
    original = DeadLetterRegister.begin

    def begin(self: DeadLetterRegister, ids: list[int], who: str, why: str) -> list[int]:
        begun.append(len(ids))
        return original(self, ids, who, why)

    monkeypatch.setattr(DeadLetterRegister, "begin", begin)
    waiting = threading.Thread(
        target=lambda: slow.retry().run(EPOCH_LETTERS, "epochs", first_wave=5), daemon=True
    )
    waiting.start()
    waiting.join(1)
    carry(rejected.settings)
    waiting.join(5)
    assert waiting.is_alive(), "the second wave waits for its minute"
    assert begun == [5]
    assert states(rejected)["NEW"] == len(EPOCH) - 5
    rejected.register.turn_switch(True, "ann", "the test is over")
    waiting.join(60)
    assert begun == [5]


@pytest.mark.chaos
def test_a_broker_that_is_away_costs_time_and_leaves_a_state_that_is_true(
    rejected: Desk, servers: Platform, space: Settings
) -> None:
    mend(rejected)
    servers.stop("kafka")
    try:
        with pytest.raises(TransientError):
            rejected.retry().run(EPOCH_LETTERS, "epochs")
    finally:
        servers.start("kafka")
    counted = states(rejected)
    assert counted in ({"RETRYING": len(EPOCH)}, {"NEW": len(EPOCH)})
    assert all(
        attempt.offset is None
        for letter in rejected.letters()
        for attempt in rejected.register.attempts(letter)
    )
    rejected.retry().run(EPOCH_LETTERS, "epochs")
    carry(rejected.settings)
    rejected.triage()
    assert states(rejected) == {"RESOLVED": len(EPOCH)}
    assert_all_loaded_once(rejected)
