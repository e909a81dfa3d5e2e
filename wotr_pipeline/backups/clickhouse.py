"""ClickHouse: the engine's own BACKUP of a frozen copy, full or upon an earlier one.

Belongs here: which tables at which moment, the chain, what a restore is. Does not belong here: statements
(``stores/engine_backups.py``), the files that the engine writes (``engine_files.py``).

The tables are cloned (links to the same files) while no load is half in, which takes milliseconds; sums and BACKUP are
of the clones, so loads go on meanwhile and the two agree. In place, tables are restored into a database of their own,
compared, and change places with the live ones: the former tables are then in that database, and stay.

With a recipient the engine, which cannot encrypt for one, writes below ``plain/``; its files are sealed from there and
``plain/`` is cleared. An incremental backup reads its base in plain, so sealed backups are all full ones.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime

from ..config import Settings
from ..stores.engine_backups import EngineBackups
from ..stores.errors import PermanentError
from ..stores.ledger_locks import RunConnection
from ..stores.warehouse import Warehouse
from .differences import differences
from .engine_files import clear_opened, look_at_files, note_files, opened_files, seal_files
from .manifest import Fact, Manifest, Store
from .repository import Repository
from .target import Restored, Selection, scratch_prefix

FROZEN_PREFIX = "wotr_frozen_"
LOCK_SECONDS = 600.0


class ClickHouseTarget:
    """See ``target.Target``. Items are rows."""

    store = Store.CLICKHOUSE
    drills_by_group = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def source(self) -> str:
        """The database of the events."""
        return self._settings.clickhouse_db

    def prepare(self, repository: Repository) -> None:
        """Wait for what the engine still does for a killed run; remove its frozen tables, and what it opened."""
        with self._engine() as engine:
            engine.wait_for_others(self._path)
            for database in engine.databases(self._frozen(f"{self.store}-")):
                engine.drop(database)
        clear_opened(repository)

    def take(self, repository: Repository, backup_id: str, log: logging.Logger) -> Manifest:
        """Freeze, sum up, let the engine write."""
        prefix = f"{repository.data_prefix(self.store, backup_id)}{'plain' if repository.cipher.recipient else 'engine'}/"
        frozen = self._frozen(backup_id)
        with self._engine() as engine:
            base = self._base(repository, log)
            tables = engine.tables(self.source)
            if not tables:
                raise PermanentError(
                    f"There is no table in the database {self.source} to back up. Check CLICKHOUSE_DB."
                )
            try:
                taken_at = self._freeze(engine, tables, frozen)
                # One after the other: side by side on few cores the two take longer than that.
                facts = _facts(engine, frozen, tables)
                engine.backup(
                    tables,
                    frozen,
                    self.source,
                    f"{repository.bucket}/{prefix}",
                    f"{repository.bucket}/{base.details['engine prefix']}" if base else None,
                    f"{backup_id}-{datetime.now(UTC):%H%M%S%f}",
                    log,
                )
            finally:
                engine.drop(frozen)
        details = {
            "engine prefix": prefix,
            "kind": "incremental" if base else "full",
            "tables": ", ".join(tables),
        }
        if repository.cipher.recipient:
            files, size = seal_files(repository, backup_id, prefix, log)
        else:
            files, size, details["engine contents"] = note_files(repository, backup_id, prefix)
        return Manifest(
            backup_id,
            self.store,
            taken_at,
            datetime.now(UTC),
            self.source,
            size,
            base.backup_id if base else None,
            repository.cipher.recipient,
            files,
            facts,
            details,
        )

    def plan(
        self, repository: Repository, manifest: Manifest, selection: Selection, *, in_place: bool
    ) -> list[str]:
        """Names tables and rows."""
        chain = repository.chain(manifest)
        steps = (
            [f"Read {len(chain)} backups: {', '.join(one.backup_id for one in chain)}."] if chain[1:] else []
        )
        for table in _tables(manifest, selection):
            wanted = [
                fact
                for fact in manifest.facts
                if fact.name == table and selection.partition in ("", fact.partition)
            ]
            rows = sum(fact.items for fact in wanted)
            where = (
                f"and take the place of those in {manifest.source}; the former ones are kept in a database of their own"
                if in_place
                else "into a database of their own"
            )
            steps.append(f"{table}: {rows:,} rows in {len(wanted)} partitions are restored {where}.")
        return steps

    def restore(
        self,
        repository: Repository,
        manifest: Manifest,
        place: str,
        selection: Selection,
        log: logging.Logger,
    ) -> Restored:
        """Into the database ``place``."""
        with self._engine() as engine, _told_of(manifest):
            self._restore(engine, repository, manifest, place, selection, log)
            items = sum(engine.count(place, table) for table in engine.tables(place))
        return Restored(place, items, self._size(repository, manifest))

    def replace(
        self, repository: Repository, manifest: Manifest, selection: Selection, log: logging.Logger
    ) -> Restored:
        """Restore beside, compare, change places."""
        beside = self._before(f"{datetime.now(UTC):%Y%m%dt%H%M%S%f}")
        warehouse = Warehouse(self._settings)
        with closing(warehouse):
            warehouse.migrate()
        with self._engine() as engine:
            tables = _tables(manifest, selection)
            try:
                with _told_of(manifest):
                    self._restore(engine, repository, manifest, beside, selection, log)
                    found = _facts(engine, beside, tables)
            except PermanentError:
                engine.drop(beside)
                raise
            wanted = [
                fact
                for fact in manifest.facts
                if fact.name in tables and selection.partition in ("", fact.partition)
            ]
            if problem := differences(wanted, found):
                engine.drop(beside)
                raise PermanentError(
                    f"{manifest.backup_id} does not restore, and nothing was replaced. {problem}"
                )
            there = set(engine.tables(self.source))
            for table in tables:
                if table not in there:
                    engine.move(table, beside, self.source)
                elif selection.partition:
                    former = f"{beside}_partition"
                    engine.create(former)
                    engine.clone(table, self.source, former, selection.partition)
                    engine.replace_partition(table, selection.partition, self.source, beside)
                    engine.drop(beside)
                    beside = former
                else:
                    engine.exchange(table, self.source, beside)
                log.info("%s is restored in place.", table)
            earlier = [name for name in engine.databases(self._before("")) if name != beside]
        notes = [f"The former tables are kept: DROP DATABASE {beside}; when they are not needed."]
        if earlier:
            notes.append(
                f"Earlier restores have left {', '.join(earlier)}. If one of them was killed, former tables that it had "
                "already replaced are there and nowhere else. Look into them before you drop them."
            )
        items = sum(fact.items for fact in found)
        return Restored(self.source, items, self._size(repository, manifest), tuple(notes))

    def facts(self, place: str, manifest: Manifest) -> Sequence[Fact]:
        """Read every table of the database ``place``."""
        with self._engine() as engine, _told_of(manifest):
            return _facts(engine, place, engine.tables(place))

    def check_shared(self, repository: Repository, manifest: Manifest, groups: Iterable[str]) -> str:
        """Each drill restores everything."""
        del repository, manifest, groups
        return ""

    def discard(self, place: str) -> None:
        """Drop the scratch database."""
        if place == self.source:
            raise PermanentError(f"{place} is the database of the events; it is never discarded.")
        with self._engine() as engine:
            engine.drop(place)

    def leftovers(self) -> Sequence[str]:
        """Scratch databases of this database's drills."""
        with self._engine() as engine:
            found = engine.databases(scratch_prefix(self.store, self.source))
            if found:  # a restore that still fills one must not race with its removal
                engine.wait_for_others(self._path)
            return found

    @property
    def _path(self) -> str:
        """What every place of this platform's backups begins with, as the engine names them."""
        return f"{self._settings.wotr_backup_bucket}/{self.store}/data/"

    @contextmanager
    def _engine(self) -> Iterator[EngineBackups]:
        engine = EngineBackups(self._settings, "backup")
        try:
            yield engine
        finally:
            engine.close()

    def _frozen(self, backup_id: str) -> str:
        return f"{FROZEN_PREFIX}{self.source}_{backup_id.replace('-', '_')}"

    def _before(self, moment: str) -> str:
        return f"{self.source}_before_{moment}"

    def _freeze(self, engine: EngineBackups, tables: Sequence[str], frozen: str) -> datetime:
        """Clone every table while no load is half in; the moment of it."""
        run = RunConnection(self._settings, f"backup of {self.source}")
        run.open()
        try:
            engine.create(frozen)
            with run.load_lock(LOCK_SECONDS):
                taken_at = datetime.now(UTC)
                for table in tables:
                    engine.clone(table, self.source, frozen)
        finally:
            run.close()
        return taken_at

    def _base(self, repository: Repository, log: logging.Logger) -> Manifest | None:
        """The newest backup, if the next one may build upon it."""
        ids = repository.backup_ids(self.store)
        if not ids or repository.cipher.recipient:
            return None
        seen = repository.verification(self.store, ids[-1])
        try:
            newest = repository.manifest(self.store, ids[-1])
            chain = repository.chain(newest)
        except PermanentError as error:
            log.warning("This backup is a full one, for the chain of the last is broken: %s", error)
            return None
        if seen is None or seen.problem or newest.recipient or newest.source != self.source:
            log.info(
                "This backup is a full one: %s was not verified, or is of another kind.", newest.backup_id
            )
            return None
        return newest if len(chain) < self._settings.wotr_backup_full_every else None

    def _restore(
        self,
        engine: EngineBackups,
        repository: Repository,
        manifest: Manifest,
        place: str,
        selection: Selection,
        log: logging.Logger,
    ) -> None:
        tables = _tables(manifest, selection)
        engine.wait_for_others(self._path)
        clear_opened(repository)
        with ExitStack() as opened:
            if manifest.recipient:
                prefix = opened.enter_context(opened_files(repository, manifest))
            else:
                for one in repository.chain(manifest):
                    look_at_files(repository, one)
                prefix = manifest.details["engine prefix"]
            engine.drop(place)
            engine.create(place)
            identity = f"{place}-{datetime.now(UTC):%H%M%S%f}"
            path = f"{repository.bucket}/{prefix}"
            engine.restore(tables, manifest.source, place, path, selection.partition, identity, log)

    def _size(self, repository: Repository, manifest: Manifest) -> int:
        return sum(one.bytes for one in repository.chain(manifest))


@contextmanager
def _told_of(manifest: Manifest) -> Iterator[None]:
    """Let a failure for good say whose it is."""
    try:
        yield
    except PermanentError as error:
        if manifest.backup_id in str(error):
            raise
        raise PermanentError(
            f"{manifest.backup_id} cannot be restored; use an older backup. {error}"
        ) from error


def _facts(engine: EngineBackups, database: str, tables: Sequence[str]) -> tuple[Fact, ...]:
    """A fact a partition; a table without rows has one too, so that its absence is seen."""
    facts = []
    for table in tables:
        sums = engine.sums(database, table)
        facts += [Fact(table, part.partition, part.rows, part.checksum) for part in sums]
        if not sums:
            facts.append(Fact(table, "", 0, "0"))
    return tuple(facts)


def _tables(manifest: Manifest, selection: Selection) -> list[str]:
    every = sorted({fact.name for fact in manifest.facts})
    if selection.prefix:
        raise PermanentError("ClickHouse has no prefixes: choose --table, and --partition of it.")
    if not selection.table:
        if selection.partition:
            raise PermanentError("--partition needs the --table that it is a partition of.")
        return every
    name = selection.table.rpartition(".")[2]
    if name not in every:
        raise PermanentError(f"{manifest.backup_id} has no table {name}. It has {', '.join(every)}.")
    partitions = sorted({fact.partition for fact in manifest.facts if fact.name == name})
    if selection.partition and selection.partition not in partitions:
        raise PermanentError(
            f"{manifest.backup_id} has no partition {selection.partition} of {name}. It has {', '.join(partitions)}."
        )
    return [name]
