"""What is kept: never less than the settings say, never a broken chain, nothing by accident."""

import os
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.minio import MinioTarget
from wotr_pipeline.backups.repository import Repository, backup_store
from wotr_pipeline.backups.retention import Candidate, choose, retain
from wotr_pipeline.backups.taking import drill_newest, take_backup
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline_tests.backups.conftest import LOG, flip_a_byte

NOW = datetime(2026, 11, 25, 22, tzinfo=UTC)


def daily_backups(count: int) -> list[Candidate]:
    return [Candidate(f"b{age:03d}", NOW - timedelta(days=age), None, verified=True) for age in range(count)]


def test_the_newest_of_each_day_week_and_month_are_kept() -> None:
    choice = choose(daily_backups(100), daily=3, weekly=2, monthly=3)
    # 25 November 2026 is a Wednesday: the week before ends with Sunday the 22nd; October's newest is the 31st.
    assert sorted(choice.kept) == ["b000", "b001", "b002", "b003", "b025", "b056"]
    assert choice.kept["b000"][0] == "newest of day 2026-11-25"
    assert len(choice.gone) == 94


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    count = draw(st.integers(0, 25))
    found: list[Candidate] = []
    for number in range(count):
        at = NOW + timedelta(hours=draw(st.integers(1, 90)) + (number * 90))
        bases = [None, *(backup.backup_id for backup in found[-3:])]
        found.append(Candidate(f"b{number}", at, draw(st.sampled_from(bases)), draw(st.booleans())))
    return found


@given(histories(), st.integers(1, 5), st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None, max_examples=200)
def test_no_chain_is_ever_broken_and_the_newest_verified_backup_never_goes(
    backups: list[Candidate], daily: int, weekly: int, monthly: int
) -> None:
    choice = choose(backups, daily=daily, weekly=weekly, monthly=monthly)
    by_id = {backup.backup_id: backup for backup in backups}
    assert set(choice.kept) | set(choice.gone) == set(by_id)
    for kept in choice.kept:
        assert by_id[kept].base_id is None or by_id[kept].base_id in choice.kept
    for place, gone in enumerate(choice.gone):
        # What is removed first must not be needed by what is left if the removal is broken off.
        assert by_id[gone].base_id not in choice.gone[:place]
    verified = [backup for backup in backups if backup.verified]
    if verified:
        assert max(verified, key=lambda backup: backup.taken_at).backup_id in choice.kept


def test_of_a_day_the_verified_backup_is_kept_not_a_later_one_that_was_never_restored() -> None:
    good = Candidate("good", NOW, None, verified=True)
    bad = Candidate("bad", NOW + timedelta(hours=1), None, verified=False)
    assert list(choose([good, bad], daily=1, weekly=0, monthly=0).kept) == ["good"]


def test_it_is_dry_by_default_and_applied_it_removes_the_backup_and_what_nobody_shares(
    backed_up: Settings,
) -> None:
    kept_settings = backed_up.model_copy(
        update={
            "wotr_keep_backups_daily": 1,
            "wotr_keep_backups_weekly": 0,
            "wotr_keep_backups_monthly": 0,
        }
    )
    bucket, target = ObjectStore(backed_up), MinioTarget(backed_up)
    for name in ("shared", "dropped"):
        bucket.put(f"raw/{name}", os.urandom(1000))
    first = take_backup(backed_up, target, "a test", LOG).manifest.backup_id
    bucket.delete(["raw/dropped"])
    second = take_backup(backed_up, target, "a test", LOG).manifest.backup_id
    before = [found.key for found in backup_store(backed_up).list("")]
    dry = retain(kept_settings, Store.MINIO, "a test", LOG)
    assert dry.choice.gone == (first,)
    assert (dry.contents, dry.bytes, dry.applied) == (1, 1000, False)
    assert [found.key for found in backup_store(backed_up).list("")] == before
    done = retain(kept_settings, Store.MINIO, "a test", LOG, apply=True)
    assert (done.choice, done.contents) == (dry.choice, 1)
    repository = Repository(backed_up)
    assert repository.backup_ids(Store.MINIO) == [second]
    assert drill_newest(backed_up, target, "a test", LOG).verification.problem == ""
    assert retain(kept_settings, Store.MINIO, "a test", LOG, apply=True).contents == 0
    # A manifest that cannot be read may name anything.
    bucket.delete(["raw/shared"])
    flip_a_byte(repository.objects, f"minio/manifests/{second}.json")
    careful = retain(kept_settings, Store.MINIO, "a test", LOG, apply=True)
    assert (careful.contents, len(careful.problems)) == (0, 1)
    assert repository.backup_ids(Store.MINIO) == [second]
