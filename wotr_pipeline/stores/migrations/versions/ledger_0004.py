"""What the gateway and its pages keep: where an accepted event lies, keys, sessions, actions, queries, modes.

Also ``backups``, which the pages and the metrics read: a backup counts from its ``verified_at`` on.
"""

import sqlalchemy as sa
from alembic import op

revision = "ledger_0004"
down_revision = "ledger_0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
NOW = sa.func.now()


def upgrade() -> None:
    """Add the position to ``ingest_meta`` and create the gateway's own tables."""
    for column in (
        sa.Column("topic", sa.Text, comment="Kafka topic that acknowledged it"),
        sa.Column("partition", sa.Integer, comment="Kafka partition it lies in"),
        sa.Column("offset", sa.BigInteger, comment="Kafka offset it lies at"),
        sa.Column(
            "content_hash", sa.BigInteger, comment="of the bytes as they came: tells a repeat from a reuse"
        ),
    ):
        op.add_column("ingest_meta", column)
    op.create_index("ingest_meta_position", "ingest_meta", ["topic", "partition", "offset"])
    _create_access()
    _create_queries()
    op.create_table(
        "maintenance_modes",
        sa.Column("at", MOMENT, primary_key=True, server_default=sa.func.clock_timestamp(), comment="when"),
        sa.Column("enabled", sa.Boolean, nullable=False, comment="whether maintenance begins (or ends)"),
        sa.Column("who", sa.Text, nullable=False, comment="person or run"),
        sa.Column("why", sa.Text, nullable=False, comment="reason given"),
        sa.Column("until", MOMENT, comment="when it is expected to end"),
        comment="Maintenance mode, every turn of it; the newest row counts",
    )
    op.create_table(
        "backups",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="order of entry"),
        sa.Column("store", sa.Text, nullable=False, comment="minio, postgres or clickhouse"),
        sa.Column("taken_at", MOMENT, nullable=False, comment="moment whose state it holds"),
        sa.Column("location", sa.Text, nullable=False, comment="where it lies"),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="its size"),
        sa.Column("verified_at", MOMENT, comment="when it was last restored and compared; null: never"),
        sa.Column("restore_seconds", sa.Double, comment="how long that restore took (RTO)"),
        sa.CheckConstraint("store IN ('minio', 'postgres', 'clickhouse')", name="backups_store"),
        comment="Backups and their restore drills: one counts only once it is verified",
    )
    op.create_index("backups_newest", "backups", ["store", "taken_at"])


def _create_access() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True, comment="public part of the key"),
        sa.Column("name", sa.Text, nullable=False, comment="who it was given to"),
        sa.Column("digest", sa.Text, nullable=False, comment="SHA-256 of the whole key; the key is nowhere"),
        sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False, comment="ingest, read, operate, admin"),
        sa.Column("events_per_minute", sa.Integer, comment="its rate limit; null: the platform's"),
        sa.Column("created_at", MOMENT, nullable=False, server_default=NOW, comment="when"),
        sa.Column("created_by", sa.Text, nullable=False, comment="who made it"),
        sa.Column("expires_at", MOMENT, comment="from when on it is refused; null: never"),
        sa.Column("revoked_at", MOMENT, comment="when it was revoked"),
        sa.Column("replaces", sa.Text, comment="key that it was rotated from"),
        sa.Column("used_at", MOMENT, comment="last use, to the minute"),
        sa.CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="api_keys_digest"),
        sa.CheckConstraint("scopes <@ ARRAY['ingest', 'read', 'operate', 'admin'] AND scopes <> '{}'",
                           name="api_keys_scopes"),
        sa.CheckConstraint("events_per_minute > 0", name="api_keys_rate"),
        comment="Keys of the gateway",
    )  # fmt: skip
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text, primary_key=True, comment="SHA-256 of the session's token"),
        sa.Column("key_id", sa.Text, nullable=False, comment="key that signed in"),
        sa.Column("began_at", MOMENT, nullable=False, server_default=NOW, comment="when"),
        sa.Column("expires_at", MOMENT, nullable=False, comment="when it ends by itself"),
        sa.Column("ended_at", MOMENT, comment="when it was signed out"),
        comment="Signed-in people of the pages",
    )
    op.create_table(
        "operator_actions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="order"),
        sa.Column("at", MOMENT, nullable=False, server_default=NOW, comment="when"),
        sa.Column("who", sa.Text, nullable=False, comment="name of the key, or user of the command"),
        sa.Column("key_id", sa.Text, comment="its public part; null: not through the gateway"),
        sa.Column("action", sa.Text, nullable=False, comment="what was done"),
        sa.Column("target", sa.Text, nullable=False, server_default="", comment="to what; never a secret"),
        sa.Column("why", sa.Text, nullable=False, server_default="", comment="reason given"),
        sa.Column("request_id", sa.Text, comment="request that did it, as in the logs"),
        comment="What operators did: written before it is done",
    )
    op.create_index("operator_actions_at", "operator_actions", ["at"])


def _create_queries() -> None:
    op.create_table(
        "saved_queries",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="number"),
        sa.Column("key_id", sa.Text, nullable=False, comment="key of who saved it"),
        sa.Column("who", sa.Text, nullable=False, comment="its name"),
        sa.Column("title", sa.Text, nullable=False, comment="as shown"),
        sa.Column("statement", sa.Text, nullable=False, comment="SQL"),
        sa.Column(
            "shared", sa.Boolean, nullable=False, server_default=sa.false(), comment="seen by everyone"
        ),
        sa.Column("saved_at", MOMENT, nullable=False, server_default=NOW, comment="when"),
        sa.UniqueConstraint("key_id", "title", name="saved_queries_title"),
        comment="Queries that people of the explorer keep",
    )
    op.create_table(
        "query_history",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="order"),
        sa.Column("at", MOMENT, nullable=False, server_default=NOW, comment="when"),
        sa.Column("key_id", sa.Text, nullable=False, comment="key of who asked"),
        sa.Column("who", sa.Text, nullable=False, comment="its name"),
        sa.Column("statement", sa.Text, nullable=False, comment="SQL"),
        sa.Column("seconds", sa.Double, comment="how long it took; null: it did not end"),
        sa.Column("rows", sa.BigInteger, comment="rows shown or exported; null: it failed"),
        sa.Column("error", sa.Text, comment="the engine's code and symbol; null: it worked"),
        comment="Queries that were run in the explorer",
    )
    op.create_index("query_history_key", "query_history", ["key_id", "id"])


def downgrade() -> None:
    """There is no way back, as in ``ledger_0001``."""
    raise NotImplementedError("the ledger is never dropped by a migration; restore a backup instead")
