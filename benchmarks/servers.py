"""Real servers in a scratch data directory, and places on them that share nothing but the servers.

Belongs here: starting and stopping for measurements, fresh topics, buckets and databases.
Does not belong here: what is measured. ``WOTR_BENCH_DATA_DIR=DIR`` uses the servers of DIR and leaves
them running, for work on the benchmarks themselves.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pydantic import SecretStr
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.cli import migrate
from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.servers.lifecycle import STORES, Platform
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

PARTITIONS = 4


@contextlib.contextmanager
def scratch_platform() -> Iterator[Platform]:
    """All stores up in a directory that is removed afterwards."""
    given = os.environ.get("WOTR_BENCH_DATA_DIR")
    path = Path(given or tempfile.mkdtemp(prefix="wotr-bench-"))
    platform = Platform(path)
    try:
        platform.up(STORES)
        yield platform
    finally:
        if not given:
            platform.down()
            shutil.rmtree(path, ignore_errors=True)


def settings_of(platform: Platform, **changed: str) -> Settings:
    """Settings of the scratch servers, whatever the environment says."""
    given = {name.lower(): value for name, value in platform.directory.environment().items()} | changed
    return load_settings(**{name: value for name, value in given.items() if name in Settings.model_fields})


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment for a process that shall see these settings and no others."""
    values = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings.model_dump(mode="python").items()
    }
    return {**os.environ, **values}


def create_topic(settings: Settings, name: str) -> str:
    """A topic of ``PARTITIONS`` partitions."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
        created.result(timeout=30)

    def partitions() -> int:
        # The controller has it; the broker learns of it a moment later.
        return len(admin.list_topics(name, timeout=10).topics[name].partitions)

    Retrying(
        stop=stop_after_delay(30), wait=wait_fixed(0.05), retry=retry_if_result(lambda n: n < PARTITIONS)
    )(partitions)
    return name


def delete_topic(settings: Settings) -> None:
    """Give the disk back: Kafka removes the segments in the background."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    for deleted in admin.delete_topics([settings.kafka_topic]).values():
        deleted.result(timeout=30)


@contextlib.contextmanager
def place(platform: Platform, topic: str, **changed: str) -> Iterator[Settings]:
    """Settings that read ``topic`` into a bucket, a ledger and a ClickHouse database of their own.

    ``changed``: other settings, by field name.
    """
    name = f"b{secrets.token_hex(5)}"
    settings = settings_of(
        platform,
        kafka_topic=topic,
        kafka_group=f"{name}-group",
        minio_bucket=f"{name}-bucket",
        postgres_db=name,
        clickhouse_db=name,
        **changed,
    )
    _administer(settings, f'CREATE DATABASE "{name}"')
    ObjectStore(settings).ensure_bucket()
    migrate(settings)
    try:
        yield settings
    finally:
        warehouse = Warehouse(settings)
        with contextlib.suppress(Exception):
            warehouse.client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
        warehouse.close()
        objects = ObjectStore(settings)
        with contextlib.suppress(Exception):
            objects.delete(info.key for info in objects.list(""))
        with contextlib.suppress(Exception):
            _administer(settings, f'DROP DATABASE "{name}" WITH (FORCE)')


def _administer(settings: Settings, statement: str) -> None:
    connection = psycopg2.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        dbname="postgres",
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
