"""What tests of backups share: a bucket of backups of their own, ways to damage it, and the end of a lease."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.repository import backup_store
from wotr_pipeline.backups.taking import lease_name
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.leases import holder_of
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline_tests.conftest import new_ledger_space

LOG = logging.getLogger("wotr_pipeline.backups")


@pytest.fixture
def backed_up(platform: Settings) -> Iterator[Settings]:
    """A ledger, an empty bucket and an empty bucket of backups, all of their own."""
    with to_back_up(platform) as settings:
        yield settings


@contextmanager
def to_back_up(platform: Settings) -> Iterator[Settings]:
    """What ``backed_up`` is, for fixtures that keep it for longer than a test."""
    with new_ledger_space(platform) as ledger_space:
        name = f"t{secrets.token_hex(5)}"
        settings = ledger_space.model_copy(
            update={
                "minio_bucket": f"{name}-bucket",
                "wotr_backup_bucket": f"{name}-backups",
                "dagster_postgres_db": f"{ledger_space.postgres_db}_dagster",
            }
        )
        ObjectStore(settings).ensure_bucket()
        yield settings
        for store in (ObjectStore(settings), backup_store(settings)):
            with suppress(Exception):
                store.remove_bucket()


def wait_until_free(settings: Settings, *stores: Store) -> None:
    """Wait for the end of a killed process's leases: PostgreSQL has to see first that its connection is closed."""
    waiting = Retrying(
        stop=stop_after_delay(30),
        wait=wait_fixed(0.02),
        retry=retry_if_result(lambda holder: holder is not None),
    )
    for store in stores:
        waiting(holder_of, settings, lease_name(store))


def flip_a_byte(store: ObjectStore, key: str) -> None:
    """Change one byte in the middle of an object."""
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))
