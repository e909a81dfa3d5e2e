"""Whole databases of the PostgreSQL server: made, compared, renamed, dropped; and consistent looks at one.

Belongs here: statements about databases, and a snapshot that a dump can share. Does not belong here: the ledger's
rows (``ledger.py``), dumps (``postgres_tools.py``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
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
_TABLES = sa.text("""
    SELECT pg_namespace.nspname AS schema, pg_class.relname AS name
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence <> 't' AND nspname NOT IN ('pg_catalog', 'information_schema')
      AND nspname NOT LIKE 'pg_toast%'
    ORDER BY 1, 2
""")


@dataclass(frozen=True)
class TableSum:
    """Rows of a table, and the sum of the 64-bit hashes of its rows as text: every column, in no order."""

    schema: str
    name: str
    rows: int
    checksum: str


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
            for schema, name, quoted in self._tables():
                statement = sa.text(
                    "SELECT count(*) AS rows, "
                    "coalesce(sum(hashtextextended((wotr_row.*)::text, 0)::numeric), 0)::text AS checksum "
                    f"FROM {quoted} AS wotr_row"
                )
                row = self._connection.execute(statement).one()
                yield TableSum(schema, name, row.rows, row.checksum)

    def rows(self) -> int:
        """Of all tables together, counted without looking into them."""
        with translated("count the rows"):
            counts = [sa.text(f"SELECT count(*) FROM {quoted}") for _, _, quoted in self._tables()]
            return sum(self._connection.execute(count).scalar_one() for count in counts)

    def _tables(self) -> Iterator[tuple[str, str, str]]:
        """Schema and name of each, and how a statement names it: names cannot be parameters."""
        quote = self._connection.dialect.identifier_preparer.quote_identifier
        for table in self._connection.execute(_TABLES).all():
            yield table.schema, table.name, f"{quote(table.schema)}.{quote(table.name)}"


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
        with self._administering(f"drop the database {database}") as connection:
            connection.execute(
                sa.text(f"DROP DATABASE IF EXISTS {self._quoted(connection, database)} WITH (FORCE)")
            )

    def analyze(self, database: str) -> None:
        """Let the planner know the tables of a restored database."""
        with self._administering("analyse", database) as connection:
            connection.execute(sa.text("ANALYZE"))

    def rename(self, database: str, to: str) -> None:
        """Rename a database, ending every connection to it."""
        with self._administering(f"rename the database {database}") as connection:
            old, new = self._quoted(connection, database), self._quoted(connection, to)
            connection.execute(sa.text(f"ALTER DATABASE {old} ALLOW_CONNECTIONS false"))
            for attempt in Retrying(
                stop=stop_after_attempt(8),
                wait=wait_exponential(0.1, max=2),
                retry=retry_if_exception_type(TransientError),
                reraise=True,
            ):
                with attempt, translated(f"rename the database {database}"):
                    connection.execute(
                        sa.text(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = :name AND pid <> pg_backend_pid()"
                        ),
                        {"name": database},
                    )
                    connection.execute(sa.text(f"ALTER DATABASE {old} RENAME TO {new}"))
            connection.execute(sa.text(f"ALTER DATABASE {new} ALLOW_CONNECTIONS true"))

    def connections(self, database: str) -> list[str]:
        """Who is connected to a database, by application."""
        statement = sa.text("SELECT application_name FROM pg_stat_activity WHERE datname = :name")
        with self._administering("see who is connected") as connection:
            return list(connection.scalars(statement, {"name": database}))

    @contextmanager
    def _administering(self, doing: str, database: str = LEASE_DATABASE) -> Iterator[sa.Connection]:
        """Outside of any transaction: CREATE DATABASE and its like want that."""
        settings = self._settings.model_copy(update={"postgres_db": database})
        engine = connect(settings, "wotr databases", dedicated=True)
        try:
            with (
                translated(doing),
                engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
            ):
                connection.execute(sa.text("SET statement_timeout = '600s'"))
                yield connection
        finally:
            engine.dispose()

    def _quoted(self, connection: sa.Connection, name: str) -> str:
        quoted: str = connection.dialect.identifier_preparer.quote_identifier(name)
        return quoted
