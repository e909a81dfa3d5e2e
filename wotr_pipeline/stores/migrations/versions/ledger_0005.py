"""The schema registry: versions of each subject, and how compatible they must be.

A registered version is for ever: records carry its id. The constraints hold each id to one schema.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ledger_0005"
down_revision = "ledger_0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
NOW = sa.func.now()
LEVELS = (
    "'NONE', 'BACKWARD', 'BACKWARD_TRANSITIVE', 'FORWARD', 'FORWARD_TRANSITIVE', 'FULL', 'FULL_TRANSITIVE'"
)


def upgrade() -> None:
    """Create the registry's two tables."""
    op.create_table(
        "schema_versions",
        sa.Column("subject", sa.Text, primary_key=True, comment="what it is for: <topic>-value"),
        sa.Column(
            "version",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="1, 2, 3 … within its subject",
        ),
        sa.Column(
            "schema_id",
            sa.Integer,
            nullable=False,
            comment="number that records carry; the same schema has the same one in every subject",
        ),
        sa.Column("digest", sa.Text, nullable=False, comment="SHA-256 of the schema with sorted attributes"),
        sa.Column("definition", sa.Text, nullable=False, comment="the Avro schema: compact JSON"),
        sa.Column("registered_at", MOMENT, nullable=False, server_default=NOW, comment="when"),
        sa.UniqueConstraint("subject", "digest", name="schema_versions_once"),
        sa.CheckConstraint("version >= 1 AND schema_id >= 1", name="schema_versions_numbers"),
        sa.CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="schema_versions_digest"),
        postgresql.ExcludeConstraint(
            (sa.column("schema_id"), "="),
            (sa.column("digest"), "<>"),
            name="schema_versions_one_schema_an_id",
            using="gist",
        ),
        postgresql.ExcludeConstraint(
            (sa.column("digest"), "="),
            (sa.column("schema_id"), "<>"),
            name="schema_versions_one_id_a_schema",
            using="gist",
        ),
        comment="Registered Avro schemas: one row a version of a subject",
    )
    op.create_table(
        "schema_compatibility",
        sa.Column(
            "subject", sa.Text, primary_key=True, comment="subject; '' is all without one of their own"
        ),
        sa.Column("level", sa.Text, nullable=False, comment="what a new version must be able to do"),
        sa.Column("changed_at", MOMENT, nullable=False, server_default=NOW, comment="when it was set"),
        sa.CheckConstraint(f"level IN ({LEVELS})", name="schema_compatibility_level"),
        comment="Compatibility that the registry demands; BACKWARD where nothing is said",
    )


def downgrade() -> None:
    """There is no way back, as in ``ledger_0001``."""
    raise NotImplementedError("the ledger is never dropped by a migration; restore a backup instead")
