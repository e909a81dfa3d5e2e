"""The backup of the bucket: nothing is copied twice, nothing is believed that was not restored."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from pydantic import SecretStr

from wotr_pipeline.backups import minio, object_index
from wotr_pipeline.backups.differences import differences
from wotr_pipeline.backups.drill import drill_backup
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.minio import MinioTarget
from wotr_pipeline.backups.repository import Repository, backup_store
from wotr_pipeline.backups.taking import Taken, drill_newest, lease_name, take_backup
from wotr_pipeline.backups.target import Selection, scratch_prefix
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.leases import LeaseTakenError, lease
from wotr_pipeline.stores.objects import ObjectInfo, ObjectStore
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline_tests.backups.conftest import LOG, encrypting, flip_a_byte, to_back_up
from wotr_pipeline_tests.killed import killed_once

RAW = "raw/date=2026-11-25/hour=0{}/events-0-{}-{}.parquet"


def fill(settings: Settings, count: int = 12, size: int = 2_000) -> dict[str, bytes]:
    """Objects of several groups, one of them empty, one with metadata."""
    store, contents = ObjectStore(settings), {}
    for number in range(count):
        key = RAW.format(number % 10, number, number)
        contents[key] = os.urandom(size)
    contents["dead-letters/empty"] = b""
    contents["curated/ünicode and space.parquet"] = os.urandom(size)
    for key, data in contents.items():
        store.put(key, data, {"records": str(len(data))}, content_type="text/html; charset=utf-8")
    return contents


def contents_of(settings: Settings, bucket: str) -> dict[str, bytes]:
    store = ObjectStore(settings).in_bucket(bucket)
    return {found.key: store.get(found.key) for found in store.list("")}


def take(settings: Settings) -> Taken:
    return take_backup(settings, MinioTarget(settings), "a test", LOG)


def restored(settings: Settings, taken: Taken, **selected: str) -> dict[str, bytes]:
    place = f"{settings.minio_bucket}-scratch"
    target = MinioTarget(settings)
    target.restore(Repository(settings), taken.manifest, place, Selection(**selected), LOG)
    try:
        return contents_of(settings, place)
    finally:
        target.discard(place)


@pytest.fixture(scope="module")
def filled(platform: Settings) -> Iterator[tuple[Settings, dict[str, bytes], Taken]]:
    """A bucket, what is in it, and a backup of it, for tests that change neither."""
    with to_back_up(platform) as settings:
        contents = fill(settings)
        yield settings, contents, take(settings)


def test_a_backup_comes_back_byte_for_byte_with_its_metadata_and_counts_from_then_on(
    filled: tuple[Settings, dict[str, bytes], Taken],
) -> None:
    settings, contents, taken = filled
    assert taken.verification.problem == ""
    assert taken.verification.items == len(contents)
    assert restored(settings, taken) == contents
    log = OperationsLog(settings)
    newest = log.newest_verified_backups()["minio"]
    log.close()
    assert newest.location == taken.location
    assert newest.restore_seconds == taken.verification.restore_seconds
    names = ObjectStore(settings).bucket_names()
    assert [name for name in names if taken.manifest.backup_id.lower() in name] == []


def test_only_what_is_new_is_copied_and_old_backups_keep_what_was_deleted_since(backed_up: Settings) -> None:
    contents = fill(backed_up)
    first = take(backed_up)
    store = ObjectStore(backed_up)
    gone = RAW.format(3, 3, 3)
    store.delete([gone])
    store.put("raw/date=2026-11-26/hour=00/new.parquet", b"new")
    second = take(backed_up)
    assert second.manifest.details["objects copied"] == "1"
    assert second.verification.problem == ""
    assert second.manifest.items == len(contents)
    assert restored(backed_up, first) == contents


def test_a_large_object_is_copied_piece_by_piece(
    backed_up: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minio, "PART_BYTES", 1000)
    monkeypatch.setattr(object_index, "PART_BYTES", 1000)
    contents = fill(backed_up, count=3, size=2_500)
    taken = take(backed_up)
    assert taken.verification.problem == ""
    assert restored(backed_up, taken) == contents
    sizes = [found.size for found in backup_store(backed_up).list("minio/contents/")]
    assert max(sizes) == 1000


def test_an_object_that_changes_or_goes_while_it_is_copied_is_copied_as_it_was_at_one_moment(
    backed_up: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = fill(backed_up)
    store, listing = ObjectStore(backed_up), ObjectStore.list
    changed, gone = RAW.format(1, 1, 1), RAW.format(2, 2, 2)

    def then_changed(self: ObjectStore, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        found = list(listing(self, prefix, after))
        if self.uri("") == store.uri(""):
            store.put(changed, b"another content")
            store.delete([gone])
        yield from found

    monkeypatch.setattr(ObjectStore, "list", then_changed)
    taken = take(backed_up)
    monkeypatch.undo()
    assert taken.verification.problem == ""
    assert taken.manifest.details["objects gone"] == "1"
    expected = contents | {changed: b"another content"}
    del expected[gone]
    assert restored(backed_up, taken) == expected


def test_one_prefix_comes_back_alone(filled: tuple[Settings, dict[str, bytes], Taken]) -> None:
    settings, contents, taken = filled
    found = restored(settings, taken, prefix="curated/")
    assert found == {key: data for key, data in contents.items() if key.startswith("curated/")}


def test_in_place_what_is_missing_or_changed_is_put_and_what_is_newer_stays(backed_up: Settings) -> None:
    contents = fill(backed_up)
    taken = take(backed_up)
    store = ObjectStore(backed_up)
    store.delete([RAW.format(4, 4, 4)])
    store.put(RAW.format(5, 5, 5), b"damaged")
    store.put("raw/date=2026-11-26/hour=00/newer.parquet", b"newer")
    target, repository = MinioTarget(backed_up), Repository(backed_up)
    plan = target.plan(repository, taken.manifest, Selection(), in_place=True)
    assert plan[0].startswith("2 objects")
    done = target.replace(repository, taken.manifest, Selection(), LOG)
    assert done.items == 2
    assert contents_of(backed_up, backed_up.minio_bucket) == contents | {
        "raw/date=2026-11-26/hour=00/newer.parquet": b"newer"
    }


def test_encrypted_the_bucket_holds_nothing_in_plain_and_only_the_identity_opens_it(
    backed_up: Settings,
) -> None:
    sealed = encrypting(backed_up)
    contents = fill(sealed)
    taken = take(sealed)
    assert taken.verification.problem == ""
    store = backup_store(sealed)
    for found in store.list("minio/"):
        data = store.get(found.key)
        assert not any(plain in data for plain in contents.values() if plain), found.key
    other = str(pyrage.x25519.Identity.generate())
    for wrong, told in ((other, "cannot be decrypted"), ("", "WOTR_BACKUP_IDENTITY is empty")):
        settings = sealed.model_copy(update={"wotr_backup_identity": SecretStr(wrong)})
        found = drill_newest(settings, MinioTarget(settings), "a test", LOG)
        assert told in found.verification.problem


def test_a_damaged_content_is_found_by_the_drill_and_the_next_backup_is_whole_again(
    backed_up: Settings,
) -> None:
    contents = fill(backed_up)
    taken = take(backed_up)
    store, log = backup_store(backed_up), OperationsLog(backed_up)
    for damage in ("flipped", "missing", "cut"):
        key = next(found.key for found in store.list("minio/contents/") if found.size)
        if damage == "flipped":
            flip_a_byte(store, key)
        elif damage == "missing":
            store.delete([key])
        else:
            store.put(key, store.get(key)[:-1])
        found = drill_newest(backed_up, MinioTarget(backed_up), "a test", LOG)
        assert key in found.verification.problem, damage
        newest = log.newest_verified_backups().get("minio")
        assert newest is None or newest.location != taken.location, damage
        again = take(backed_up)
        assert again.verification.problem == "", damage
        assert again.manifest.backup_id != taken.manifest.backup_id
        assert again.verification.items == len(contents), damage
        taken = again
    log.close()


def test_a_daily_drill_restores_what_changed_and_finds_missing_contents_of_the_rest(
    backed_up: Settings,
) -> None:
    fill(backed_up)
    take(backed_up)
    ObjectStore(backed_up).put("raw/date=2026-11-26/hour=00/new.parquet", b"new")
    second = take(backed_up)
    assert second.verification.items == 1
    store, repository = backup_store(backed_up), Repository(backed_up)
    old = next(found.key for found in store.list("minio/contents/") if found.size == 2_000)
    store.delete([old])
    verified = repository.newest(Store.MINIO, verified=True).facts
    found = drill_backup(repository, MinioTarget(backed_up), second.manifest, LOG, verified)
    assert old in found.problem


def test_a_manifest_that_was_changed_or_signed_with_another_key_is_no_backup(
    filled: tuple[Settings, dict[str, bytes], Taken],
) -> None:
    settings, _, taken = filled
    other = settings.model_copy(
        update={"wotr_backup_signing_key": SecretStr("another key of 32 characters....")}
    )
    with pytest.raises(PermanentError, match="no backup of minio"):
        Repository(other).newest(Store.MINIO)
    repository, key = Repository(settings), f"minio/manifests/{taken.manifest.backup_id}.json"
    whole = repository.objects.get(key)
    flip_a_byte(repository.objects, key)
    _, problems = repository.manifests(Store.MINIO)
    repository.objects.put(key, whole)
    assert len(problems) == 1
    assert taken.manifest.backup_id in problems[0]


def test_a_second_backup_at_the_same_time_is_refused_and_told_by_whom(backed_up: Settings) -> None:
    fill(backed_up)
    with (
        lease(backed_up, lease_name(Store.MINIO), "run of yesterday"),
        pytest.raises(LeaseTakenError, match="run of yesterday"),
    ):
        take(backed_up)
    assert list(MinioTarget(backed_up).leftovers()) == []
    assert take(backed_up).verification.problem == ""


def test_a_backup_into_the_bucket_itself_is_refused(backed_up: Settings) -> None:
    with pytest.raises(PermanentError, match="WOTR_BACKUP_BUCKET is MINIO_BUCKET"):
        take(backed_up.model_copy(update={"wotr_backup_bucket": backed_up.minio_bucket}))


def test_without_a_signing_key_nothing_is_taken(backed_up: Settings) -> None:
    with pytest.raises(PermanentError, match="WOTR_BACKUP_SIGNING_KEY is empty"):
        take(backed_up.model_copy(update={"wotr_backup_signing_key": SecretStr("")}))
    assert Repository(backed_up).backup_ids(Store.MINIO) == []


def take_with_a_short_journal(settings: Settings, temporary: Path) -> None:
    minio.JOURNAL_ROWS = 5
    tempfile.tempdir = str(temporary)
    take(settings)


@pytest.mark.parametrize("there", ["minio/contents/", "minio/unfinished/", "minio/data/", "minio/manifests/"])
def test_a_run_that_is_killed_leaves_no_false_backup_and_the_next_one_goes_on(
    backed_up: Settings, there: str, tmp_path: Path
) -> None:
    contents = fill(backed_up, count=20)
    repository = Repository(backed_up)
    repository.prepare()
    killed_once(
        lambda: next(repository.objects.list(there), None), take_with_a_short_journal, backed_up, tmp_path
    )
    assert list(tmp_path.iterdir()) == [], "keys of objects lie in a file that nobody removes"
    for backup_id in repository.backup_ids(Store.MINIO):
        assert (
            differences(repository.manifest(Store.MINIO, backup_id).facts, take(backed_up).manifest.facts)
            == ""
        ), "a backup that exists is whole"
    journaled = next(repository.objects.list("minio/unfinished/"), None) is not None
    taken = take(backed_up)
    assert taken.verification.problem == ""
    assert restored(backed_up, taken) == contents
    if journaled:
        assert int(taken.manifest.details["objects kept"]) >= 5
    assert list(repository.objects.list("minio/unfinished/")) == []
    known = {f"minio/data/{backup_id}/" for backup_id in repository.backup_ids(Store.MINIO)}
    assert {
        "/".join(found.key.split("/")[:3]) + "/" for found in repository.objects.list("minio/data/")
    } <= known
    assert list(MinioTarget(backed_up).leftovers()) == []


def test_scratch_buckets_of_killed_drills_go_and_other_buckets_do_not(backed_up: Settings) -> None:
    fill(backed_up)
    left = f"{scratch_prefix(Store.MINIO, backed_up.minio_bucket)}{secrets.token_hex(4)}"
    ObjectStore(backed_up).in_bucket(left).ensure_bucket()
    take(backed_up)
    names = ObjectStore(backed_up).bucket_names()
    assert left not in names
    assert {backed_up.minio_bucket, backed_up.wotr_backup_bucket} <= set(names)
    for precious in (backed_up.minio_bucket, backed_up.wotr_backup_bucket):
        with pytest.raises(PermanentError):
            MinioTarget(backed_up).discard(precious)
