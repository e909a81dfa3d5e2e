"""The backup of ClickHouse: the engine's own, full and incremental, restored and compared partition by partition."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pyrage
import pytest
from pydantic import SecretStr

from wotr_pipeline.backups.clickhouse import FROZEN_PREFIX, ClickHouseTarget
from wotr_pipeline.backups.engine_files import note_files
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import Taken, drill_newest, lease_name, take_backup
from wotr_pipeline.backups.target import Selection, scratch_prefix
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.engine_backups import EngineBackups
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.leases import lease
from wotr_pipeline.stores.ledger_locks import RunConnection
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.backups.conftest import LOG, encrypting, flip_a_byte
from wotr_pipeline_tests.killed import killed, killed_once

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
        for change in ("ADD COLUMN derived", "MODIFY COLUMN derived"):
            with closing(Warehouse(filled)) as warehouse:
                warehouse.client.command(f"ALTER TABLE odd {change} UInt64 MATERIALIZED id + {len(seen)}")
            seen.add(tuple(engine.sums(filled.clickhouse_db, "odd")))
    assert len(seen) == 7


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


def test_a_damaged_chain_is_found_by_the_drill_and_the_next_backup_is_a_full_one(filled: Settings) -> None:
    first = take(filled).manifest
    with closing(Warehouse(filled)) as warehouse:
        fill(warehouse, 70_000, "2026-08-01")
    second = take(filled).manifest
    assert second.base_id == first.backup_id
    repository = Repository(filled)
    objects, prefix = repository.objects, first.details["engine prefix"]
    keys = [found.key for found in objects.list(prefix)]
    data = next(key for key in keys if key.endswith(("data.bin", "text.bin")))

    def drilled(settings: Settings = filled) -> str:
        return drill_newest(settings, ClickHouseTarget(settings), "a test", LOG).verification.problem

    for key in (data, f"{prefix}.backup"):
        whole = objects.get(key)
        flip_a_byte(objects, key)
        assert f"{key} was changed" in drilled()
        objects.put(key, whole[: len(whole) // 2])
        assert f"{key} was changed" in drilled()
        objects.delete([key])
        assert f"{key} is missing" in (problem := drilled())
        assert first.backup_id in problem
        assert "Use an older backup" in problem
        objects.put(key, whole)
    assert drilled() == ""
    stranger = filled.model_copy(
        update={"wotr_backup_signing_key": SecretStr("another key of 32 characters....")}
    )
    with pytest.raises(PermanentError, match="can be trusted"):
        drilled(stranger)
    repository.forget(Store.CLICKHOUSE, first.backup_id)
    assert first.backup_id in drilled()
    third = take(filled)
    assert third.manifest.base_id is None
    assert third.verification.problem == ""


def test_what_rots_where_no_list_shows_it_is_found_by_reading(filled: Settings) -> None:
    manifest = take(filled).manifest
    repository = Repository(filled)
    prefix = manifest.details["engine prefix"]
    keys = [found.key for found in repository.objects.list(prefix)]
    for ending in ("data.bin", "checksums.txt", "/odd.sql", "/.backup"):
        key = next(key for key in keys if key.endswith(ending))
        whole = repository.objects.get(key)
        flip_a_byte(repository.objects, key)
        # What the list says is made to agree; all that is left is the contents.
        files, _, _ = note_files(repository, manifest.backup_id, prefix)
        repository.publish(replace(manifest, files=files))
        problem = drill_newest(filled, ClickHouseTarget(filled), "a test", LOG).verification.problem
        assert manifest.backup_id in problem
        assert "an older backup" in problem.lower()
        repository.objects.put(key, whole)


def test_a_backup_that_the_engine_wrote_to_another_store_is_none(
    filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(filled)
    monkeypatch.setattr(repository, "bucket", filled.minio_bucket)
    repository.prepare()
    with pytest.raises(PermanentError, match="wotr_backups must have the endpoint"):
        ClickHouseTarget(filled).take(repository, "clickhouse-20261101T000000000Z", LOG)
    repository.bucket = filled.wotr_backup_bucket
    ObjectStore(filled).delete([found.key for found in ObjectStore(filled).list("")])


def test_encrypted_nothing_lies_in_plain_and_only_the_identity_opens_it(filled: Settings) -> None:
    sealed = encrypting(filled)
    assert take(sealed).verification.problem == ""
    again = take(sealed)
    assert again.manifest.base_id is None
    assert again.verification.problem == ""
    repository = Repository(sealed)
    keys = [found.key for found in repository.objects.list("clickhouse/data/")]
    assert keys
    assert all(key.endswith(".age") for key in keys)
    for wrong, told in (
        ("", "WOTR_BACKUP_IDENTITY is empty"),
        (str(pyrage.x25519.Identity.generate()), "is not the one"),
    ):
        other = sealed.model_copy(update={"wotr_backup_identity": SecretStr(wrong)})
        assert told in drill_newest(other, ClickHouseTarget(other), "a test", LOG).verification.problem
    # A drill that is killed while the engine reads leaves files in plain: not for longer than the next run begins.
    killed(drill, sealed, at=EngineBackups.restore)
    assert any(not found.key.endswith(".age") for found in repository.objects.list("clickhouse/data/"))
    with lease(sealed, lease_name(Store.CLICKHOUSE), "a test"):
        ClickHouseTarget(sealed).prepare(repository)
    assert [found.key for found in repository.objects.list("clickhouse/data/")] == keys


def drill(settings: Settings) -> None:
    drill_newest(settings, ClickHouseTarget(settings), "a killed run", LOG)


def replace_all(settings: Settings) -> None:
    repository, target = Repository(settings), ClickHouseTarget(settings)
    target.replace(repository, repository.newest(target.store), Selection(), LOG)


def test_a_restore_that_is_killed_between_two_tables_is_finished_by_the_next_and_nothing_former_is_lost(
    filled: Settings,
) -> None:
    with closing(Warehouse(filled)) as warehouse:
        warehouse.client.command("CREATE TABLE another AS odd")
        warehouse.client.command("INSERT INTO another SELECT * FROM odd")
        manifest = take(filled).manifest
        for table in ("another", "odd"):
            warehouse.client.command(f"TRUNCATE TABLE {table}")
        fill(warehouse, 1, "2026-11-01", 5)
        warehouse.client.command("INSERT INTO another SELECT * FROM odd")
    killed(replace_all, filled, at=EngineBackups.exchange, call=2)
    counts = "SELECT [(SELECT count() FROM another), (SELECT count() FROM odd)]"
    assert asked(filled, counts) == [3000, 5]
    done = ClickHouseTarget(filled).replace(Repository(filled), manifest, Selection(), LOG)
    assert asked(filled, counts) == [3000, 3000]
    with closing(EngineBackups(filled)) as engine:
        unfinished, finished = engine.databases(f"{filled.clickhouse_db}_before_")
    assert f"DROP DATABASE {finished};" in done.notes[0]
    assert unfinished in done.notes[1]
    assert asked(filled, f"SELECT count() FROM {unfinished}.another") == 5
    assert asked(filled, f"SELECT count() FROM {finished}.odd") == 5


@pytest.mark.parametrize("moment", ["frozen", "clickhouse/data/", "clickhouse/manifests/"])
def test_a_run_that_is_killed_leaves_no_false_backup_and_nothing_for_long(
    filled: Settings, moment: str
) -> None:
    repository = Repository(filled)
    repository.prepare()

    def reached() -> object:
        return frozen(filled) if moment == "frozen" else next(repository.objects.list(moment), None)

    killed_once(reached, take, filled)
    taken = take(filled)
    assert taken.verification.problem == ""
    ids = repository.backup_ids(Store.CLICKHOUSE)
    for backup_id in ids:
        assert repository.manifest(Store.CLICKHOUSE, backup_id).items == 3000
    assert {found.key.split("/")[2] for found in repository.objects.list("clickhouse/data/")} == set(ids)
    assert frozen(filled) == scratch(filled) == []


def test_an_engine_that_is_killed_while_it_writes_fails_the_run_and_the_next_one_is_whole(
    filled: Settings, servers: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Warehouse(filled)) as warehouse:
        fill(warehouse, 100_000, "2026-12-01", 197_000)
    real = EngineBackups._wait

    def killed_meanwhile(self: EngineBackups, identity: str, verb: str, log: logging.Logger) -> None:
        servers.kill("clickhouse")
        real(self, identity, verb, log)

    with monkeypatch.context() as patch:
        patch.setattr(EngineBackups, "_wait", killed_meanwhile)
        with pytest.raises(TransientError):
            take(filled)
    assert Repository(filled).backup_ids(Store.CLICKHOUSE) == []
    servers.wait_ready("clickhouse")
    taken = take(filled)
    assert taken.verification.problem == ""
    assert taken.manifest.items == 200_000
    assert frozen(filled) == scratch(filled) == []
