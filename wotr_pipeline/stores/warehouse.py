"""ClickHouse as this project speaks to it: named statements in, Arrow tables out.

Belongs here: the connection, the naming of runs in ``log_comment``, the sorting of failures into
transient and permanent, and the tables' creation.
Does not belong here: what a batch goes through in the engine (``loading.py``), SQL text (``sql/``).
"""

import json
from collections.abc import Mapping
from copy import copy
from functools import cached_property

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error, OperationalError
from urllib3.exceptions import HTTPError

from wotr_pipeline.config import Settings
from wotr_pipeline.sql import statement
from wotr_pipeline.stores.errors import PermanentError, TransientError

Parameter = str | int | float | list[str] | list[int]

TABLES = ("ingested_data", "events_hourly", "events_daily", "source_stats", "dead_letters_hourly")

TRANSIENT_CODES = frozenset(
    {
        3,  # UNEXPECTED_END_OF_FILE: a connection was cut
        24,  # CANNOT_WRITE_TO_OSTREAM
        57,  # TABLE_ALREADY_EXISTS: a run that lost its locks makes the same staging table
        74,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
        75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR
        76,  # CANNOT_OPEN_FILE
        86,  # RECEIVED_ERROR_FROM_REMOTE_IO_SERVER
        159,  # TIMEOUT_EXCEEDED
        164,  # READONLY: the server refuses writes for now
        198,  # DNS_ERROR
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        216,  # QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        473,  # DEADLOCK_AVOIDED
        499,  # S3_ERROR
        999,  # KEEPER_EXCEPTION
        1000,  # POCO_EXCEPTION: sockets, mostly
    }
)
"""Engine error codes behind which the world is wrong, not the data (src/Common/ErrorCodes.cpp)."""

TRANSFER_SETTINGS = {
    # An object store that is away must fail within seconds; the engine's default is hours.
    "s3_retry_attempts": 3,
    "s3_connect_timeout_ms": 2000,
    "s3_request_timeout_ms": 30000,
}


class Warehouse:
    """A connection to the database of the events; safe to share between threads (no session)."""

    def __init__(self, settings: Settings, run_id: str = "") -> None:
        self.settings = settings
        self.run_id = run_id
        self._connection = _Connection(settings)

    def for_run(self, run_id: str) -> "Warehouse":
        """The same database through the same connection, every query marked with ``run_id``."""
        other = copy(self)
        other.run_id = run_id
        return other

    @property
    def client(self) -> Client:
        """The driver's client, connected at first use. Raises StoreError."""
        return self._connection.client

    def select(
        self,
        name: str,
        parameters: Mapping[str, Parameter] | None = None,
        *,
        strings: bool = True,
        **settings: object,
    ) -> pa.Table:
        """Rows of ``sql/<name>.sql`` as an Arrow table; ``parameters`` are bound by the server.

        ``strings``: text arrives as Arrow strings; False leaves it as bytes, which need not be UTF-8.

        Raises:
            TransientError, PermanentError: as ``failure`` sorts them.
        """
        try:
            return self.client.query_arrow(
                statement(name),
                parameters=dict(parameters or {}),
                settings=self._settings(name, settings),
                use_strings=strings,
            )
        except (ClickHouseError, HTTPError, OSError) as error:
            raise failure(error, name) from None

    def execute(
        self, name: str, parameters: Mapping[str, Parameter] | None = None, **settings: object
    ) -> None:
        """Run ``sql/<name>.sql`` for its effect. Raises as ``select`` does."""
        self._command(name, statement(name), parameters, settings)

    def run_built(self, name: str, text: str, **settings: object) -> None:
        """Run a statement that had to be built, for the engine takes no parameters there. Raises as ``select``.

        Whoever builds it quotes every name and path; ``name`` says what it does.
        """
        self._command(name, text, None, settings)

    def fill(
        self,
        table: str,
        create: str,
        name: str,
        parameters: Mapping[str, Parameter],
        *,
        over: str | None = None,
        **settings: object,
    ) -> None:
        """Make ``table`` anew by ``sql/<create>.sql`` and put in what ``sql/<name>.sql`` selects, columns by order.

        ``over``: the statement behind the relation of that name which ``sql/<name>.sql`` reads.
        """
        relation = f"WITH {over} AS (\n{statement(over)}\n)\n" if over else ""
        # In steps: an engine that is killed in a CREATE … AS SELECT keeps the half-made table, under a random
        # name that nobody would ever drop.
        self.execute("drop_table", {"table": table})
        self.execute(create, {"table": table})
        text = f"INSERT INTO {{filled_table:Identifier}}\n{relation}{statement(name)}"
        self._command(name, text, {**parameters, "filled_table": table}, settings)

    def insert(self, table: str, rows: pa.Table) -> None:
        """Append an Arrow table to ``table``. Raises as ``select`` does."""
        if not rows.num_rows:
            return
        try:
            self.client.insert_arrow(table, rows, settings=self._settings(f"insert into {table}", {}))
        except (ClickHouseError, HTTPError, OSError) as error:
            raise failure(error, f"insert into {table}") from None

    def migrate(self) -> None:
        """Create the database and its tables where they are missing; safe to call twice."""
        parameters: dict[str, Parameter] = {"database": self.settings.clickhouse_db}
        self._command("create_database", statement("create_database"), parameters, {}, use_database=False)
        for table in TABLES:
            self.execute(f"create_{table}")

    def missing_tables(self) -> list[str]:
        """Which of ``TABLES`` are not there; all of them if the database is not. Raises as ``select`` does."""
        try:
            found = self.client.raw_query(
                statement("tables_of_database"),
                parameters={"database": self.settings.clickhouse_db},
                settings=self._settings("tables_of_database", {}),
                fmt="TabSeparated",
                use_database=False,
            )
        except (ClickHouseError, HTTPError, OSError) as error:
            raise failure(error, "tables_of_database") from None
        there = set(found.decode().split())
        return [table for table in TABLES if table not in there]

    def close(self) -> None:
        """Close the connection, for all runs that share it; a later query opens it again."""
        self._connection.close()

    def _command(
        self,
        name: str,
        text: str,
        parameters: Mapping[str, Parameter] | None,
        settings: Mapping[str, object],
        *,
        use_database: bool = True,
    ) -> None:
        try:
            self.client.command(
                text,
                parameters=dict(parameters or {}),
                settings=self._settings(name, settings),
                use_database=use_database,
            )
        except (ClickHouseError, HTTPError, OSError) as error:
            raise failure(error, name) from None

    def _settings(self, name: str, settings: Mapping[str, object]) -> dict[str, object]:
        comment = json.dumps({"run_id": self.run_id, "query": name})
        return {"log_comment": comment, **TRANSFER_SETTINGS, **settings}


class _Connection:
    """The driver's client, opened at first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def client(self) -> Client:
        """Opened now, or before. Raises StoreError."""
        settings = self._settings
        try:
            client = clickhouse_connect.get_client(
                host=settings.clickhouse_host,
                port=settings.clickhouse_port,
                username=settings.clickhouse_user,
                password=settings.clickhouse_password.get_secret_value(),
                connect_timeout=5,
                send_receive_timeout=600,
                query_limit=0,
                query_retries=0,
                # Without a session, one client serves several threads at once.
                autogenerate_session_id=False,
                dedicated_pool=True,
            )
        except (ClickHouseError, HTTPError, OSError) as error:
            raise failure(error, "connect") from None
        # Not asked for above: whoever is to create the database must be able to connect too.
        client.database = settings.clickhouse_db
        return client

    def close(self) -> None:
        """A later query opens it again."""
        client = self.__dict__.pop("client", None)
        if client is not None:
            client.close()


def failure(error: Exception, name: str) -> TransientError | PermanentError:
    """The typed error for what the driver raised while ``name`` ran.

    The engine's message can hold values of the rows it worked on, so only the code and its symbol
    are passed on; the whole text is in ``system.query_log`` under the run's ``log_comment``.
    """
    code = error.code if isinstance(error, Error) else None
    symbol = error.name if isinstance(error, Error) else None
    if code is None:
        text = (
            f"ClickHouse did not answer '{name}' ({type(error).__name__}). Check that it is up: wotr status."
        )
        permanent = isinstance(error, Error) and not isinstance(error, OperationalError) and _is_ours(error)
        return PermanentError(text) if permanent else TransientError(text)
    if code == 499 and ("NoSuchKey" in str(error) or "response code: 404" in str(error)):
        return PermanentError(
            f"ClickHouse could not find the object that '{name}' reads. It was landed and is gone: "
            "restore it from the newest verified backup of the bucket."
        )
    text = (
        f"ClickHouse refused '{name}' with code {code} ({symbol}). The whole message is in "
        f"system.query_log: SELECT exception FROM system.query_log WHERE exception_code = {code} "
        "ORDER BY event_time DESC LIMIT 1."
    )
    return TransientError(text) if code in TRANSIENT_CODES else PermanentError(text)


def _is_ours(error: Error) -> bool:
    # The driver raises these for a request that it could not even build; retrying sends the same.
    return type(error).__name__ in {"ProgrammingError", "DataError", "NotSupportedError"}
