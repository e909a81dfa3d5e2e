"""What may be deleted where it is live: only what a verified backup holds, value for value."""

from contextlib import closing

import pytest

from wotr_pipeline.backups.clickhouse import ClickHouseTarget
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.minio import MinioTarget
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import drill_newest, take_backup
from wotr_pipeline.backups.verified import VerifiedBackups
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.engine_backups import EngineBackups
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.backups.conftest import LOG


@pytest.fixture
def settings(backed_up: Settings) -> Settings:
    return backed_up.model_copy(update={"clickhouse_db": backed_up.postgres_db})


def test_a_month_is_held_only_while_every_value_of_it_is_as_in_the_backup(settings: Settings) -> None:
    with closing(Warehouse(settings)) as warehouse:
        warehouse.migrate()
        warehouse.client.command(
            "CREATE TABLE odd (id UInt64, at Date) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY id"
        )
        warehouse.client.command("INSERT INTO odd SELECT number, '2026-10-05' FROM numbers(10)")
        assert not VerifiedBackups(settings).has_month("odd", "202610")
        take_backup(settings, ClickHouseTarget(settings), "a test", LOG)
        verified = VerifiedBackups(settings)
        assert verified.has_month("odd", "202610")
        assert not verified.has_month("odd", "202609")
        warehouse.client.command("INSERT INTO odd VALUES (99, '2026-10-06')")
        assert not verified.has_month("odd", "202610")
    with closing(EngineBackups(settings)) as engine:
        engine.drop(settings.clickhouse_db)


def test_an_object_is_held_only_by_a_backup_whose_drill_was_good(settings: Settings) -> None:
    bucket, target = ObjectStore(settings), MinioTarget(settings)
    bucket.put("raw/a", b"a")
    assert not VerifiedBackups(settings).has_object("raw/a")
    take_backup(settings, target, "a test", LOG)
    bucket.put("raw/b", b"b")
    verified = VerifiedBackups(settings)
    assert verified.has_object("raw/a")
    assert not verified.has_object("raw/b")
    store = Repository(settings).objects
    store.delete([found.key for found in store.list("minio/contents/")])
    assert drill_newest(settings, target, "a test", LOG).verification.problem
    assert not VerifiedBackups(settings).has_object("raw/a")
    assert Repository(settings).backup_ids(Store.MINIO)
