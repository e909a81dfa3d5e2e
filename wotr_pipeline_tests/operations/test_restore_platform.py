"""A restored platform is the platform it was: the same rows, once each, and what Kafka got since.

The tests of restores share one place (``backed_up``): each of them leaves it as its backups have it, or with later
events in it.
"""

import logging
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import kafka
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from wotr_pipeline.backups.manifest import Manifest, Store, Verification
from wotr_pipeline.backups.postgres import PostgresTarget
from wotr_pipeline.backups.repository import Repository, backup_store, new_id
from wotr_pipeline.backups.taking import take_backup
from wotr_pipeline.backups.targets import target_of
from wotr_pipeline.cli import main
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.restore.guard import require_quiet
from wotr_pipeline.operations.restore.platform import points
from wotr_pipeline.operations.restore.platform import rebuild as rebuild_platform
from wotr_pipeline.operations.restore.reconciliation import reconcile
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.engine_backups import EngineBackups
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.ledger_database import LockClass, connect
from wotr_pipeline.stores.object_keys import RAW
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.postgres_server import PostgresServer
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.conftest import environment_of, new_space
from wotr_pipeline_tests.killed import killed_once
from wotr_pipeline_tests.operations.recovery_place import (
    FIRST,
    SECOND,
    THIRD,
    Place,
    carry_a_stream_with_repeats,
    place_of,
)
from wotr_pipeline_tests.produced import BAD, event

LOG = logging.getLogger("tests")


@pytest.fixture
def place(space: Settings) -> Iterator[Place]:
    with place_with_backups(space) as place:
        yield place


@contextmanager
def place_with_backups(space: Settings) -> Iterator[Place]:
    settings = space.model_copy(update={"dagster_postgres_db": f"{space.postgres_db}_dagster"})
    with place_of(settings) as place:
        yield place
    clean(settings)


@dataclass(frozen=True)
class BackedUp:
    """A place whose stores are backed up, as it was then."""

    place: Place
    picture: dict[str, list[tuple[Any, ...]]]
    raw: frozenset[str]


@pytest.fixture(scope="module")
def backed_up(platform: Settings, servers: Platform) -> Iterator[BackedUp]:
    """The backup of ClickHouse is a week old, so to say; those of the others are of today."""
    with new_space(servers) as space, place_with_backups(space) as place:
        carry_a_stream_with_repeats(place)
        back_up(place, Store.CLICKHOUSE)
        repeated = [event(name) for name in ("early1", "a7", "b7", "d2")]
        place.produce(0, FIRST, *(event(f"early{n}") for n in range(20)), *repeated, *BAD)
        place.carry()
        back_up(place, Store.POSTGRES, Store.MINIO)
        raw = frozenset(found.key for found in place.objects.list(RAW))
        yield BackedUp(place, place.picture(), raw)


def clean(settings: Settings) -> None:
    """Databases and buckets that a restore made or kept."""
    server = PostgresServer(settings)
    for name in server.databases():
        if name.startswith(f"{settings.postgres_db}_"):
            server.drop(name)
    with closing(EngineBackups(settings)) as engine:
        for name in engine.databases(f"{settings.clickhouse_db}_"):
            engine.drop(name)
    with suppress(Exception):
        backup_store(settings).remove_bucket()


def back_up(place: Place, *stores: Store) -> None:
    for store in stores:
        taken = take_backup(place.settings, target_of(place.settings, store), "a test", LOG)
        assert taken.verification.problem == ""


def lose_everything(place: Place) -> None:
    """What a machine that burns takes with it; Kafka and the bucket of the backups are elsewhere."""
    place.warehouse.close()
    with closing(EngineBackups(place.settings)) as engine:
        engine.drop(place.settings.clickhouse_db)
    PostgresServer(place.settings).drop(place.settings.postgres_db)
    place.objects.remove_bucket()


@contextmanager
def maintenance(place: Place) -> Iterator[None]:
    with closing(OperationsLog(place.settings)) as operations:
        operations.turn_maintenance(True, "a test", "a restore")
        yield
        operations.turn_maintenance(False, "a test", "done")


def kept_databases(settings: Settings) -> list[str]:
    """Those of ClickHouse whose tables a restore has replaced."""
    with closing(EngineBackups(settings)) as engine:
        return engine.databases(f"{settings.clickhouse_db}_before_")


def run(settings: Settings, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, arguments, env=environment_of(settings))
    return done.exit_code, done.output


def rebuild(settings: Settings) -> tuple[int, str]:
    return run(settings, "restore", "platform", "--confirm", f"replace everything of {settings.postgres_db}")


def rebuild_everything(settings: Settings) -> None:
    rebuild_platform(settings, None, "a restore that is killed", LOG)


@pytest.mark.parametrize("moment", ["postgres", "minio", "clickhouse"])
def test_a_restore_that_is_killed_is_finished_by_the_next(backed_up: BackedUp, moment: str) -> None:
    place = backed_up.place
    earlier = set(kept_databases(place.settings))
    lose_everything(place)
    server = PostgresServer(place.settings)

    def reached() -> bool:
        if moment == "postgres":
            return PostgresTarget(place.settings).beside("ledger") in server.databases()
        if moment == "minio":
            with suppress(PermanentError):
                return next(place.objects.list(RAW), None) is not None
            return False
        return bool(set(kept_databases(place.settings)) - earlier)

    killed_once(reached, rebuild_everything, place.settings)
    code, said = rebuild(place.settings)
    assert code == 0, said
    assert place.picture() == backed_up.picture
    place.carry()
    assert place.balanced() == []


def test_from_nothing_the_same_platform_comes_back_and_goes_on_with_what_kafka_got_since(
    backed_up: BackedUp,
) -> None:
    place, settings = backed_up.place, backed_up.place.settings
    place.produce(1, THIRD + timedelta(minutes=30), *(event(f"late{n}") for n in range(30)), event("a3"))
    place.carry()
    after = place.picture()
    found = points(settings, None)
    assert found[Store.CLICKHOUSE].taken_at < found[Store.POSTGRES].taken_at < found[Store.MINIO].taken_at
    lose_everything(place)

    code, said = run(settings, "restore", "platform")
    assert code == 0
    assert "Nothing was restored" in said
    assert settings.postgres_db not in PostgresServer(settings).databases()
    code, said = rebuild(settings)
    assert code == 0, said
    assert place.picture() == backed_up.picture
    with closing(OperationsLog(settings)) as operations:
        mode = operations.maintenance()
        assert mode is not None
        assert not mode.enabled
        assert set(operations.newest_verified_backups()) == {"minio", "postgres", "clickhouse"}
    place.carry()
    assert place.picture() == after
    assert place.balanced() == []


def test_raw_objects_that_are_newer_than_the_backup_are_written_again_from_kafka_byte_for_byte(
    backed_up: BackedUp,
) -> None:
    place = backed_up.place
    place.produce(0, SECOND, *(event(f"newer{n}") for n in range(30)), *BAD)
    place.carry()
    objects = {found.key: place.objects.get(found.key) for found in place.objects.list(RAW)}
    place.objects.remove_bucket()
    with maintenance(place):
        words = f"replace {place.settings.minio_bucket}"
        code, said = run(place.settings, "restore", "run", "minio", "--in-place", "--confirm", words)
    assert code == 0, said
    assert 0 < len(list(place.objects.list(RAW))) < len(objects)
    dry = reconcile(place.settings, "a test", LOG)
    assert (dry.landed_again, dry.lost) == (len(objects) - len(list(place.objects.list(RAW))), ())
    done = reconcile(place.settings, "a test", LOG, apply=True)
    assert done.complete, list(done.lines())
    assert {found.key: place.objects.get(found.key) for found in place.objects.list(RAW)} == objects
    assert reconcile(place.settings, "a test", LOG).landed_again == 0


def test_what_neither_the_backup_nor_kafka_has_is_named(place: Place) -> None:
    settings = place.settings
    place.produce(0, FIRST, *(event(f"a{n}") for n in range(15)))
    place.carry()
    (batch,) = place.batches()
    place.objects.delete([batch.raw_key or ""])
    admin = kafka.KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    admin.delete_records({kafka.TopicPartition(settings.kafka_topic, 0): 10})
    admin.close()
    code, said = run(settings, "restore", "reconcile", "--apply")
    assert code == 1
    assert f"{batch.batch_id}: its raw object is gone" in said


def test_if_kafka_was_lost_too_everything_is_there_and_the_new_topic_needs_another_name(place: Place) -> None:
    settings = place.settings
    place.produce(0, FIRST, *(event(f"a{n}") for n in range(15)))
    place.carry()
    before = place.picture()
    topics.drop_topic(settings)
    topics.create_topic(settings)
    code, said = run(settings, "restore", "reconcile", "--apply")
    assert code == 1
    assert f"KAFKA_TOPIC={settings.kafka_topic}-2" in said
    assert place.picture() == before
    # Under the new name, new events are carried beside the old ones.
    renamed = settings.model_copy(update={"kafka_topic": f"{settings.kafka_topic}-2"})
    topics.create_topic(renamed)
    with place_of(renamed) as again:
        again.produce(0, SECOND, *(event(f"b{n}") for n in range(5)), event("a3"))
        again.carry()
        assert again.query("SELECT count(), uniqExact(id) FROM ingested_data") == [(20, 20)]
    topics.drop_topic(renamed)


def test_in_place_is_refused_without_the_words_under_ingestion_and_while_a_run_writes(
    backed_up: BackedUp,
) -> None:
    settings = backed_up.place.settings
    before = backed_up.place.picture()
    words = f"replace {settings.minio_bucket}"
    for confirm in ("", "yes", "replace something else"):
        code, said = run(settings, "restore", "run", "minio", "--in-place", "--confirm", confirm)
        assert code == 1
        assert words in said
    code, said = run(settings, "restore", "run", "minio", "--in-place", "--confirm", words)
    assert code == 1
    assert "wotr maintenance on" in said
    with maintenance(backed_up.place):
        engine = connect(settings, "wotr run 4711", dedicated=True)
        with engine.connect() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(LockClass.BATCH, 1)))
            with pytest.raises(PermanentError, match="wotr run 4711"):
                require_quiet(settings)
        engine.dispose()
        require_quiet(settings)
    assert backed_up.place.picture() == before


def test_the_points_are_chosen_so_that_no_store_remembers_more_than_the_one_it_was_made_from(
    platform: Settings,
) -> None:
    settings = platform.model_copy(update={"wotr_backup_bucket": f"t{secrets.token_hex(5)}-backups"})
    repository, begun = Repository(settings), datetime(2026, 11, 25, tzinfo=UTC)
    repository.prepare()

    def verified(hour: int, store: Store) -> str:
        moment = begun + timedelta(hours=hour)
        backup_id = new_id(store, moment)
        repository.publish(Manifest(backup_id, store, moment, moment, "a source", 0, None, "", (), ()))
        repository.confirm(store, Verification(backup_id, moment, 1.0, 0, 0, ""))
        return backup_id

    def chosen() -> dict[Store, str]:
        return {store: manifest.backup_id for store, manifest in points(settings, None).items()}

    try:
        verified(0, Store.MINIO)
        first = verified(1, Store.POSTGRES)
        with pytest.raises(PermanentError, match="a ledger that is younger knows objects"):
            points(settings, None)
        minio = verified(2, Store.MINIO)
        verified(3, Store.CLICKHOUSE)
        verified(4, Store.POSTGRES)
        # ClickHouse's only one is younger than what the others can go back to.
        assert chosen() == {Store.POSTGRES: first, Store.MINIO: minio}
        newest = {
            store: verified(5 + hour, store)
            for hour, store in enumerate((Store.CLICKHOUSE, Store.POSTGRES, Store.MINIO))
        }
        assert chosen() == newest
        assert list(chosen()) == [Store.POSTGRES, Store.MINIO, Store.CLICKHOUSE]
        with pytest.raises(PermanentError, match="no verified backup of minio of 2026-01-01"):
            points(settings, datetime(2026, 1, 1, tzinfo=UTC))
    finally:
        repository.objects.remove_bucket()


def test_plans_and_lists_say_what_there_is_and_change_nothing(backed_up: BackedUp) -> None:
    place = backed_up.place
    settings, before = place.settings, place.picture()
    code, said = run(settings, "restore", "list")
    assert code == 0
    assert said.count("restored in") == 3
    for arguments, told in (
        (("minio", "--prefix", "raw/"), "objects"),
        (("postgres", "--table", "ledger.public.ingest_batches"), "public.ingest_batches"),
        (("clickhouse", "--in-place"), f'--confirm "replace {settings.clickhouse_db}"'),
    ):
        code, said = run(settings, "restore", "plan", *arguments)
        assert code == 0, said
        assert told in said
        assert "To do it: wotr restore run" in said
    code, said = run(
        settings, "restore", "run", "minio", "--prefix", "raw/", "--into", f"{settings.minio_bucket}-x"
    )
    assert code == 0, said
    scratch = place.objects.in_bucket(f"{settings.minio_bucket}-x")
    assert {found.key for found in scratch.list("")} == backed_up.raw
    scratch.remove_bucket()
    code, said = run(settings, "restore", "drill", "postgres")
    assert code == 0, said
    code, said = run(settings, "backup", "retention")
    assert "Nothing was removed" in said
    code, said = run(settings, "restore", "plan", "minio", "--backup", "minio-20200101T000000000Z")
    assert code == 1
    assert "no object" in said
    assert place.picture() == before
