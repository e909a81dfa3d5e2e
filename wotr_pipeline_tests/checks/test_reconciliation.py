"""Ledger = objects = rows: whatever is taken away or added in one place is found."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from wotr_pipeline.checks.reconciliation import Finding, Reconciliation, reconcile_hour
from wotr_pipeline.checks.repeated_ids import repeated_ids
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.object_keys import hour_prefix
from wotr_pipeline.stores.objects import ObjectInfo, ObjectStore
from wotr_pipeline_tests.checks.conftest import HOUR, LoadedHour, judged, loaded
from wotr_pipeline_tests.conftest import new_space
from wotr_pipeline_tests.produced import event


@pytest.fixture(scope="module")
def one_hour(platform: Settings, servers: Platform) -> Iterator[LoadedHour]:
    with new_space(servers) as space, loaded(space) as hour:
        yield hour


@pytest.fixture
def shared_hour(one_hour: LoadedHour) -> Iterator[LoadedHour]:
    """What ``loaded_hour`` is, the same for all: its objects are put back afterwards."""
    objects = one_hour.objects
    kept = {info.key: (objects.get(info.key), objects.head(info.key)) for info in objects.list("")}
    yield one_hour
    objects.delete([info.key for info in objects.list("") if info.key not in kept])
    for key, (data, found) in kept.items():
        assert found is not None
        objects.put(key, data, found.metadata)


def reconciled(hour: LoadedHour) -> Reconciliation:
    return reconcile_hour(hour.ledger, hour.warehouse, hour.objects, HOUR)


def differences(hour: LoadedHour) -> list[tuple[str, str, str, str]]:
    return [(f.batch_id.split(":", 1)[1], f.what, f.expected, f.found) for f in reconciled(hour).findings]


def test_an_hour_that_was_carried_properly_agrees(shared_hour: LoadedHour) -> None:
    found = reconciled(shared_hour)
    assert found.findings == ()
    assert (found.batches, found.under_way, found.expected_rows, found.found_rows) == (2, 0, 70, 70)
    assert (found.raw_objects, found.dead_letters) == (2, 4)


def test_an_hour_without_batches_agrees(shared_hour: LoadedHour) -> None:
    found = reconcile_hour(
        shared_hour.ledger, shared_hour.warehouse, shared_hour.objects, HOUR + timedelta(hours=5)
    )
    assert found.agrees
    assert found.batches == 0


def test_a_row_that_is_gone_is_found(loaded_hour: LoadedHour) -> None:
    loaded_hour.warehouse.client.command(
        "DELETE FROM ingested_data WHERE id = 'b3' SETTINGS mutations_sync = 2, lightweight_deletes_sync = 2"
    )
    assert differences(loaded_hour) == [("1:7-36", "rows in ClickHouse", "30", "29")]
    assert reconciled(loaded_hour).findings[0].since is not None


def test_a_row_that_is_there_twice_is_found(loaded_hour: LoadedHour) -> None:
    (batch,) = [b for b in loaded_hour.ledger.batches(HOUR) if b.partition == 1]
    loaded_hour.insert(judged(batch, [event("b0")]))
    assert differences(loaded_hour) == [
        ("1:7-36", "rows in ClickHouse", "30", "31"),
        ("1:7-36", "different Kafka offsets in ClickHouse", "31", "30"),
    ]
    twice = repeated_ids(loaded_hour.warehouse, HOUR)
    assert (twice.ids, twice.extra_rows, twice.sample_ids, twice.batch_ids) == (
        1,
        1,
        ("b0",),
        (batch.batch_id,),
    )


def test_ids_of_failed_rows_may_repeat(loaded_hour: LoadedHour) -> None:
    assert repeated_ids(loaded_hour.warehouse, HOUR).ids == 0
    (batch,) = [b for b in loaded_hour.ledger.batches(HOUR) if b.partition == 1]
    loaded_hour.insert(judged(batch, [event("same", event_type="none"), event("same", event_type="none")]))
    assert repeated_ids(loaded_hour.warehouse, HOUR).ids == 0


def test_rows_of_a_batch_that_the_ledger_does_not_have_are_found(loaded_hour: LoadedHour) -> None:
    unknown = loaded_hour.plan(0, 40, 5)
    loaded_hour.insert(judged(unknown, [event("c0")]))
    assert differences(loaded_hour) == []
    assert reconciled(loaded_hour).rows_under_way == 1
    loaded_hour.warehouse.client.command(
        "ALTER TABLE ingested_data UPDATE batch_id = 'x:9:0-1' WHERE id = 'c0' SETTINGS mutations_sync = 2"
    )
    assert differences(loaded_hour) == [("9:0-1", "rows of a batch that the ledger does not have", "0", "1")]


def test_batches_under_way_are_counted_and_not_blamed(loaded_hour: LoadedHour) -> None:
    loaded_hour.plan(0, 40, 5)
    found = reconciled(loaded_hour)
    assert (found.agrees, found.batches, found.under_way) == (True, 2, 1)


def test_a_batch_that_a_run_finishes_meanwhile_is_not_blamed(loaded_hour: LoadedHour) -> None:
    batch = loaded_hour.plan(0, 40, 1)

    class ListedTooEarly(ObjectStore):
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            found = list(super().list(prefix))
            loaded_hour.carry(batch, [event("c0")])
            return iter(found)

    objects = ListedTooEarly(loaded_hour.settings)
    found = reconcile_hour(loaded_hour.ledger, loaded_hour.warehouse, objects, HOUR)
    assert (found.findings, found.batches, found.under_way) == ((), 2, 1)
    assert reconciled(loaded_hour).batches == 3


def _raw_key(hour: LoadedHour) -> str:
    return next(b.raw_key or "" for b in hour.ledger.batches(HOUR) if b.partition == 0)


def _letters_key(hour: LoadedHour) -> str:
    return next(b.dead_letters_key or "" for b in hour.ledger.batches(HOUR) if b.partition == 0)


def _extra(hour: LoadedHour) -> None:
    hour.objects.put(f"{hour_prefix('raw/', HOUR)}stray-0-0-1.parquet", b"x", {})


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda h: h.objects.delete([_raw_key(h)]), "raw object"),
        (lambda h: h.objects.put(_raw_key(h), b"short", {}), "bytes of the raw object"),
        (lambda h: h.objects.put(_raw_key(h), b"stands for a Parquet File", {"records": "40"}), "sha256 in"),
        (_extra, "raw object raw/date=2026-11-23/hour=08/stray-0-0-1.parquet, of no batch"),
        (lambda h: h.objects.delete([_letters_key(h)]), "dead letters"),
        (lambda h: h.objects.put(_letters_key(h), b"{}\n", {"records": "1"}), "dead letters"),
        (lambda h: h.objects.put(_letters_key(h), b"{}\n{}\n", {}), "dead letters"),
    ],
)
def test_an_object_that_is_gone_changed_or_too_many_is_found(
    shared_hour: LoadedHour, damage: Callable[[LoadedHour], None], what: str
) -> None:
    damage(shared_hour)
    findings: tuple[Finding, ...] = reconciled(shared_hour).findings
    assert len(findings) == 1
    assert findings[0].what.startswith(what)
