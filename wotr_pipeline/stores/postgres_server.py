"""Whole databases of the PostgreSQL server: made, compared, renamed, dropped; and consistent looks at one.

Belongs here: statements about databases, and a snapshot that a dump can share. Does not belong here: the ledger's
rows (``ledger.py``), dumps (``postgres_tools.py``).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import IsolationLevel
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from ..config import Settings
from .errors import TransientError
from .leases import LEASE_DATABASE
from .ledger_database import connect, translated

_SESSION = (
    # What a value looks like as text must not depend on who asks.
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
    "SET search_path = ''",
)
# Each row is hashed as a record. A value goes in as it is only where equal means identical; any other one as its
# text: 1.0 equals 1.00, and the hash of an enum's value is that of an OID, another one in each database.
_TABLES = sa.text("""
    SELECT pg_namespace.nspname AS schema, pg_class.relname AS name,
        format('%I.%I', nspname, relname) AS quoted,
        (SELECT coalesce(string_agg(
            CASE WHEN atttypid = ANY ('{bool,int2,int4,int8,uuid,bytea,date,timestamp,timestamptz}'::regtype[])
                THEN format('%I', attname) ELSE format('%I::text COLLATE "C"', attname) END,
            ', ' ORDER BY attnum), '')
         FROM pg_catalog.pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped) AS columns
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence <> 't' AND nspname NOT IN ('pg_catalog', 'information_schema')
      AND nspname NOT LIKE 'pg_toast%'
    ORDER BY 1, 2
""")
_SEQUENCES = sa.text("""
    SELECT pg_namespace.nspname AS schema, pg_class.relname AS name, seqincrement AS increment,
        pg_sequence_last_value(pg_class.oid) AS last
    FROM pg_catalog.pg_sequence JOIN pg_catalog.pg_class ON pg_class.oid = seqrelid
        JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relpersistence <> 't' AND NOT seqcycle
    ORDER BY 1, 2
""")
_OTHER_TABLES = sa.text("""
    SELECT pg_namespace.nspname AS schema, pg_class.relname AS name
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname NOT IN ('pg_catalog', 'information_schema')
      AND pg_class.oid NOT IN (
        WITH RECURSIVE kept AS (
          SELECT wanted.oid FROM pg_catalog.pg_class AS wanted
            JOIN pg_catalog.pg_namespace AS its ON its.oid = wanted.relnamespace
          WHERE its.nspname = :schema AND wanted.relname = :table
          UNION SELECT inhparent FROM pg_catalog.pg_inherits JOIN kept ON kept.oid = inhrelid)
        SELECT oid FROM kept)
""")
_OWNER = sa.text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :name")
# Of our own role: others' are not ours to end, and autovacuum gives way by itself to DROP and RENAME, while an
# attempt to end it (as WITH (FORCE) makes) is refused to all but superusers.
_END_CONNECTIONS = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND usename = current_user "
    "AND pid <> pg_backend_pid()"
)
_INSUFFICIENT_PRIVILEGE, _DUPLICATE = "42501", "42710"
_ROLE = re.compile(r"CREATE ROLE (.+);")


@dataclass(frozen=True)
class TableSum:
    """Rows of a table, and the sum of the 64-bit hashes of its rows: every column, in no order."""

    schema: str
    name: str
    rows: int
    checksum: str


@dataclass(frozen=True)
class SequencePosition:
    """The number that a sequence gave last; None: it gave none yet. Those that begin again (CYCLE) are not told."""

    schema: str
    name: str
    increment: int
    last: int | None


class Snapshot:
    """One moment of one database."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        with translated("export a snapshot"):
            row = connection.execute(sa.text("SELECT pg_export_snapshot() AS name, now() AS at")).one()
        self.name: str = row.name
        self.at: datetime = row.at

    def sums(self) -> Iterator[TableSum]:
        """Every table, read whole, in the order of names."""
        with translated("read the tables"):
            for table in self._tables():
                row = self._read(
                    f"SELECT count(*) AS rows, coalesce(sum(hash_record_extended(ROW({table.columns}), 0)), 0)::text "
                    f"AS checksum FROM {table.quoted}"
                )
                yield TableSum(table.schema, table.name, row.rows, row.checksum)

    def rows(self) -> int:
        """Of all tables together, counted without looking into them."""
        with translated("count the rows"):
            return sum(
                self._read(f"SELECT count(*) AS rows FROM {table.quoted}").rows for table in self._tables()
            )

    def _tables(self) -> Sequence[sa.Row[Any]]:
        return self._connection.execute(_TABLES).all()

    def _read(self, statement: str) -> sa.Row[Any]:
        """A statement with names in it, which cannot be parameters: nothing in it is one."""
        return self._connection.execute(sa.text(statement.replace(":", r"\:"))).one()

    def sequences(self) -> list[SequencePosition]:
        """Where the sequences are now. They stand outside of snapshots: they may be further a moment later."""
        with translated("read the sequences"):
            return [
                SequencePosition(row.schema, row.name, row.increment, row.last)
                for row in self._connection.execute(_SEQUENCES).all()
            ]


class PostgresServer:
    """Databases of the settings' server. Raises TransientError and PermanentError as the ledger does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @contextmanager
    def snapshot(self, database: str) -> Iterator[Snapshot]:
        """A moment of a database, for as long as the block lasts."""
        engine = connect(
            self._settings.model_copy(update={"postgres_db": database}), "wotr backup", dedicated=True
        )
        try:
            with translated(f"open the database {database}"):
                connection = engine.connect().execution_options(isolation_level="REPEATABLE READ")
            try:
                with translated("begin a snapshot"):
                    for statement in _SESSION:
                        connection.execute(sa.text(statement))
                    # The settings are the session's; the snapshot is that of a new transaction.
                    connection.commit()
                yield Snapshot(connection)
            finally:
                connection.invalidate()
                connection.close()
        finally:
            engine.dispose()

    def major(self) -> int:
        """The server's major version."""
        with self._administering("ask for the version") as connection:
            number = connection.scalar(
                sa.text("SELECT current_setting('server_version_num')::integer / 10000")
            )
        return int(number or 0)

    def superuser(self) -> bool:
        """Whether the settings' role is one."""
        with self._administering("look at the role") as connection:
            return bool(
                connection.scalar(sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
            )

    def add_roles(self, statements: Iterable[str]) -> tuple[list[str], list[str]]:
        """Create the roles of a dump of globals that are missing; those that are there stay as they are.

        Returns the names of those created (without passwords) and of those the settings' role may not create.
        """
        made: list[str] = []
        refused: list[str] = []
        with self._administering("create the roles") as connection:
            there = set(connection.scalars(sa.text("SELECT quote_ident(rolname) FROM pg_roles")))
            for statement in statements:
                role = _ROLE.fullmatch(statement)
                if role and role[1] in there:
                    continue
                about = role or any(
                    statement.startswith(f"ALTER ROLE {name} ")
                    or (
                        statement.startswith("GRANT ")
                        and (f" TO {name} " in statement or f" TO {name};" in statement)
                    )
                    for name in made
                )
                if not about:
                    continue
                try:
                    connection.exec_driver_sql(statement)
                except sa.exc.DBAPIError as error:
                    code = getattr(error.orig, "pgcode", "")
                    if code == _INSUFFICIENT_PRIVILEGE and role:
                        refused.append(role[1])
                    if code not in (_INSUFFICIENT_PRIVILEGE, _DUPLICATE):
                        raise
                else:
                    made += [role[1]] if role else []
        return made, refused

    def keep_only(self, database: str, schema: str, table: str) -> None:
        """Drop every table but one from a database."""
        with self._administering(f"drop the other tables of {database}", database) as connection:
            for other in connection.execute(_OTHER_TABLES, {"schema": schema, "table": table}).all():
                name = f"{self._quoted(connection, other.schema)}.{self._quoted(connection, other.name)}"
                connection.execute(sa.text(f"DROP TABLE IF EXISTS {name} CASCADE"))

    def databases(self) -> list[str]:
        """Names of all databases."""
        with self._administering("list the databases") as connection:
            return list(connection.scalars(sa.text("SELECT datname FROM pg_database ORDER BY 1")))

    def create(self, database: str) -> None:
        """Make an empty database in UTF-8, of template0: nothing local is in it."""
        with self._administering(f"create the database {database}") as connection:
            connection.execute(sa.text(f"CREATE DATABASE {self._quoted(connection, database)} TEMPLATE template0 "
                                       "ENCODING 'UTF8'"))  # fmt: skip

    def drop(self, database: str) -> None:
        """Remove a database with all that is in it and everyone who is connected; fine if there is none."""
        doing = f"drop the database {database}"
        with self._administering(doing) as connection:
            statement = sa.text(f"DROP DATABASE IF EXISTS {self._quoted(connection, database)}")
            for attempt in Retrying(
                stop=stop_after_attempt(4),
                wait=wait_exponential(0.1, max=2),
                retry=retry_if_exception_type(TransientError),
                reraise=True,
            ):
                with attempt, translated(doing):
                    connection.execute(_END_CONNECTIONS, {"name": database})
                    # It waits 5 s for those who are leaving.
                    connection.execute(statement)

    def analyze(self, database: str) -> None:
        """Let the planner know the tables of a restored database."""
        with self._administering("analyse", database) as connection:
            connection.execute(sa.text("ANALYZE"))

    def take_name(self, database: str, name: str, before: str, *, end_connections: bool) -> bool:
        """Give ``database`` the name ``name``; the database that has it now is kept as ``before``, if there is one.

        Both renames are one transaction: a kill leaves either all as it was or all done, and no moment is without
        a database of that name. Returns whether there was a former one.

        Raises:
            TransientError: somebody is connected to the former one (and ``end_connections`` is not wished).
        """
        with self._administering(f"rename the database {database}", isolation="READ COMMITTED") as connection:
            new, old, kept = (self._quoted(connection, text) for text in (database, name, before))
            connection.commit()
            for attempt in Retrying(
                stop=stop_after_attempt(3),
                wait=wait_exponential(0.1, max=2),
                retry=retry_if_exception_type(TransientError),
                reraise=True,
            ):
                with attempt, translated(f"give {database} the name {name}"), connection.begin():
                    owner = connection.scalar(_OWNER, {"name": name})
                    if owner is not None:
                        if end_connections:
                            connection.execute(_END_CONNECTIONS, {"name": name})
                        # It locks the name against newcomers, then waits 5 s for those who are leaving.
                        connection.execute(sa.text(f"ALTER DATABASE {old} RENAME TO {kept}"))
                    connection.execute(sa.text(f"ALTER DATABASE {new} RENAME TO {old}"))
                    if owner is not None and owner != self._settings.postgres_user:
                        connection.execute(
                            sa.text(f"ALTER DATABASE {old} OWNER TO {self._quoted(connection, owner)}")
                        )
        return owner is not None

    def connections(self, database: str) -> list[str]:
        """Who is connected to a database, by application."""
        statement = sa.text(
            "SELECT application_name FROM pg_stat_activity WHERE datname = :name AND backend_type = 'client backend'"
        )
        with self._administering("see who is connected") as connection:
            return list(connection.scalars(statement, {"name": database}))

    @contextmanager
    def _administering(
        self, doing: str, database: str = LEASE_DATABASE, isolation: IsolationLevel = "AUTOCOMMIT"
    ) -> Iterator[sa.Connection]:
        """Outside of any transaction unless ``isolation`` says so: CREATE DATABASE and its like want that."""
        settings = self._settings.model_copy(update={"postgres_db": database})
        engine = connect(settings, "wotr databases", dedicated=True)
        try:
            with (
                translated(doing),
                engine.connect().execution_options(isolation_level=isolation) as connection,
            ):
                connection.execute(sa.text("SET statement_timeout = '600s'"))
                yield connection
        finally:
            engine.dispose()

    def _quoted(self, connection: sa.Connection, name: str) -> str:
        quoted: str = connection.dialect.identifier_preparer.quote_identifier(name)
        return quoted
