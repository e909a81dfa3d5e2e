"""Dead letters in Dagster: the triage and its checks, the sensors, the jobs for people who stay in the UI."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from wotr_pipeline.checks import dead_letters as checks
from wotr_pipeline.definitions import TRIAGE_JOB, build_definitions
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.operations.dead_letters.conftest import EPOCH, GOOD
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, copies, epoch_event, send
from wotr_pipeline_tests.produced import BAD, event

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
WANTED = {"fields": ["timestamp"], "who": "ann"}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def execute(
    desk: Desk, instance: dg.DagsterInstance, job: str, op: str = "", **config: object
) -> dg.ExecuteInProcessResult:
    definition = build_definitions(desk.settings).resolve_job_def(job)
    run_config = {"ops": {op: {"config": config}}} if op else {}
    return definition.execute_in_process(run_config=run_config, instance=instance, raise_on_error=False)


def test_a_triage_run_enters_letters_and_shows_what_is_open(desk: Desk, instance: dg.DagsterInstance) -> None:
    send(desk.settings, [*map(event, GOOD), *map(epoch_event, EPOCH), *BAD])
    carry(desk.settings)
    result = execute(desk, instance, TRIAGE_JOB)
    assert result.success
    (materialized,) = result.get_asset_materialization_events()
    metadata = materialized.materialization.metadata
    assert metadata["open"].value == len(EPOCH) + len(BAD)
    table = metadata["what is open"]
    assert isinstance(table, dg.TableMetadataValue)
    assert any("timestamp_from_epoch" in str(record.data["offered"]) for record in table.records)
    evaluations = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert set(evaluations) == set(checks.DESCRIPTIONS)
    assert all(evaluation.passed for evaluation in evaluations.values())


def test_the_jobs_are_dry_until_they_are_told_and_then_need_a_reason(
    rejected: Desk, instance: dg.DagsterInstance
) -> None:
    repair = {**WANTED, "transformation": "timestamp_from_epoch"}
    assert execute(rejected, instance, "repair_dead_letters", "repair", **repair).success
    assert all(letter.fix_version == 0 for letter in rejected.letters())
    assert not execute(rejected, instance, "repair_dead_letters", "repair", **repair, dry_run=False).success
    assert all(letter.fix_version == 0 for letter in rejected.letters())
    apply = {"dry_run": False, "why": "epochs"}
    assert execute(rejected, instance, "repair_dead_letters", "repair", **repair, **apply).success
    assert execute(rejected, instance, "rejudge_dead_letters", "rejudge", **WANTED).success
    assert execute(rejected, instance, "retry_dead_letters", "retry", **WANTED).success
    assert rejected.register.by_state()[LetterState.RETRYING] == 0
    assert execute(rejected, instance, "retry_dead_letters", "retry", **WANTED, **apply).success
    carry(rejected.settings)
    rejected.triage()
    assert copies(rejected.settings) == dict.fromkeys([*GOOD, *EPOCH], 1)
    letter = rejected.letters(states=(LetterState.RESOLVED,))[0]
    assert any(change.who.startswith("ann (run ") for change in rejected.register.history(letter))


def test_the_sensor_asks_for_a_triage_only_when_there_is_something_to_do(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    definitions = build_definitions(desk.settings)
    sensor = definitions.get_sensor_def("dead_letters")

    def tick() -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(instance=instance, resources={"objects": desk.objects})
        found = sensor(context)
        assert isinstance(found, dg.SensorResult | dg.SkipReason)
        return found

    assert isinstance(tick(), dg.SensorResult), "nothing was ever shown"
    assert execute(desk, instance, TRIAGE_JOB).success
    assert isinstance(tick(), dg.SkipReason)
    send(desk.settings, [epoch_event("broken")])
    carry(desk.settings)
    asked = tick()
    assert isinstance(asked, dg.SensorResult)
    assert len(asked.run_requests or []) == 1
    desk.triage()
    assert isinstance(tick(), dg.SkipReason)


def fill(desk: Desk, rows: list[tuple[datetime, str, str, int, int]]) -> Warehouse:
    """Hours of the curated tables: (hour, source, reason, rejected, events)."""
    warehouse = Warehouse(desk.settings)
    for hour, source, reason, rejected, events in rows:
        at = {"h": int(hour.timestamp()), "s": source, "r": reason, "n": rejected, "e": events}
        warehouse.client.command(
            "INSERT INTO source_stats (hour, source, events, failed) "
            "SELECT toDateTime({h:Int64}, 'UTC'), {s:String}, {e:UInt64}, {n:UInt64}",
            at,
        )
        if rejected:
            warehouse.client.command(
                "INSERT INTO dead_letters_hourly (hour, reason, source, letters, first_seen, last_seen, examples) "
                "SELECT toDateTime({h:Int64}, 'UTC') AS hour, {r:String}, {s:String}, {n:UInt64}, hour, hour, ['0:1']",
                at,
            )
    return warehouse


def hours(count: int) -> list[datetime]:
    """The finished hours before NOW, newest first."""
    last = NOW.replace(minute=0) - timedelta(hours=1)
    return [last - timedelta(hours=number) for number in range(count)]


def test_a_surge_is_many_times_the_usual_number_of_rejected_events(desk: Desk) -> None:
    usual = [(hour, "web", "wrong_type", 20, 1000) for hour in hours(48)[1:]]
    quiet = fill(desk, [*usual, (hours(1)[0], "web", "wrong_type", 30, 1000)])
    assert checks.surge(quiet, NOW).count == 0
    loud = fill(desk, [(hours(1)[0], "web", "wrong_type", 400, 1000)])
    assert checks.surge(loud, NOW).count == 430


def test_a_reason_is_new_when_a_month_has_not_seen_it(desk: Desk) -> None:
    known = [(hour, "web", "wrong_type", 20, 1000) for hour in hours(48)]
    assert checks.new_reasons(fill(desk, known), NOW).count == 0
    found = checks.new_reasons(fill(desk, [(hours(1)[0], "web", "missing_field", 1, 1000)]), NOW)
    assert found.count == 1
    assert "missing_field of the message from web" in found.text


def test_a_producer_is_broken_when_suddenly_much_of_what_it_sends_is_rejected(desk: Desk) -> None:
    usual = [
        (hour, source, "wrong_type", 10, 1000) for hour in hours(24)[2:] for source in ("web", "billing")
    ]
    now = [(hours(1)[0], "web", "wrong_type", 12, 1000), (hours(1)[0], "billing", "wrong_type", 600, 1000)]
    found = checks.broken_sources(fill(desk, usual + now), NOW)
    assert [line["source"] for line in found.lines] == ["billing"]


def test_a_retry_without_a_verdict_and_a_letter_in_quarantine_are_named(rejected: Desk) -> None:
    now = rejected.register.now()
    assert checks.stuck(rejected.register, timedelta(minutes=15), now).count == 0
    one, other = rejected.letters()[:2]
    rejected.register.begin([one.id], "ann", "again")
    rejected.register.quarantine(LetterFilter(names=(other.name,)), "ann", "later")
    found = checks.stuck(rejected.register, timedelta(minutes=15), now + timedelta(minutes=20))
    assert [line["letter"] for line in found.lines] == [one.name, other.name]
    assert found.count == 2
