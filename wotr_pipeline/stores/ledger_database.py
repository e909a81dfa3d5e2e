"""The ledger's database: how it is reached, its table, its locks, its migrations, its errors.

Belongs here: connections to POSTGRES_DB with their timeouts, the table as SQLAlchemy sees it (the
migrations create it; a test holds the two together), the numbers of the advisory locks, and the
translation of PostgreSQL's errors into the project's two kinds.
Does not belong here: what the rows mean (``ledger.py``) or who may write them (``ledger_writer.py``).

Locks are PostgreSQL advisory locks of the database, ``(class, number)``. A batch's number is its row's
``id``: unlike a hash of its name it cannot collide and survives a split. Session locks live as long as
their connection, so a pooler in transaction mode must not stand between the pipeline and PostgreSQL.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from enum import IntEnum
from importlib.resources import files
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE
from sqlalchemy.pool import NullPool

from ..config import Settings
from .batch import Batch, BatchState
from .errors import PermanentError, StoreError, TransientError

STATEMENT_TIMEOUT_SECONDS = 30
LOCK_TIMEOUT_SECONDS = 10
MIGRATION_LOCK_TIMEOUT_SECONDS = 60
VERSION_TABLE = "ledger_alembic_version"
"""Not Alembic's default name: Dagster may keep its storage in the same database."""


class LockClass(IntEnum):
    """First key of the project's advisory locks; the numbers are arbitrary, and fixed for ever."""

    MIGRATE = 0x574F5401
    PLAN = 0x574F5402
    BATCH = 0x574F5403
    LOAD = 0x574F5404
    HOUR = 0x574F5405
    LETTERS = 0x574F5406
    SCHEMAS = 0x574F5407
    LEASE = 0x574F5408


_moment = sa.DateTime(timezone=True)
metadata = sa.MetaData()
batches = sa.Table(
    "ingest_batches",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("batch_id", sa.Text, sa.FetchedValue(), nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("first_offset", sa.BigInteger, nullable=False),
    sa.Column("last_offset", sa.BigInteger, nullable=False),
    sa.Column("hour", _moment, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False, server_default="1"),
    sa.Column("records", sa.BigInteger),
    sa.Column("valid", sa.BigInteger),
    sa.Column("rejected", sa.BigInteger),
    sa.Column("duplicate", sa.BigInteger),
    sa.Column("duplicate_offsets", INT8MULTIRANGE),
    sa.Column("raw_key", sa.Text),
    sa.Column("raw_sha256", sa.Text),
    sa.Column("raw_bytes", sa.BigInteger),
    sa.Column("validated_key", sa.Text),
    sa.Column("dead_letters_key", sa.Text),
    sa.Column("rules_version", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_error", sa.Text),
    sa.Column("reopen_reason", sa.Text),
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_at", _moment),
    sa.Column("planned_at", _moment, nullable=False, server_default=sa.func.now()),
    sa.Column("landed_at", _moment),
    sa.Column("validated_at", _moment),
    sa.Column("loaded_at", _moment),
    sa.Column("not_before", _moment),
    sa.Column("letters_generation", sa.Integer),
    sa.Column("run_id", sa.Text),
)
COLUMNS = [batches.c[field.name] for field in fields(Batch)]
"""The columns that make a ``Batch``."""


def batch_of(row: sa.Row[Any]) -> Batch:
    """The ``Batch`` of a row of ``COLUMNS``."""
    return Batch(**{**row._mapping, "state": BatchState(row.state)})


def connect(settings: Settings, application_name: str, *, dedicated: bool = False) -> sa.Engine:
    """An engine on POSTGRES_DB; nothing is opened yet. ``dedicated``: one connection, never a pool.

    Both ends probe a silent connection, so that the locks of a machine that vanished are free
    within about half a minute.
    """
    session = {
        "timezone": "UTC",
        "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
        "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
        "idle_in_transaction_session_timeout": "60s",
        "idle_session_timeout": "0",
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    url = sa.URL.create(
        "postgresql+psycopg2",
        username=settings.postgres_user,
        password=settings.postgres_password.get_secret_value() or None,
        host=settings.postgres_host,
        port=settings.postgres_port,
        database=settings.postgres_db,
    )
    pool: dict[str, Any] = (
        {"poolclass": NullPool}
        if dedicated
        else {"pool_size": 2, "max_overflow": 6, "pool_timeout": 10, "pool_pre_ping": True}
    )
    return sa.create_engine(
        url,
        connect_args={
            "application_name": application_name[:63],
            "connect_timeout": 5,
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        },
        hide_parameters=True,
        **pool,
    )


_WHAT_TO_DO = {
    "42P01": "The migrations are not applied: `wotr up` does that.",  # undefined table
    "42703": "The migrations of this version are not applied: `wotr up` does that.",  # undefined column
    "42501": "Grant the role what it needs: it owns the ledger's database.",  # insufficient privilege
}
_UNUSABLE = ("password authentication failed", "does not exist", "no pg_hba.conf entry")


def store_error(error: exc.SQLAlchemyError, doing: str) -> StoreError:
    """The project's error for one of the database's, without values: those may be anything."""
    if not isinstance(error, exc.DBAPIError):
        kind = TransientError if isinstance(error, exc.TimeoutError) else PermanentError
        return kind(f"The ledger could not {doing}: {type(error).__name__}.")
    diagnosis = getattr(error.orig, "diag", None)
    text = getattr(diagnosis, "message_primary", None) or str(error.orig).strip().partition("\n")[0]
    constraint = getattr(diagnosis, "constraint_name", None)
    text = f"{text} (constraint {constraint})" if constraint else text
    what = f"The ledger could not {doing}: PostgreSQL says: {text}."
    if isinstance(error, exc.IntegrityError | exc.DataError):
        return PermanentError(f"{what} Nothing was changed.")
    if isinstance(error, exc.ProgrammingError):
        return PermanentError(f"{what} {_WHAT_TO_DO.get(str(getattr(error.orig, 'pgcode', '')), '')}".strip())
    if any(sign in text for sign in _UNUSABLE):
        return PermanentError(f"{what} Check the POSTGRES_* variables.")
    return TransientError(what)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise the project's errors instead of the driver's; ``doing`` completes "could not …"."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise store_error(error, doing) from error


def migrate(settings: Settings) -> None:
    """Bring POSTGRES_DB to the newest schema. Two processes at once: the second waits for the first.

    Raises:
        TransientError: PostgreSQL cannot be reached, or another migration takes longer than a minute.
        PermanentError: the database is missing, or the role may not create tables or btree_gist in it.
    """
    from alembic import command
    from alembic.util import CommandError

    engine = connect(settings, "wotr migrate", dedicated=True)
    with translated(f"migrate the database {settings.postgres_db}"), engine.begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT_SECONDS}s'"))
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LockClass.MIGRATE, 0)))
        config = alembic_config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise PermanentError(
                f"The ledger's schema in {settings.postgres_db} cannot be migrated: {error}. "
                "A newer version of wotr_pipeline may have been here: install that one."
            ) from error


def alembic_config() -> Any:
    """Alembic's configuration for the packaged migrations (an ``alembic.config.Config``), without a file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files(__package__) / "migrations").replace("%", "%%"))
    return config
