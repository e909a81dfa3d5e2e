"""Whole objects, by the S3 protocol."""

import contextlib
import gc
import os
import secrets
import socket
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores import objects
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline_tests.conftest import object_client


@pytest.fixture
def settings(platform: Settings) -> Iterator[Settings]:
    settings = platform.model_copy(update={"minio_bucket": f"t{secrets.token_hex(5)}-bucket"})
    store = ObjectStore(settings)
    store.ensure_bucket()
    yield settings
    store.delete([found.key for found in store.list("")])
    object_client(settings).delete_bucket(Bucket=settings.minio_bucket)


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore(settings)


def test_an_object_comes_back_byte_for_byte_with_its_metadata(store: ObjectStore, settings: Settings) -> None:
    key = "raw/date=2026-11-23/hour=08/topic-0-0-9.parquet"
    data = os.urandom(20_000_000)
    assert store.put(key, data, {"sha256": "abc", "records": "10"})
    assert store.get(key) == data
    found = store.head(key)
    assert found is not None
    assert (found.key, found.size, found.metadata) == (key, len(data), {"sha256": "abc", "records": "10"})
    assert store.uri(key) == f"s3://{settings.minio_bucket}/{key}"


def test_an_object_that_is_not_there_has_no_head_and_no_bytes(store: ObjectStore) -> None:
    assert store.head("nothing") is None
    with pytest.raises(PermanentError, match=r"no object s3://.*/nothing"):
        store.get("nothing")


def test_a_look_for_what_is_not_there_keeps_nothing_that_its_caller_holds(store: ObjectStore) -> None:
    # Backups look for each content that they are about to write: its megabytes would stay until Python collects.
    def look() -> "weakref.ref[set[int]]":
        held = Held()
        assert store.head("nothing") is None
        return weakref.ref(held)

    gc.disable()
    try:
        assert look()() is None
    finally:
        gc.enable()


class Held(set[int]):
    """Something that a weak reference can watch."""


def test_an_object_that_is_cut_off_while_it_is_read_is_never_taken_for_whole(
    settings: Settings, store: ObjectStore
) -> None:
    store.put("large", os.urandom(5_000_000))
    found = store.head("large")
    assert found is not None
    with cut_off_after(settings.minio_endpoint, 1_000_000) as endpoint:
        behind = ObjectStore(settings.model_copy(update={"minio_endpoint": endpoint}))
        for read in (lambda: behind.get("large"), lambda: list(behind.pieces(found, 4_000_000))):
            with pytest.raises(TransientError, match="again is safe"):
                read()


@contextlib.contextmanager
def cut_off_after(endpoint: str, size: int) -> Iterator[str]:
    """The endpoint of a way to a server that breaks when ``size`` bytes of an answer have come."""
    host, port = endpoint.removeprefix("http://").split(":")

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            server.sendall(client.recv(64 * 1024))
            left = size
            while left > 0 and (data := server.recv(min(left, 64 * 1024))):
                client.sendall(data)
                left -= len(data)

    def listen() -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                Thread(target=carry, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_of_writers_that_race_with_if_absent_one_wins(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(lambda n: store.put("one", b"%d" % n, if_absent=True), range(16)))
    assert wrote.count(True) == 1
    assert store.get("one") == b"%d" % wrote.index(True)
    assert store.put("one", b"overwritten")
    assert store.get("one") == b"overwritten"


def test_a_listing_is_complete_in_order_and_never_stale(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PAGE_KEYS", 10)
    keys = [f"raw/{number:04}" for number in range(35)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"x"), keys))
    store.put("validated/1", b"x")
    assert [found.key for found in store.list("raw/")] == keys
    assert {found.size for found in store.list("raw/")} == {1}
    store.delete(keys[1:])
    assert [found.key for found in store.list("raw/")] == keys[:1]
    assert store.head(keys[1]) is None
    assert list(store.list("nothing/")) == []


def test_deleting_what_is_not_there_is_fine(store: ObjectStore) -> None:
    store.put("there", b"x")
    store.delete(["there", "not-there"])
    store.delete([])
    assert list(store.list("")) == []


def test_a_bucket_is_made_once_and_its_objects_stay(store: ObjectStore) -> None:
    store.put("kept", b"x")
    store.ensure_bucket()
    assert store.get("kept") == b"x"


def test_refusals_are_permanent_and_say_what_to_do(settings: Settings) -> None:
    wrong_secret = settings.model_copy(update={"minio_secret_key": SecretStr("wrong")})
    unknown_key = settings.model_copy(update={"minio_access_key": "nobody"})
    no_bucket = settings.model_copy(update={"minio_bucket": "no-such-bucket-here"})
    for refused in (ObjectStore(wrong_secret), ObjectStore(unknown_key)):
        with pytest.raises(PermanentError, match="MINIO_SECRET_KEY"):
            refused.put("key", b"x")
        with pytest.raises(PermanentError, match="MINIO_SECRET_KEY"):
            refused.head("key")
        with pytest.raises(PermanentError, match="MINIO_SECRET_KEY"):
            refused.ensure_bucket()
    nowhere = ObjectStore(no_bucket)
    with pytest.raises(PermanentError, match="no such bucket"):
        nowhere.put("key", b"x")
    with pytest.raises(PermanentError, match="no such bucket"):
        list(nowhere.list(""))


def test_a_store_that_is_away_is_transient_and_told_within_its_time_outs(settings: Settings) -> None:
    away = ObjectStore(settings.model_copy(update={"minio_endpoint": "http://127.0.0.1:1"}))
    calls: list[Callable[[], object]] = [
        lambda: away.put("key", b"x"),
        lambda: away.head("key"),
        lambda: away.get("key"),
        lambda: list(away.list("")),
        lambda: away.delete(["key"]),
        away.ensure_bucket,
    ]
    with ThreadPoolExecutor(len(calls)) as pool:
        for answer in [pool.submit(call) for call in calls]:
            with pytest.raises(TransientError, match=r"http://127\.0\.0\.1:1"):
                answer.result()


def test_the_same_store_works_again_after_the_server_was_away(
    settings: Settings, store: ObjectStore, servers: Platform
) -> None:
    store.put("before", b"x")
    servers.stop("objects")
    try:
        with pytest.raises(TransientError):
            store.put("meanwhile", b"x")
    finally:
        servers.start("objects")
    # A server that is back answers before all its volumes are there again, and says so: trying again is safe.
    patiently = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_delay(60),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    assert patiently(store.get, "before") == b"x"
    assert patiently(store.put, "after", b"x")
    assert [found.key for found in store.list("")] == ["after", "before"]
