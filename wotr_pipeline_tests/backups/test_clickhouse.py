"""The backup of ClickHouse: the engine's own, full and incremental, restored and compared partition by partition."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyrage
import pytest
from pydantic import SecretStr
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.backups.clickhouse import FROZEN_PREFIX, ClickHouseTarget
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import Taken, drill_newest, take_backup
from wotr_pipeline.backups.target import Selection, scratch_prefix
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.engine_backups import EngineBackups
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.ledger_locks import RunConnection
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.backups.conftest import LOG, flip_a_byte
from wotr_pipeline_tests.conftest import environment_of

FILL = """
INSERT INTO odd SELECT number + {first:UInt64}, repeat('ü', number % 50), if(number % 3 = 0, NULL, number),
    toString(number % 5), [number, number * 2], toDateTime({month:String}) + number
FROM numbers({count:UInt64})
"""


@pytest.fixture
def filled(backed_up: Settings) -> Iterator[Settings]:
    """The pipeline's own tables, and an odd one with rows in three months."""
    settings = backed_up.model_copy(update={"clickhouse_db": backed_up.postgres_db})
    warehouse = Warehouse(settings)
    with closing(warehouse):
        warehouse.migrate()
        warehouse.client.command(
            "CREATE TABLE odd (id UInt64, text String, number Nullable(Int32), word LowCardinality(String), "
            "list Array(UInt64), at DateTime) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY id"
        )
        for number, month in enumerate(("2026-09-01", "2026-10-01", "2026-11-01")):
            fill(warehouse, number * 1000, month)
        yield settings
    with closing(EngineBackups(settings)) as engine:
        for name in (*engine.databases(settings.clickhouse_db), *frozen(settings), *scratch(settings)):
            engine.drop(name)


def fill(warehouse: Warehouse, first: int, month: str, count: int = 1000) -> None:
    warehouse.client.command(FILL, parameters={"first": first, "month": f"{month} 00:00:00", "count": count})


def frozen(settings: Settings) -> list[str]:
    with closing(EngineBackups(settings)) as engine:
        return engine.databases(f"{FROZEN_PREFIX}{settings.clickhouse_db}")


def scratch(settings: Settings) -> list[str]:
    with closing(EngineBackups(settings)) as engine:
        return engine.databases(scratch_prefix(Store.CLICKHOUSE, settings.clickhouse_db))


def take(settings: Settings) -> Taken:
    return take_backup(settings, ClickHouseTarget(settings), "a test", LOG)


def asked(settings: Settings, question: str) -> object:
    with closing(Warehouse(settings)) as warehouse:
        return warehouse.client.query(question).first_row[0]


def test_a_full_backup_and_what_builds_upon_it_come_back_with_every_row_until_the_next_full_one(
    filled: Settings,
) -> None:
    settings = filled.model_copy(update={"wotr_backup_full_every": 3})
    taken = []
    for number in range(4):
        taken.append(take(settings))
        assert taken[-1].verification.problem == ""
        with closing(Warehouse(settings)) as warehouse:
            fill(warehouse, 10_000 * (number + 1), f"2026-0{number + 1}-01")
    ids = [one.manifest.backup_id for one in taken]
    assert [one.manifest.base_id for one in taken] == [None, ids[0], ids[1], None]
    assert [one.manifest.items for one in taken] == [3000, 4000, 5000, 6000]
    assert [one.backup_id for one in Repository(settings).chain(taken[2].manifest)] == ids[:3]
    assert taken[1].manifest.bytes < taken[0].manifest.bytes
    assert frozen(settings) == []
    assert scratch(settings) == []


def test_the_sums_see_a_changed_value_of_any_column(filled: Settings) -> None:
    with closing(EngineBackups(filled)) as engine:
        seen = {tuple(engine.sums(filled.clickhouse_db, "odd"))}
        for change in ("number = NULL", "text = 'x'", "list = []", "word = ''"):
            with closing(Warehouse(filled)) as warehouse:
                warehouse.client.command(
                    f"ALTER TABLE odd UPDATE {change} WHERE id = 1004", settings={"mutations_sync": 2}
                )
            seen.add(tuple(engine.sums(filled.clickhouse_db, "odd")))
    assert len(seen) == 5


def test_loads_go_on_during_a_backup_and_it_holds_each_of_them_whole_or_not_at_all(filled: Settings) -> None:
    stop = threading.Event()

    def load() -> None:
        run = RunConnection(filled, "a load")
        run.open()
        with closing(Warehouse(filled)) as warehouse:
            number = 100_000
            while not stop.is_set():
                with run.load_lock(60):
                    fill(warehouse, number, "2026-11-01", 10)
                    fill(warehouse, number, "2026-10-01", 10)
                number += 10
        run.close()

    loading = threading.Thread(target=load)
    loading.start()
    try:
        taken = take(filled)
    finally:
        stop.set()
        loading.join()
    assert taken.verification.problem == ""
    rows = {fact.partition: fact.items for fact in taken.manifest.facts if fact.name == "odd"}
    assert rows["202610"] == rows["202611"] > 1000


def test_one_partition_takes_the_place_of_the_live_one_and_the_former_one_is_kept(filled: Settings) -> None:
    taken = take(filled)
    with closing(Warehouse(filled)) as warehouse:
        warehouse.client.command("ALTER TABLE odd DROP PARTITION 202610")
        fill(warehouse, 50_000, "2026-10-05", 7)
        fill(warehouse, 60_000, "2026-11-05", 7)
    target, repository = ClickHouseTarget(filled), Repository(filled)
    wanted = Selection(table="odd", partition="202610")
    assert "1,000 rows" in target.plan(repository, taken.manifest, wanted, in_place=True)[0]
    done = target.replace(repository, taken.manifest, wanted, LOG)
    assert done.items == 1000
    assert asked(filled, "SELECT count() FROM odd WHERE toYYYYMM(at) = 202610") == 1000
    assert asked(filled, "SELECT count() FROM odd WHERE toYYYYMM(at) = 202611") == 1007
    (kept,) = (word for word in done.notes[0].split() if "_before_" in word)
    assert asked(filled, f"SELECT count() FROM {kept.strip(';')}.odd") == 7
    for wrong, told in (
        (Selection(table="odd", partition="202001"), "202609, 202610, 202611"),
        (Selection(table="even"), "has no table even"),
        (Selection(partition="202610"), "--table"),
        (Selection(prefix="raw/"), "no prefixes"),
    ):
        with pytest.raises(PermanentError, match=told):
            target.replace(repository, taken.manifest, wrong, LOG)


def test_in_place_all_tables_change_places_also_where_there_are_none(filled: Settings) -> None:
    taken = take(filled)
    with closing(Warehouse(filled)) as warehouse:
        warehouse.client.command("TRUNCATE TABLE odd")
    target, repository = ClickHouseTarget(filled), Repository(filled)
    target.replace(repository, taken.manifest, Selection(), LOG)
    assert asked(filled, "SELECT count() FROM odd") == 3000
    with closing(EngineBackups(filled)) as engine:
        engine.drop(filled.clickhouse_db)
    target.replace(repository, taken.manifest, Selection(), LOG)
    assert asked(filled, "SELECT count() FROM odd") == 3000
    assert asked(filled, "SELECT count() FROM ingested_data") == 0


@pytest.mark.parametrize("damage", ["flipped", "missing", "base gone"])
def test_a_damaged_chain_is_found_by_the_drill_and_the_next_backup_is_a_full_one(
    filled: Settings, damage: str
) -> None:
    first = take(filled)
    with closing(Warehouse(filled)) as warehouse:
        fill(warehouse, 70_000, "2026-08-01")
    second = take(filled)
    assert second.manifest.base_id == first.manifest.backup_id
    repository = Repository(filled)
    key = next(
        found.key
        for found in repository.objects.list(first.manifest.details["engine prefix"])
        if found.key.endswith("data.bin") or found.key.endswith("text.bin")
    )
    if damage == "flipped":
        flip_a_byte(repository.objects, key)
    elif damage == "missing":
        repository.objects.delete([key])
    else:
        repository.forget(Store.CLICKHOUSE, first.manifest.backup_id)
    found = drill_newest(filled, ClickHouseTarget(filled), "a test", LOG).verification
    assert (key if damage != "base gone" else first.manifest.backup_id) in found.problem
    third = take(filled)
    assert third.manifest.base_id is None
    assert third.verification.problem == ""


def test_encrypted_nothing_lies_in_plain_and_only_the_identity_opens_it(filled: Settings) -> None:
    identity = pyrage.x25519.Identity.generate()
    sealed = filled.model_copy(
        update={
            "wotr_backup_recipient": str(identity.to_public()),
            "wotr_backup_identity": SecretStr(str(identity)),
        }
    )
    assert take(sealed).verification.problem == ""
    again = take(sealed)
    assert again.manifest.base_id is None
    assert again.verification.problem == ""
    repository = Repository(sealed)
    keys = [found.key for found in repository.objects.list("clickhouse/data/")]
    assert keys
    assert all(key.endswith(".age") for key in keys)
    other = sealed.model_copy(update={"wotr_backup_identity": SecretStr("")})
    found = drill_newest(other, ClickHouseTarget(other), "a test", LOG).verification
    assert "WOTR_BACKUP_IDENTITY is empty" in found.problem


SCRIPT = """
import logging
from wotr_pipeline.backups.clickhouse import ClickHouseTarget
from wotr_pipeline.backups.taking import take_backup
from wotr_pipeline.config import load_settings
take_backup(load_settings(), ClickHouseTarget(load_settings()), "a run that is killed", logging.getLogger())
"""


@pytest.mark.parametrize("moment", ["frozen", "clickhouse/data/", "clickhouse/manifests/"])
def test_a_run_that_is_killed_leaves_no_false_backup_and_nothing_for_long(
    filled: Settings, tmp_path: Path, moment: str
) -> None:
    repository = Repository(filled)
    repository.prepare()
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(
        command, env=environment_of(filled), cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as run:
        waiting = Retrying(
            stop=stop_after_delay(60), wait=wait_fixed(0.005), retry=retry_if_result(lambda x: not x)
        )
        if moment == "frozen":
            waiting(lambda: run.poll() is not None or frozen(filled))
        else:
            waiting(lambda: run.poll() is not None or next(repository.objects.list(moment), None))
        run.send_signal(signal.SIGKILL)
    taken = take(filled)
    assert taken.verification.problem == ""
    ids = repository.backup_ids(Store.CLICKHOUSE)
    for backup_id in ids:
        assert repository.manifest(Store.CLICKHOUSE, backup_id).items == 3000
    assert {found.key.split("/")[2] for found in repository.objects.list("clickhouse/data/")} == set(ids)
    assert frozen(filled) == scratch(filled) == []
