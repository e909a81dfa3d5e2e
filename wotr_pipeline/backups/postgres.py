"""PostgreSQL: the ledger's and Dagster's databases as dumps, each of one moment, with the sums of that very moment.

Belongs here: which databases, what a restore of them is. Does not belong here: the programs
(``stores/postgres_tools.py``), statements (``stores/postgres_server.py``).

In place, a database is restored beside the old one, compared, and takes its name; the old one is kept under another.
A kill between the two renames leaves no database of the old name, and the next restore gives it one. Dagster's own
database is replaced only while nobody is connected to it: a run cannot replace the store that it is recorded in.
"""

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime

from ..config import Settings
from ..stores.errors import PermanentError
from ..stores.operations_log import OperationsLog
from ..stores.postgres_server import PostgresServer, Snapshot
from ..stores.postgres_tools import PostgresTools
from .differences import differences
from .manifest import Fact, Manifest, Store, StoredFile
from .repository import Repository
from .target import Restored, Selection, scratch_prefix

LEDGER, DAGSTER = "ledger", "dagster"
ROLES_FILE = "roles.sql"
IDENTIFIER_BYTES = 63


class PostgresTarget:
    """See ``target.Target``. Items are rows."""

    store = Store.POSTGRES
    drills_by_group = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = PostgresServer(settings)
        self._tools = PostgresTools(settings)

    @property
    def source(self) -> str:
        """The ledger's database: what this platform is known by."""
        return self._settings.postgres_db

    def prepare(self, repository: Repository) -> None:
        """A killed run leaves nothing here."""

    def take(self, repository: Repository, backup_id: str, log: logging.Logger) -> Manifest:
        """Dump each database; its facts are of the dump's own snapshot."""
        files: list[StoredFile] = []
        facts: list[Fact] = []
        taken_at = datetime.now(UTC)
        there = set(self._server.databases())
        databases = {role: name for role, name in self._databases().items() if name in there}
        if LEDGER not in databases:
            raise PermanentError(f"There is no database {self.source} to back up. Check POSTGRES_DB.")
        for role, database in databases.items():
            with (
                self._server.snapshot(database) as snapshot,
                ThreadPoolExecutor(1, thread_name_prefix="sums") as pool,
            ):
                with self._tools.dump(database, snapshot.name) as dump:
                    # Beside the dump, upon another connection. Not before: sums that fail end the snapshot.
                    summing = pool.submit(_facts, role, snapshot)
                    files.append(repository.write(self.store, backup_id, f"{role}.dump", dump))
                facts += summing.result()
            log.info("The database %s is dumped: %d bytes.", database, files[-1].size)
        roles = io.BytesIO(self._tools.roles())
        files.append(repository.write(self.store, backup_id, ROLES_FILE, roles))
        return Manifest(
            backup_id,
            self.store,
            taken_at,
            datetime.now(UTC),
            self.source,
            sum(file.size for file in files),
            None,
            repository.cipher.recipient,
            tuple(files),
            tuple(facts),
            {f"database {role}": name for role, name in databases.items()},
        )

    def plan(
        self, repository: Repository, manifest: Manifest, selection: Selection, *, in_place: bool
    ) -> list[str]:
        """Names the databases."""
        del repository
        if not in_place:
            what = f"the table {selection.table}" if selection.table else "every table"
            return [
                f"{what.capitalize()} of {role} ({file.size:,} bytes of dump) is restored into a database of its own."
                for role, file in _dumps(manifest)
                if _wanted(role, selection)
            ]
        self._refuse_table(selection)
        steps = []
        for role, file in _dumps(manifest):
            database = self._databases()[role]
            rows = sum(fact.items for fact in manifest.facts if fact.name.startswith(f"{role}."))
            steps.append(
                f"{database}: {rows:,} rows ({file.size:,} bytes of dump) are restored beside it and compared; then it "
                f"is renamed to {database}_before_<time>, and the restored one takes its name."
            )
            if role == DAGSTER:
                users = self._server.connections(database)
                if users:
                    steps[-1] = (
                        f"{database} stays as it is: {len(users)} connections are open to it. To restore it too, stop "
                        "Dagster (webserver, daemon, code server) and the gateway first."
                    )
        return steps

    def restore(
        self,
        repository: Repository,
        manifest: Manifest,
        place: str,
        selection: Selection,
        log: logging.Logger,
    ) -> Restored:
        """Into ``<place>-ledger`` and ``<place>-dagster``."""
        items = size = 0
        notes = []
        for role, file in _dumps(manifest):
            if not _wanted(role, selection):
                continue
            database = _scratch(place, role)
            self._fill(repository, file, database, _table(selection))
            log.info("%s is restored into the database %s.", file.name, database)
            with self._server.snapshot(database) as snapshot:
                items += snapshot.rows()
            size += file.size
            notes.append(f"{role} is in the database {database}.")
        return Restored(place, items, size, tuple(notes))

    def replace(
        self, repository: Repository, manifest: Manifest, selection: Selection, log: logging.Logger
    ) -> Restored:
        """Restore beside, compare, take the name."""
        self._refuse_table(selection)
        items = size = 0
        notes = []
        for role, file in _dumps(manifest):
            database = self._databases()[role]
            if role == DAGSTER and (users := self._server.connections(database)):
                notes.append(
                    f"{database} was left as it is: {len(users)} connections are open to it. Stop Dagster and the "
                    "gateway, then restore again."
                )
                continue
            beside = f"{database}_restored"
            self._fill(repository, file, beside, None)
            with self._server.snapshot(beside) as snapshot:
                found = _facts(role, snapshot)
            wanted = [fact for fact in manifest.facts if fact.name.startswith(f"{role}.")]
            if problem := differences(wanted, found):
                self._server.drop(beside)
                raise PermanentError(
                    f"{manifest.backup_id} does not restore, and nothing was replaced. {problem}"
                )
            if role == LEDGER:
                self._begin_maintenance(beside, manifest)
            if database in self._server.databases():
                before = f"{database[:40]}_before_{datetime.now(UTC):%Y%m%dt%H%M%S}"
                self._server.rename(database, before)
                notes.append(f"The former {database} is kept: DROP DATABASE {before}; when it is not needed.")
            self._server.rename(beside, database)
            log.info("%s is restored in place.", database)
            items, size = items + sum(fact.items for fact in found), size + file.size
        notes.append(
            "Maintenance is on in what was restored. Next: wotr restore reconcile --apply, then wotr maintenance off."
        )
        return Restored(self.source, items, size, tuple(notes))

    def facts(self, place: str, manifest: Manifest) -> Sequence[Fact]:
        """Read every table of the scratch databases."""
        there = set(self._server.databases())
        facts: list[Fact] = []
        for role, _ in _dumps(manifest):
            if (database := _scratch(place, role)) in there:
                with self._server.snapshot(database) as snapshot:
                    facts += _facts(role, snapshot)
        return facts

    def check_shared(self, repository: Repository, manifest: Manifest, groups: Iterable[str]) -> str:
        """Each backup stands alone."""
        del repository, manifest, groups
        return ""

    def discard(self, place: str) -> None:
        """Drop the scratch databases."""
        for role in (LEDGER, DAGSTER):
            self._server.drop(_scratch(place, role))

    def leftovers(self) -> Sequence[str]:
        """Places of which a database is still there."""
        prefix = scratch_prefix(self.store, self.source)
        found = [name for name in self._server.databases() if name.startswith(prefix)]
        return sorted({name.rpartition("-")[0] for name in found})

    def _begin_maintenance(self, database: str, manifest: Manifest) -> None:
        """Nothing shall be planned upon a restored ledger before somebody has reconciled it."""
        operations = OperationsLog(self._settings.model_copy(update={"postgres_db": database}))
        with closing(operations), suppress(PermanentError):  # a database of an older version knows no mode
            operations.turn_maintenance(
                True, "restore", f"restored from {manifest.backup_id}, not yet reconciled"
            )

    def _databases(self) -> dict[str, str]:
        dagster = self._settings.dagster_postgres_db
        return {LEDGER: self.source} | ({DAGSTER: dagster} if dagster not in ("", self.source) else {})

    def _fill(
        self, repository: Repository, file: StoredFile, database: str, table: tuple[str, str] | None
    ) -> None:
        self._server.drop(database)
        self._server.create(database)
        self._tools.restore(database, repository.read(file), table)
        self._server.analyze(database)

    def _refuse_table(self, selection: Selection) -> None:
        if not selection.whole:
            raise PermanentError(
                "In place, PostgreSQL is restored whole. Restore the table into a scratch place (without --in-place), "
                "look at it, then copy the rows that are missing with INSERT … SELECT."
            )


def _facts(role: str, snapshot: Snapshot) -> list[Fact]:
    return [
        Fact(f"{role}.{table.schema}.{table.name}", "", table.rows, table.checksum)
        for table in snapshot.sums()
    ]


def _dumps(manifest: Manifest) -> Iterator[tuple[str, StoredFile]]:
    for role in (LEDGER, DAGSTER):
        for file in manifest.files:
            if file.name == f"{role}.dump":
                yield role, file


def _wanted(role: str, selection: Selection) -> bool:
    parts = selection.table.split(".")
    return len(parts) < 3 or parts[0] == role


def _table(selection: Selection) -> tuple[str, str] | None:
    if not selection.table:
        return None
    *_, schema, name = ["public", *selection.table.split(".")]
    return schema, name


def _scratch(place: str, role: str) -> str:
    name = f"{place}-{role}"
    if len(name.encode()) > IDENTIFIER_BYTES:
        raise PermanentError(
            f"{place} is too long for the name of a database. Choose one of at most 50 characters."
        )
    return name
