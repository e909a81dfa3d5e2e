"""The table of states in ``ledger.py``: one test a row, of the row's number."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from wotr_pipeline.stores import ledger as ledger_module
from wotr_pipeline.stores.batch import RECOVERY, Batch, BatchState, PlannedRange, RawObject
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.ledger import Ledger, LedgerWriter

Advance = Callable[[LedgerWriter, Batch, str], Batch]
Crash = Callable[[Batch], None]
UNFINISHED = ["PLANNED", "LANDED", "VALIDATED"]
SHA256 = "0123456789abcdef" * 4


def take(writer: LedgerWriter, batch: Batch) -> Batch:
    claimed = writer.claim(batch)
    assert claimed is not None
    return claimed


def test_every_row_of_the_table_has_a_test_of_its_number() -> None:
    rows = re.findall(r"^ ?(\d+)  \S", ledger_module.__doc__ or "", flags=re.MULTILINE)
    tests = {name.split("_")[2] for name in globals() if name.startswith("test_row_")}
    assert rows == [str(number) for number in range(1, len(rows) + 1)]
    assert tests == {f"{int(row):02}" for row in rows}


def test_row_01_a_planned_range_is_a_planned_batch(ledger: Ledger, topic: str, hour: datetime) -> None:
    first, second = ledger.plan([PlannedRange(topic, 3, 7, 9, hour), PlannedRange(topic, 3, 10, 10, hour)])
    assert (first.state, first.batch_id, first.hour) == (BatchState.PLANNED, f"{topic}:3:7-9", hour)
    assert first.hour.tzinfo is not None
    assert ledger.planned_until(topic) == {3: 11}
    assert ledger.batches(hour) == [first, second]
    assert ledger.batch(first.batch_id) == first


def test_row_02_a_loss_is_named_and_the_chain_goes_on(ledger: Ledger, planned: Batch) -> None:
    lost = ledger.record_loss(planned.topic, 0, 200, 249, planned.hour, "Kafka begins at 250")
    assert (lost.state, lost.last_error, lost.raw_key) == (
        BatchState.QUARANTINED,
        "Kafka begins at 250",
        None,
    )
    assert ledger.planned_until(planned.topic) == {0: 250}
    assert ledger.contiguity_gaps(planned.topic) == []


@pytest.mark.parametrize("state", UNFINISHED)
def test_row_03_a_claim_is_on_record_before_work_starts(
    ledger: Ledger, planned: Batch, advance: Advance, state: str
) -> None:
    with ledger.writer("run-1") as writer:
        writer.release(advance(writer, take(writer, planned), state))
    with ledger.writer("run-2") as writer:
        claimed = take(writer, planned)
        assert claimed == ledger.batch(planned.batch_id), "read through another connection: committed"
        assert (claimed.state, claimed.attempts, claimed.claimed_by) == (state, 2, "run-2")
        assert claimed.claimed_at is not None


def test_row_04_a_batch_has_one_living_writer(ledger: Ledger, planned: Batch, writer: LedgerWriter) -> None:
    claimed = take(writer, planned)
    with ledger.writer("run-2") as other:
        assert other.claim(planned) is None
        assert writer.claim(planned) is None, "not twice by one run either"
        assert ledger.batch(planned.batch_id) == claimed
        writer.release(claimed)
        assert take(other, planned).claimed_by == "run-2"


def test_row_05_an_attempt_that_ended_without_a_word_is_counted_as_a_crash(
    writer: LedgerWriter, planned: Batch, crash: Crash, advance: Advance
) -> None:
    crash(planned)
    claimed = take(writer, planned)
    assert (claimed.attempts, claimed.crashes) == (2, 1)
    assert advance(writer, claimed, "LANDED").crashes == 0, "progress is no crash loop"


def test_row_06_the_fifth_crash_in_a_row_quarantines(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, crash: Crash
) -> None:
    for _ in range(5):
        crash(planned)
    assert writer.claim(planned) is None
    batch = ledger.batch(planned.batch_id)
    assert (batch.state, batch.crashes, batch.attempts) == (BatchState.QUARANTINED, 5, 5)
    assert "5 attempts in a row" in (batch.last_error or "")
    assert "run doomed-" in (batch.last_error or "")
    assert ledger.reopen([batch.batch_id], "more memory")[0].crashes == 0


@pytest.mark.parametrize("state", ["LOADED", "QUARANTINED"])
def test_row_07_what_is_done_is_not_claimed(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, state: str
) -> None:
    done = advance(writer, take(writer, planned), state)
    assert writer.claim(planned) is None, "with what it read earlier"
    assert ledger.batch(planned.batch_id) == done
    assert done.attempts == 1


def test_row_08_a_split_leaves_two_batches_and_no_gap(
    ledger: Ledger, writer: LedgerWriter, planned: Batch
) -> None:
    first = writer.split(take(writer, planned), 149)
    assert (first.first_offset, first.last_offset, first.id) == (100, 149, planned.id)
    first_again, rest = ledger.batches(planned.hour)
    assert first_again == first
    assert (rest.first_offset, rest.last_offset, rest.state) == (150, 199, BatchState.PLANNED)
    assert (rest.claimed_by, rest.attempts, rest.planned_at) == (None, 0, planned.planned_at)
    assert ledger.contiguity_gaps(planned.topic) == []
    with ledger.writer("run-2") as other:
        assert other.claim(first) is None, "a split does not drop the lock"
        assert take(other, rest).batch_id == rest.batch_id
    assert writer.landed(first, 50, "raw/a", SHA256, 1).state is BatchState.LANDED


def test_row_08_whoever_claims_by_an_old_name_gets_what_the_split_left(
    ledger: Ledger, writer: LedgerWriter, planned: Batch
) -> None:
    writer.release(writer.split(take(writer, planned), 149))
    assert take(writer, planned).batch_id == f"{planned.topic}:0:100-149"


@pytest.mark.parametrize("offset", [99, 199, 200])
def test_row_08_a_split_leaves_no_part_empty(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, offset: int
) -> None:
    claimed = take(writer, planned)
    with pytest.raises(PermanentError, match="split"):
        writer.split(claimed, offset)
    assert ledger.batches(planned.hour) == [claimed]


def test_row_09_landed_notes_the_raw_object(ledger: Ledger, writer: LedgerWriter, planned: Batch) -> None:
    claimed = take(writer, planned)
    assert writer.held(planned) == claimed
    assert ledger.landed_until(planned.topic) == {0: 100}
    landed = writer.landed(claimed, 98, "raw/x.parquet", SHA256, 4711)
    assert writer.held(planned) == landed
    assert ledger.landed_until(planned.topic) == {0: 200}
    assert (landed.state, landed.records) == (BatchState.LANDED, 98)
    assert (landed.raw_key, landed.raw_sha256, landed.raw_bytes) == ("raw/x.parquet", SHA256, 4711)
    assert landed.landed_at is not None
    assert landed == ledger.batch(planned.batch_id)


def test_row_09_more_records_than_offsets_cannot_have_landed(
    ledger: Ledger, writer: LedgerWriter, planned: Batch
) -> None:
    claimed = take(writer, planned)
    with pytest.raises(PermanentError, match="ingest_batches_counts"):
        writer.landed(claimed, 101, "raw/x.parquet", SHA256, 4711)
    assert ledger.batch(planned.batch_id) == claimed


def test_row_10_validated_notes_the_verdicts(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    landed = advance(writer, take(writer, planned), "LANDED")
    validated = writer.validated(landed, 99, 1, "validated/x", "dead-letters/x", "rules-7")
    assert (validated.state, validated.valid, validated.rejected) == (BatchState.VALIDATED, 99, 1)
    assert (validated.validated_key, validated.dead_letters_key) == ("validated/x", "dead-letters/x")
    assert validated.rules_version == "rules-7"
    assert validated.validated_at is not None
    assert validated == ledger.batch(planned.batch_id)


def test_row_10_judging_again_is_allowed_and_is_no_progress(
    writer: LedgerWriter, planned: Batch, advance: Advance, crash: Crash
) -> None:
    writer.failed(advance(writer, take(writer, planned), "VALIDATED"), "away")
    crash(planned)
    again = writer.validated(take(writer, planned), 80, 20, None, "dead-letters/x", "rules-2")
    assert (again.state, again.valid, again.rejected) == (BatchState.VALIDATED, 80, 20)
    assert (again.crashes, again.failures) == (1, 1), "a load that kills its run each time is still counted"


@pytest.mark.parametrize(("valid", "rejected"), [(99, 0), (100, 1), (101, -1)])
def test_row_10_no_record_is_without_a_verdict(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, valid: int, rejected: int
) -> None:
    landed = advance(writer, take(writer, planned), "LANDED")
    with pytest.raises(PermanentError, match="ingest_batches_sum"):
        writer.validated(landed, valid, rejected, None, None, "rules-1")
    assert ledger.batch(planned.batch_id) == landed


def test_row_11_loaded_ends_the_batch(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    loaded = writer.loaded(advance(writer, take(writer, planned), "VALIDATED"), 90)
    assert (loaded.state, loaded.duplicate, loaded.claimed_by) == (BatchState.LOADED, 90, None)
    assert loaded.loaded_at is not None
    assert loaded == ledger.batch(planned.batch_id)
    assert ledger.reopen([loaded.batch_id], "nobody holds it any more")


@pytest.mark.parametrize("duplicate", [-1, 91])
def test_row_11_only_valid_records_can_be_duplicates(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, duplicate: int
) -> None:
    validated = advance(writer, take(writer, planned), "VALIDATED")
    with pytest.raises(PermanentError, match="ingest_batches_duplicate"):
        writer.loaded(validated, duplicate)
    assert ledger.batch(planned.batch_id) == validated


@pytest.mark.parametrize("state", UNFINISHED)
def test_row_12_a_transient_failure_keeps_the_state_and_backs_off(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, state: str
) -> None:
    before = advance(writer, take(writer, planned), state)
    for seconds in (5, 10, 20, 40, 80, 160, 300, 300):
        failed = writer.failed(before, TransientError("the store is away"))
        assert (failed.state, failed.last_error, failed.claimed_by) == (state, "the store is away", None)
        again = take(writer, planned)
        assert failed.not_before is not None
        failed_at = failed.not_before - timedelta(seconds=seconds)
        assert before.claimed_at is not None
        assert again.claimed_at is not None
        assert before.claimed_at <= failed_at <= again.claimed_at
        before = again
    assert before.crashes == 0
    if state != "VALIDATED":
        next_state = UNFINISHED[UNFINISHED.index(state) + 1]
        after = advance(writer, before, next_state)
        assert (after.failures, after.not_before, after.last_error) == (0, None, None)


@pytest.mark.parametrize("state", UNFINISHED)
def test_row_13_a_permanent_failure_quarantines(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, state: str
) -> None:
    before = advance(writer, take(writer, planned), state)
    after = writer.quarantined(before, PermanentError("the object is not what was written"))
    assert (after.state, after.last_error) == ("QUARANTINED", "the object is not what was written")
    assert (after.claimed_by, after.raw_key) == (None, before.raw_key)
    assert ledger.unfinished(planned.topic) == []
    assert ledger.reopen([after.batch_id], "nobody holds it any more")


@pytest.mark.parametrize("state", UNFINISHED)
def test_row_14_an_orderly_stop_is_no_crash(
    ledger: Ledger, planned: Batch, advance: Advance, state: str
) -> None:
    with suppress(KeyboardInterrupt), ledger.writer("run-1") as writer:
        advance(writer, take(writer, planned), state)
        raise KeyboardInterrupt
    with ledger.writer("run-2") as writer:
        released = writer.release(take(writer, planned))
        again = take(writer, planned)
    assert (released.state, released.claimed_by) == (state, None)
    assert (again.attempts, again.crashes, again.failures) == (3, 0, 0)


@pytest.mark.parametrize("state", ["VALIDATED", "LOADED"])
@pytest.mark.parametrize("by", ["ledger", "writer"])
def test_row_15_a_reopened_batch_is_judged_again_from_the_same_bytes(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, state: str, by: str
) -> None:
    before = advance(writer, take(writer, planned), state)
    if state == "VALIDATED":
        before = writer.release(before)
    [after] = (ledger if by == "ledger" else writer).reopen([before.batch_id], "rules-2")
    assert (after.state, after.generation, after.reopen_reason) == (BatchState.LANDED, 2, "rules-2")
    assert (after.raw_key, after.raw_sha256, after.records) == (before.raw_key, before.raw_sha256, 100)
    forgotten = (after.valid, after.rejected, after.duplicate, after.validated_key, after.dead_letters_key)
    assert forgotten == (None,) * 5
    assert (after.rules_version, after.validated_at, after.loaded_at) == (None,) * 3
    assert advance(writer, take(writer, after), "LOADED").generation == 2


def test_row_15_what_a_load_left_out_outlives_the_reopening(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    validated = advance(writer, take(writer, planned), "VALIDATED")
    assert ledger.duplicate_offsets(validated) is None
    left_out = [100, 101, 102, 117, 199]
    loaded = writer.loaded(validated, 5, left_out)
    assert not loaded.recovering
    [reopened] = ledger.reopen([loaded.batch_id], RECOVERY)
    assert reopened.recovering
    assert ledger.duplicate_offsets(reopened) == left_out
    writer.loaded(advance(writer, take(writer, reopened), "VALIDATED"), 0)
    assert ledger.duplicate_offsets(reopened) == []


def test_row_15_a_batch_in_a_writers_hands_is_not_reopened(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    held = advance(writer, take(writer, planned), "VALIDATED")
    with pytest.raises(TransientError, match="A run is at work"):
        ledger.reopen([held.batch_id], "rules-2")
    assert ledger.batch(held.batch_id) == held


def test_row_16_a_quarantined_batch_with_its_raw_object_is_judged_again(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    landed = advance(writer, take(writer, planned), "LANDED")
    quarantined = writer.quarantined(landed, "hopeless")
    [after] = ledger.reopen([quarantined.batch_id], "repaired")
    assert (after.state, after.generation, after.raw_key) == (BatchState.LANDED, 2, landed.raw_key)
    assert (after.last_error, after.reopen_reason) == (None, "repaired")


def test_row_17_a_quarantined_batch_without_a_raw_object_is_read_again(
    ledger: Ledger, writer: LedgerWriter, planned: Batch
) -> None:
    quarantined = writer.quarantined(take(writer, planned), "hopeless")
    [after] = ledger.reopen([quarantined.batch_id], "repaired")
    assert (after.state, after.generation) == (BatchState.PLANNED, 2)
    assert after.raw_key is None


STEPS: dict[str, tuple[set[str], Callable[[LedgerWriter, Batch], object]]] = {
    "split": ({"PLANNED"}, lambda writer, batch: writer.split(batch, 149)),
    "landed": ({"PLANNED"}, lambda writer, batch: writer.landed(batch, 1, "raw/y", SHA256, 1)),
    "validated": (
        {"LANDED", "VALIDATED"},
        lambda writer, batch: writer.validated(batch, 1, 0, None, None, "r"),
    ),
    "loaded": ({"VALIDATED"}, lambda writer, batch: writer.loaded(batch, 0)),
    "failed": (set(UNFINISHED), lambda writer, batch: writer.failed(batch, "away")),
    "quarantined": (set(UNFINISHED), lambda writer, batch: writer.quarantined(batch, "hopeless")),
    "release": (set(UNFINISHED), lambda writer, batch: writer.release(batch)),
    "reopen": (
        {"VALIDATED", "LOADED", "QUARANTINED"},
        lambda writer, batch: writer.reopen([batch.batch_id], "why"),
    ),
}


@pytest.mark.parametrize(
    ("state", "event"),
    [(state, event) for event, (states, _) in STEPS.items() for state in BatchState if state not in states],
)
def test_row_18_any_other_step_is_refused_and_changes_nothing(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, state: str, event: str
) -> None:
    batch = advance(writer, take(writer, planned), state)
    if event == "reopen":
        batch = writer.release(batch)
    with pytest.raises(PermanentError) as refusal:
        STEPS[event][1](writer, batch)
    for part in (event, batch.batch_id, str(state)):
        assert part in str(refusal.value)
    assert ledger.batches(planned.hour) == [batch]


@pytest.mark.parametrize("event", [event for event in STEPS if event != "reopen"])
def test_row_18_a_step_of_an_unclaimed_batch_is_refused(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance, event: str
) -> None:
    state = sorted(STEPS[event][0])[0]
    batch = writer.release(advance(writer, take(writer, planned), state))
    with pytest.raises(PermanentError, match="has not claimed it"):
        STEPS[event][1](writer, batch)
    assert ledger.batch(batch.batch_id) == batch


def test_row_18_a_step_wants_the_batch_as_the_last_step_left_it(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    claimed = take(writer, planned)
    landed = advance(writer, claimed, "LANDED")
    with pytest.raises(PermanentError, match="as the last step returned it"):
        writer.landed(claimed, 1, "raw/y", SHA256, 1)
    assert ledger.batch(planned.batch_id) == landed


def test_row_18_reopening_is_all_or_nothing(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    [other] = ledger.plan([PlannedRange(planned.topic, 0, 200, 200, planned.hour)])
    loaded = advance(writer, take(writer, planned), "LOADED")
    for wrong in (other.batch_id, f"{planned.topic}:0:7-8"):
        with pytest.raises(PermanentError, match="none was reopened"):
            ledger.reopen([loaded.batch_id, wrong], "why")
    assert ledger.batches(planned.hour) == [loaded, other]


def raw_object(range_: PlannedRange, records: int = 1) -> RawObject:
    return RawObject(range_, f"raw/{range_.batch_id}.parquet", records, SHA256, 4711)


def test_row_19_a_raw_object_that_no_batch_has_is_a_landed_batch(
    ledger: Ledger, writer: LedgerWriter, planned: Batch, advance: Advance
) -> None:
    topic, hour = planned.topic, planned.hour
    objects = [
        raw_object(PlannedRange(topic, 0, 200, 249, hour), 50),
        raw_object(PlannedRange(topic, 1, 7, 9, hour), 2),
    ]
    assert ledger.adopt(topic, objects) == 2
    before, adopted, other = ledger.batches(hour)
    assert before == planned
    assert (adopted.state, adopted.records, adopted.raw_key) == (BatchState.LANDED, 50, objects[0].key)
    assert (adopted.raw_sha256, adopted.raw_bytes, adopted.recovering) == (SHA256, 4711, True)
    assert (adopted.generation, adopted.valid, adopted.landed_at is not None) == (1, None, True)
    assert ledger.duplicate_offsets(adopted) is None, "with its row the ledger has lost what was left out"
    assert ledger.planned_until(topic) == {0: 250, 1: 10}
    claimed = take(writer, other)
    assert writer.loaded(writer.validated(claimed, 2, 0, None, None, "rules-1"), 0).state == "LOADED"


def test_row_19_an_object_inside_the_chain_or_apart_from_it_changes_nothing(
    ledger: Ledger, planned: Batch
) -> None:
    topic, hour = planned.topic, planned.hour
    follows = raw_object(PlannedRange(topic, 1, 0, 9, hour))
    for first, last in ((150, 160), (100, 199), (199, 205), (90, 300), (201, 210), (50, 98)):
        with pytest.raises(TransientError, match="Nothing was adopted"):
            ledger.adopt(topic, [follows, raw_object(PlannedRange(topic, 0, first, last, hour))])
    assert ledger.batches(hour) == [planned]


def test_row_20_offsets_missing_beside_adopted_ones_are_planned(ledger: Ledger, planned: Batch) -> None:
    topic, hour = planned.topic, planned.hour
    beyond = raw_object(PlannedRange(topic, 0, 210, 219, hour))
    assert ledger.adopt(topic, [beyond], [PlannedRange(topic, 0, 200, 209, hour)]) == 2
    assert [batch.state for batch in ledger.batches(hour)] == ["PLANNED", "PLANNED", "LANDED"]
    assert ledger.contiguity_gaps(topic) == []
    assert ledger.planned_runs(topic) == {0: [(100, 219)]}


def test_row_21_offsets_that_kafka_no_longer_holds_are_named_and_the_chain_is_whole(
    ledger: Ledger, planned: Batch
) -> None:
    topic, hour = planned.topic, planned.hour
    lost = PlannedRange(topic, 0, 200, 209, hour)
    ledger.adopt(
        topic, [raw_object(PlannedRange(topic, 0, 210, 219, hour))], lost={lost: "Kafka begins at 500"}
    )
    named = ledger.batch(lost.batch_id)
    assert (named.state, named.last_error) == (BatchState.QUARANTINED, "Kafka begins at 500")
    assert ledger.contiguity_gaps(topic) == []
