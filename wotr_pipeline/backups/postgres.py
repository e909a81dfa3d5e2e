"""PostgreSQL: the ledger's and Dagster's databases as dumps, each of one moment, with the sums of that very moment.

Belongs here: which databases, what a restore of them is. Does not belong here: the programs
(``stores/postgres_tools.py``), statements (``stores/postgres_server.py``).

In place, a database is restored beside the old one, compared, and takes its name; the old one is kept under another.
Both renames are one transaction. Roles that are missing are created first, without passwords; those that are there
stay as they are. What a killed restore has left beside, the next backup or restore removes. Dagster's own database is
replaced only while nobody is connected to it: a run cannot replace the store that it is recorded in.

A drill's copy belongs to the settings' role; owners and privileges come back in place alone.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime

from ..config import Settings
from ..stores.errors import PermanentError
from ..stores.operations_log import OperationsLog
from ..stores.postgres_server import PostgresServer
from ..stores.postgres_tools import PostgresTools
from .differences import differences
from .manifest import Fact, Manifest, Store, StoredFile
from .postgres_facts import restored_facts, sequence_facts, table_facts
from .postgres_selection import DAGSTER, LEDGER, copying, selected
from .repository import Repository
from .target import Restored, Selection, scratch_prefix

GLOBALS_FILE = "globals.sql"
BESIDE_PREFIX = "wotr-restoring-"
"""How the names of databases begin that are to take another's place: those are ours to drop."""
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
        """Remove what a killed restore in place has left beside."""
        del repository
        for database in self._server.databases():
            if database in {self.beside(role) for role in (LEDGER, DAGSTER)}:
                self._server.drop(database)

    def take(self, repository: Repository, backup_id: str, log: logging.Logger) -> Manifest:
        """Dump each database; its facts are of the dump's own snapshot."""
        files: list[StoredFile] = []
        facts: list[Fact] = []
        taken_at = datetime.now(UTC)
        there = set(self._server.databases())
        self._tools.check(self._server.major())
        databases = {role: name for role, name in self._databases().items() if name in there}
        for role, name in self._databases().items() - databases.items():
            log.info("There is no database %s (%s): it is left out.", name, role)
        if LEDGER not in databases:
            raise PermanentError(f"There is no database {self.source} to back up. Check POSTGRES_DB.")
        for role, database in databases.items():
            with (
                self._server.snapshot(database) as snapshot,
                ThreadPoolExecutor(1, thread_name_prefix="sums") as pool,
            ):
                sequences = sequence_facts(role, snapshot)
                with self._tools.dump(database, snapshot.name) as dump:
                    # Beside the dump, upon another connection. Not before: sums that fail end the snapshot.
                    summing = pool.submit(table_facts, role, snapshot)
                    files.append(repository.write(self.store, backup_id, f"{role}.dump", dump))
                facts += [*summing.result(), *sequences]
            log.info("The database %s is dumped: %d bytes.", database, files[-1].size)
        shared = io.BytesIO(self._tools.globals())
        files.append(repository.write(self.store, backup_id, GLOBALS_FILE, shared))
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
            if not selection.table:
                return [
                    f"Every table of {role} ({file.size:,} bytes of dump) is restored into a database of its own."
                    for role, file in _dumps(manifest)
                ]
            return [
                f"The table {schema}.{table} of {role} alone is restored, without indexes and triggers. To bring "
                f"missing rows back: {copying(f'<place>-{role}', self._name(manifest, role), schema, table)}"
                for role, schema, table in selected(manifest, selection)
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
        self._tools.check(self._server.major())
        tables = {role: (schema, name) for role, schema, name in selected(manifest, selection)}
        for role, file in _dumps(manifest):
            if tables and role not in tables:
                continue
            database = _scratch(place, role)
            self._empty(database)
            if role in tables:
                schema, name = tables[role]
                # Types and functions that the table needs come with the definitions of all.
                self._tools.restore(database, repository.read(file), "--section=pre-data")
                self._tools.restore(
                    database, repository.read(file), "--data-only", f"--schema={schema}", f"--table={name}"
                )
                self._server.keep_only(database, schema, name)
                notes.append(
                    f"To bring missing rows of {schema}.{name} back: "
                    f"{copying(database, self._name(manifest, role), schema, name)}"
                )
            else:
                self._tools.restore(database, repository.read(file))
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
        self._tools.check(self._server.major())
        items = size = 0
        notes = self._add_roles(repository, manifest)
        owners = self._server.superuser()
        if not owners:
            notes.append(
                f"{self._settings.postgres_user} is no superuser: everything belongs to it now. Grant other roles "
                "again what they need."
            )
        for role, file in _dumps(manifest):
            database = self._databases()[role]
            if role == DAGSTER and (users := self._server.connections(database)):
                notes.append(
                    f"{database} was left as it is: {len(users)} connections are open to it. Stop Dagster and the "
                    "gateway, then restore again."
                )
                continue
            beside = self.beside(role)
            self._empty(beside)
            self._tools.restore(beside, repository.read(file), owners=owners)
            self._server.analyze(beside)
            with self._server.snapshot(beside) as snapshot:
                found = restored_facts(role, snapshot, manifest.facts)
            wanted = [fact for fact in manifest.facts if fact.name.startswith(f"{role}.")]
            if problem := differences(wanted, found):
                self._server.drop(beside)
                raise PermanentError(
                    f"{manifest.backup_id} does not restore, and nothing was replaced. {problem}"
                )
            if role == LEDGER:
                self._begin_maintenance(beside, manifest)
            before = f"{database[:40]}_before_{datetime.now(UTC):%Y%m%dt%H%M%S}"
            if self._server.take_name(beside, database, before, end_connections=role == LEDGER):
                notes.append(
                    f'The former {database} is kept: DROP DATABASE "{before}"; when it is not needed.'
                )
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
                    facts += restored_facts(role, snapshot, manifest.facts)
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

    def _name(self, manifest: Manifest, role: str) -> str:
        return manifest.details.get(f"database {role}", role)

    def beside(self, role: str) -> str:
        """Name of the database that is to take the place of another."""
        return f"{BESIDE_PREFIX}{hashlib.sha256(self.source.encode()).hexdigest()[:8]}-{role}"

    def _empty(self, database: str) -> None:
        self._server.drop(database)
        self._server.create(database)

    def _add_roles(self, repository: Repository, manifest: Manifest) -> list[str]:
        text = b"".join(repository.read(manifest.file(GLOBALS_FILE))).decode()
        made, refused = self._server.add_roles(text.splitlines())
        notes = []
        if made:
            notes.append(
                f"These roles were created, without passwords: {', '.join(made)}. Set them (ALTER ROLE)."
            )
        if refused:
            notes.append(f"These roles are missing and may not be created by this one: {', '.join(refused)}.")
        return notes

    def _refuse_table(self, selection: Selection) -> None:
        if not selection.whole:
            raise PermanentError(
                "In place, PostgreSQL is restored whole. Restore the table into a scratch place (without --in-place), "
                "look at it, then copy the rows that are missing: the restore says how."
            )


def _dumps(manifest: Manifest) -> Iterator[tuple[str, StoredFile]]:
    for role in (LEDGER, DAGSTER):
        for file in manifest.files:
            if file.name == f"{role}.dump":
                yield role, file


def _scratch(place: str, role: str) -> str:
    name = f"{place}-{role}"
    if len(name.encode()) > IDENTIFIER_BYTES:
        raise PermanentError(
            f"{place} is too long for the name of a database. Choose one of at most 50 characters."
        )
    return name
