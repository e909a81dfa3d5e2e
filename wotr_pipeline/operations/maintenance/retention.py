"""Step ``retention``: what is past its time goes.

HAZARD: deletes for good: months of ``ingested_data``, raw objects, contents of closed dead letters, ids that the gateway
remembers, old entries of ``operator_actions``, old runs of Dagster. Dry by default. Rows and raw objects go only if a
verified backup has them: without one the step tells them and keeps them.

What the ledger promises is kept: a raw object goes only if its batch is LOADED. One that is unfinished or quarantined
still needs it. A LOADED batch without its raw object cannot be judged anew; reopening it fails and names the backup.

Safe to kill anywhere and run again: each piece is looked for anew, and what is gone is not found.

Belongs here: what goes and what holds it back. Does not belong here: Dagster's runs (``dagster_history.py``), log files
(``log_files.py``), what a backup holds (``backups/``).
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Protocol

from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.retention import retain
from wotr_pipeline.operations.dead_letters.pruning import prune
from wotr_pipeline.operations.maintenance.window import Line, Report, Window
from wotr_pipeline.stores import warehouse_upkeep
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.leases import LeaseTakenError
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.object_keys import RAW, hour_prefix, parse_raw_key
from wotr_pipeline.stores.objects import PAGE_KEYS, ObjectInfo, ObjectStore
from wotr_pipeline.stores.postgres_upkeep import PostgresUpkeep
from wotr_pipeline.stores.warehouse import Warehouse

ROWS_TABLE = "ingested_data"


class Verified(Protocol):
    """What restore drills have brought back: only that may be deleted where it is live."""

    def has_month(self, table: str, month: str) -> bool:
        """Whether a verified backup has all rows of that month (``202611``)."""

    def has_object(self, key: str) -> bool:
        """Whether a verified backup has the object of that key."""


@dataclass(frozen=True)
class Removed:
    """What became of one kind of thing: ``kept`` is past its time too, and ``because`` says why it stays."""

    what: str
    gone: int
    bytes: int
    kept: int
    because: str = ""

    def line(self, *, dry_run: bool) -> str:
        """For people."""
        verb = "would be deleted" if dry_run else "deleted"
        size = f" ({self.bytes:,} bytes)" if self.bytes else ""
        kept = f", {self.kept:,} kept: {self.because}" if self.kept else ""
        return f"{self.what}: {self.gone:,} {verb}{size}{kept}."


def retention(window: Window, verified: Verified, more: Iterable[Removed] = ()) -> Report:
    """Delete what is past its time, or (dry run) say what would go. ``more``: what others delete, told here too."""
    now = datetime.now(UTC)
    removed = [
        _months(window, verified, now),
        _raw_objects(window, verified, now),
        _letters(window, now),
        *_rows_of_postgres(window, now),
        *more,
    ]
    lines: list[Line] = [
        {"what": one.what, "gone": one.gone, "bytes": one.bytes, "kept": one.kept, "because": one.because}
        for one in removed
    ]
    told = [one.line(dry_run=window.dry_run) for one in removed]
    if not window.dry_run and not window.go_on():
        told.append("The window's time is over: what is left goes with the next one.")
    return Report(tuple(told), {f"{one.what}, gone": one.gone for one in removed}, {"what went": lines})


def old_backups(window: Window) -> Iterator[Removed]:
    """Forget the backups that are not to be kept; one kind a store."""
    log = logging.getLogger(__name__)
    for store in Store:
        if not window.dry_run and not window.go_on():
            return
        try:
            done = retain(window.settings, store, window.who, log)
            if not window.dry_run and (done.choice.gone or done.contents):
                window.operations.note(
                    window.who,
                    "forget old backups",
                    store,
                    f"{len(done.choice.gone)}, not among those to keep",
                )
                done = retain(window.settings, store, window.who, log, apply=True)
        except LeaseTakenError as busy:
            yield Removed(f"backups of {store}", 0, 0, 1, str(busy))
            continue
        yield Removed(
            f"backups of {store}",
            len(done.choice.gone),
            done.bytes,
            len(done.problems),
            " ".join(done.problems),
        )


def month_is_past(month: str, now: datetime, days: int) -> bool:
    """Whether all of the month ``YYYYMM`` is older than ``days``."""
    year, number = int(month[:4]), int(month[4:])
    ends = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return ends <= now - timedelta(days=days)


def _months(window: Window, verified: Verified, now: datetime) -> Removed:
    warehouse = Warehouse(window.settings, window.run_id)
    gone = size = kept = 0
    try:
        for one in warehouse_upkeep.partitions(warehouse):
            past = one.table == ROWS_TABLE and month_is_past(
                one.partition, now, window.settings.wotr_keep_rows_days
            )
            if not past:
                continue
            if not verified.has_month(one.table, one.partition):
                kept += 1
                continue
            if not window.dry_run:
                if not window.go_on():
                    break
                window.operations.note(
                    window.who,
                    "drop month",
                    f"{one.table} {one.partition}",
                    f"{one.rows:,} rows, past their time",
                )
                warehouse_upkeep.drop(warehouse, one)
            gone, size = gone + 1, size + one.bytes
    finally:
        warehouse.close()
    return Removed("months of rows", gone, size, kept, "no verified backup has them (wotr backup list)")


def _raw_objects(window: Window, verified: Verified, now: datetime) -> Removed:
    objects = ObjectStore(window.settings)
    # Keys are in the order of time: the first one that is young enough ends the listing.
    first_kept = hour_prefix(RAW, now - timedelta(days=window.settings.wotr_keep_raw_days))
    gone = size = unverified = needed = 0
    with Ledger(window.settings) as ledger:
        past = takewhile(lambda found: found.key < first_kept, objects.list(RAW))
        while page := list(islice(past, PAGE_KEYS)):
            if not window.dry_run and not window.go_on():
                break
            free = list(_without_need(ledger, page))
            needed += len(page) - len(free)
            going = [found for found in free if verified.has_object(found.key)]
            unverified += len(free) - len(going)
            if going and not window.dry_run:
                window.operations.note(
                    window.who,
                    "delete raw objects",
                    f"{going[0].key} to {going[-1].key}",
                    f"{len(going):,} objects, past their time",
                )
                objects.delete([found.key for found in going])
            gone, size = gone + len(going), size + sum(found.size for found in going)
    reasons = []
    if unverified:
        reasons.append(f"no verified backup has {unverified:,} of them")
    if needed:
        reasons.append(f"the ledger still needs {needed:,} of them, or does not know them")
    return Removed("raw objects", gone, size, unverified + needed, "; ".join(reasons))


def _without_need(ledger: Ledger, page: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """The raw objects whose batch is loaded. An unfinished, reopened or quarantined one reads its object again."""
    loaded: dict[datetime, set[str]] = {}
    for found in page:
        range_ = parse_raw_key(found.key)
        if range_ is None:
            continue
        if range_.hour not in loaded:
            loaded[range_.hour] = {
                batch.raw_key
                for batch in ledger.batches(range_.hour)
                if batch.state is BatchState.LOADED and batch.raw_key
            }
        if found.key in loaded[range_.hour]:
            yield found


def _letters(window: Window, now: datetime) -> Removed:
    before = now - timedelta(days=window.settings.wotr_keep_dead_letters_days)
    apply = not window.dry_run and window.go_on()
    with DeadLetterRegister(window.settings) as register:
        pruned = prune(register, ObjectStore(window.settings), before, apply=apply)
    return Removed("objects of closed dead letters", len(pruned.keys), 0, 0)


def _rows_of_postgres(window: Window, now: datetime) -> Iterator[Removed]:
    settings = window.settings
    upkeep = PostgresUpkeep(settings)
    try:
        for table, what, days in (
            ("ingest_meta", "ids that the gateway remembers", settings.wotr_keep_ids_days),
            ("operator_actions", "operators' actions", settings.wotr_keep_actions_days),
        ):
            before = now - timedelta(days=days)
            if window.dry_run:
                gone = upkeep.rows_before(table, before)
            else:
                gone = upkeep.delete_before(table, before, window.go_on)
            yield Removed(what, gone, 0, 0)
    finally:
        upkeep.close()
