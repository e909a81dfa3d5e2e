"""What tests of backups share: a bucket of backups of their own, and ways to damage it."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyrage
import pytest
from pydantic import SecretStr

from wotr_pipeline.backups.repository import backup_store
from wotr_pipeline.config import Settings
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


def encrypting(settings: Settings) -> Settings:
    """With a new pair of keys, by which backups are encrypted."""
    identity = pyrage.x25519.Identity.generate()
    keys = {
        "wotr_backup_recipient": str(identity.to_public()),
        "wotr_backup_identity": SecretStr(str(identity)),
    }
    return settings.model_copy(update=keys)


def flip_a_byte(store: ObjectStore, key: str) -> None:
    """Change one byte in the middle of an object."""
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))
