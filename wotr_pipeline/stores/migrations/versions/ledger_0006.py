"""What backups, reports and notices keep: a backup's name and chain, sizes by day, which notice was sent."""

import sqlalchemy as sa
from alembic import op

revision = "ledger_0006"
down_revision = "ledger_0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
NOW = sa.func.now()


def upgrade() -> None:
    """Name the backups and create ``storage_sizes`` and ``notices``."""
    for column in (
        sa.Column("backup_id", sa.Text, comment="its name, as in the manifest"),
        sa.Column("base_id", sa.Text, comment="backup that it builds upon; null: it stands alone"),
        sa.Column("problem", sa.Text, comment="what its last restore drill found; null: nothing"),
    ):
        op.add_column("backups", column)
    op.execute("UPDATE backups SET backup_id = location WHERE backup_id IS NULL")
    op.alter_column("backups", "backup_id", nullable=False)
    op.create_unique_constraint("backups_backup_id", "backups", ["backup_id"])
    op.create_table(
        "storage_sizes",
        sa.Column("day", sa.Date, primary_key=True, comment="day at whose end it was measured, UTC"),
        sa.Column("store", sa.Text, primary_key=True, comment="minio, postgres, clickhouse or disk"),
        sa.Column("name", sa.Text, primary_key=True, comment="prefix, table, or data directory"),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="on disk"),
        sa.Column("items", sa.BigInteger, nullable=False, comment="objects or rows"),
        comment="How large each part of the stores was, a row a day: growth and forecast are read from it",
    )
    op.create_table(
        "notices",
        sa.Column("key", sa.Text, primary_key=True, comment="what it is about: the same key is sent once"),
        sa.Column("channel", sa.Text, nullable=False, comment="where to"),
        sa.Column("begun_at", MOMENT, nullable=False, server_default=NOW, comment="when it was begun"),
        sa.Column("sent_at", MOMENT, comment="when Slack took it; null: not yet"),
        comment="Notices to people: written before they are sent, so that none is sent twice",
    )


def downgrade() -> None:
    """There is no way back, as in ``ledger_0001``."""
    raise NotImplementedError("the ledger is never dropped by a migration; restore a backup instead")
