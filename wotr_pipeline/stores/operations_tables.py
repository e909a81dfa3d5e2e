"""The tables of backups, reports and notices in POSTGRES_DB as SQLAlchemy sees them.

Belongs here: table descriptions (migrations ``ledger_0004`` and ``ledger_0006`` create them; a test holds the two
together). Does not belong here: what is done with them (one module each).
"""

import sqlalchemy as sa

from .ledger_database import metadata

_moment = sa.DateTime(timezone=True)
_now = sa.func.now()

backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("store", sa.Text, nullable=False),
    sa.Column("taken_at", _moment, nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("verified_at", _moment),
    sa.Column("restore_seconds", sa.Double),
    sa.Column("backup_id", sa.Text, nullable=False),
    sa.Column("base_id", sa.Text),
    sa.Column("problem", sa.Text),
)
storage_sizes = sa.Table(
    "storage_sizes",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("store", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("items", sa.BigInteger, nullable=False),
)
notices = sa.Table(
    "notices",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("begun_at", _moment, nullable=False, server_default=_now),
    sa.Column("sent_at", _moment),
)
