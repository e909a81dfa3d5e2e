"""Which records a load left out as duplicates, so that a recovery leaves out the same.

How many they are was known before; rows that were loaded then, and had duplicates, stay unknown (NULL).
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "ledger_0004"
down_revision = "ledger_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a batch without duplicates is known to have left out nothing."""
    op.add_column(
        "ingest_batches",
        sa.Column(
            "duplicate_offsets",
            postgresql.INT8MULTIRANGE,
            comment="offsets that the last load left out as duplicates; NULL: not known",
        ),
    )
    op.execute("UPDATE ingest_batches SET duplicate_offsets = '{}' WHERE duplicate = 0")


def downgrade() -> None:
    """There is no way back, as in ``ledger_0001``."""
    raise NotImplementedError("the ledger is never dropped by a migration; restore a backup instead")
