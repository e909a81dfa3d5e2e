"""The checks as Dagster runs and shows them: gate results of an op, partitioned and standing checks."""

import re
from collections.abc import Iterator
from datetime import UTC, timedelta

import dagster as dg
import pytest

from wotr_pipeline.assets.partitions import arrival_hours, hour_key
from wotr_pipeline.checks import quality
from wotr_pipeline.checks.definitions import (
    HOUR_JOB,
    STANDING_JOB,
    standing_checks,
    standing_checks_schedule,
)
from wotr_pipeline.checks.expectations import gate
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.checks.conftest import HOUR, LoadedHour, changed, judged
from wotr_pipeline_tests.produced import BAD, event

ASSETS = ("raw_objects", "validated_batches", "dead_letters", "ingested_data")
BATCH = Batch("t", 0, 0, 39, HOUR, records=40)


def definitions(settings: Settings, resources: dict[str, object]) -> dg.Definitions:
    partitions = arrival_hours(settings)
    checks = standing_checks(settings)
    return dg.Definitions(
        assets=[dg.AssetSpec(name, partitions_def=partitions) for name in ASSETS],
        asset_checks=checks,
        schedules=standing_checks_schedule(settings, checks),
        resources=resources,
        executor=dg.in_process_executor,
    )


@pytest.fixture
def wired(loaded_hour: LoadedHour) -> dg.Definitions:
    return definitions(
        loaded_hour.settings,
        {"ledger": loaded_hour.ledger, "objects": loaded_hour.objects, "warehouse": loaded_hour.warehouse},
    )


def results(run: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in run.get_asset_check_evaluations()}


def test_a_sound_hour_passes_every_check_of_its_partition(wired: dg.Definitions) -> None:
    run = wired.resolve_job_def(HOUR_JOB).execute_in_process(partition_key=hour_key(HOUR))
    found = results(run)
    assert set(found) == {
        "rows_keep_the_contract",
        "ledger_objects_and_rows_agree",
        "no_event_twice",
        "volume_is_usual",
        "no_new_event_versions",
    }
    assert {name for name, evaluation in found.items() if not evaluation.passed} == set()


def test_a_broken_hour_says_what_where_since_when_and_what_to_do(
    wired: dg.Definitions, loaded_hour: LoadedHour
) -> None:
    (batch,) = [b for b in loaded_hour.ledger.batches(HOUR) if b.partition == 1]
    loaded_hour.insert(changed(judged(batch, [event("b0")]), 0, source=""))
    run = wired.resolve_job_def(HOUR_JOB).execute_in_process(partition_key=hour_key(HOUR))
    found = results(run)
    failed = {name for name, evaluation in found.items() if not evaluation.passed}
    assert failed == {"rows_keep_the_contract", "ledger_objects_and_rows_agree", "no_event_twice"}
    for name in failed:
        evaluation = found[name]
        assert evaluation.severity is dg.AssetCheckSeverity.ERROR
        assert evaluation.metadata["what to do"].value.endswith(f"operating.md#{name}")
    text = found["ledger_objects_and_rows_agree"].description or ""
    assert batch.batch_id in text
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC", text)
    assert "expected 30, found 31" in text


def test_standing_checks_run_without_a_partition(wired: dg.Definitions, loaded_hour: LoadedHour) -> None:
    run = wired.resolve_job_def(STANDING_JOB).execute_in_process()
    found = results(run)
    assert set(found) == {
        "no_late_batches",
        "no_quarantined_batches",
        "no_gap_in_the_plan",
        "events_are_queryable_in_time",
        "columns_are_as_declared",
        "producers_keep_registered_versions",
    }
    assert {name for name, evaluation in found.items() if not evaluation.passed} == set()
    loaded_hour.ledger.record_loss(loaded_hour.settings.kafka_topic, 0, 40, 49, HOUR, "retention")
    again = results(wired.resolve_job_def(STANDING_JOB).execute_in_process())
    assert not again["no_quarantined_batches"].passed
    assert "1 batches are quarantined" in (again["no_quarantined_batches"].description or "")


def test_the_hour_before_is_looked_at_every_hour(engine: Warehouse) -> None:
    wired = definitions(engine.settings, {"ledger": None, "objects": None, "warehouse": engine})
    schedule = wired.resolve_schedule_def("hour_checks_schedule")
    with dg.build_schedule_context(scheduled_execution_time=HOUR + timedelta(minutes=20)) as context:
        request = schedule(context)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == hour_key(HOUR - timedelta(hours=1))
    first = engine.settings.wotr_first_hour + timedelta(minutes=20)
    with dg.build_schedule_context(scheduled_execution_time=first.astimezone(UTC)) as context:
        assert isinstance(schedule(context), dg.SkipReason)


def gated_run(settings: Settings, engine: Warehouse, tables: list[str]) -> dg.ExecuteInProcessResult:
    @dg.multi_asset(
        specs=[dg.AssetSpec(name, skippable=True) for name in ASSETS],
        check_specs=quality.check_specs(settings),
        partitions_def=arrival_hours(settings),
        # Without it Dagster insists on a result of every check, also of a run that judged nothing.
        can_subset=True,
    )
    def ingest(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        gates = [gate(engine, table, BATCH) for table in tables]
        yield from quality.check_results(settings, gates)
        if any(result.blocking_failures for result in gates):
            raise dg.Failure("blocked")
        yield dg.MaterializeResult(asset_key="ingested_data")

    wired = dg.Definitions(assets=[ingest], executor=dg.in_process_executor)
    return wired.resolve_implicit_global_asset_job_def().execute_in_process(
        partition_key=hour_key(HOUR), raise_on_error=False
    )


def test_the_ingest_op_reports_its_gate_per_partition(engine: Warehouse, staged) -> None:
    rows = judged(BATCH, [*(event(f"a{n}") for n in range(36)), *BAD])
    run = gated_run(engine.settings, engine, [staged(rows), staged(rows)])
    assert run.success
    found = results(run)
    assert set(found) == {check.name for check in quality.GATE_CHECKS}
    assert all(evaluation.passed for evaluation in found.values())
    assert {evaluation.partition for evaluation in found.values()} == {hour_key(HOUR)}
    rejected = found["few_rows_are_rejected"].metadata
    assert (rejected["rejected: rows"].value, rejected["rejected: percent"].value) == (8, 10.0)
    assert (rejected["rows checked"].value, rejected["batches checked"].value) == (80, 2)


def test_a_failed_gate_is_recorded_although_the_op_fails(engine: Warehouse, staged) -> None:
    rows = judged(BATCH, [*(event(f"a{n}") for n in range(36)), *BAD])
    run = gated_run(engine.settings, engine, [staged(rows), staged(changed(rows, 0, source=""))])
    assert not run.success
    assert not run.asset_materializations_for_node("ingest")
    found = results(run)
    contract = found["valid_rows_keep_the_contract"]
    assert (contract.passed, contract.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert contract.description == (
        "not so that a valid row has a source of 1 to 100 characters: 1 of 80 rows (1.25 %), in t:0:0-39. "
        "These batches were not loaded; they are quarantined until someone reopens them."
    )
    (line,) = [r.data for r in contract.metadata["expectations"].records if not r.data["holds"]]
    assert line["some ids"] == "a0"


def test_a_run_that_judged_nothing_leaves_the_last_results_alone(engine: Warehouse) -> None:
    run = gated_run(engine.settings, engine, [])
    assert run.success
    assert results(run) == {}


def test_checks_say_nothing_of_what_events_hold(wired: dg.Definitions, loaded_hour: LoadedHour) -> None:
    (batch,) = [b for b in loaded_hour.ledger.batches(HOUR) if b.partition == 1]
    loaded_hour.insert(judged(batch, [event("b0", data={"password": "hunter2"}), b"hunter2 no json"]))
    run = wired.resolve_job_def(HOUR_JOB).execute_in_process(partition_key=hour_key(HOUR))
    assert not results(run)["no_event_twice"].passed
    assert "hunter2" not in repr(results(run))
