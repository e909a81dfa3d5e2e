"""The gateway's tables in POSTGRES_DB as SQLAlchemy sees them.

Belongs here: table descriptions (migration ``ledger_0004`` creates them; a test holds the two together).
Does not belong here: what is done with them (one module each), ``ingest_meta``'s hot path (``seen_ids.py``).
"""

import sqlalchemy as sa

from .ledger_database import metadata

_moment = sa.DateTime(timezone=True)
_now = sa.func.now()

ingest_meta = sa.Table(
    "ingest_meta",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("object_key", sa.Text),
    sa.Column("created_at", _moment, nullable=False, server_default=_now),
    sa.Column("payload_size", sa.BigInteger, nullable=False),
    sa.Column("topic", sa.Text),
    sa.Column("partition", sa.Integer),
    sa.Column("offset", sa.BigInteger),
    sa.Column("content_hash", sa.BigInteger),
)
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False),
    sa.Column("events_per_minute", sa.Integer),
    sa.Column("created_at", _moment, nullable=False, server_default=_now),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", _moment),
    sa.Column("revoked_at", _moment),
    sa.Column("replaces", sa.Text),
    sa.Column("used_at", _moment),
)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("began_at", _moment, nullable=False, server_default=_now),
    sa.Column("expires_at", _moment, nullable=False),
    sa.Column("ended_at", _moment),
)
operator_actions = sa.Table(
    "operator_actions",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", _moment, nullable=False, server_default=_now),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False, server_default=""),
    sa.Column("why", sa.Text, nullable=False, server_default=""),
    sa.Column("request_id", sa.Text),
)
saved_queries = sa.Table(
    "saved_queries",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("statement", sa.Text, nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("saved_at", _moment, nullable=False, server_default=_now),
)
query_history = sa.Table(
    "query_history",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", _moment, nullable=False, server_default=_now),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("statement", sa.Text, nullable=False),
    sa.Column("seconds", sa.Double),
    sa.Column("rows", sa.BigInteger),
    sa.Column("error", sa.Text),
)
maintenance_modes = sa.Table(
    "maintenance_modes",
    metadata,
    sa.Column("at", _moment, primary_key=True, server_default=sa.func.clock_timestamp()),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("until", _moment),
)
