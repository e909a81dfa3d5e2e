"""The ledger of batches, and the gateway's register of ids.

The constraints repeat what ``ledger.py`` promises, so that no hand-written UPDATE can break it:
ranges of a partition never overlap, a state has all that its steps have found out, counts add up.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "ledger_0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create ``ingest_batches`` and, unless the platform has it already, ``ingest_meta``."""
    # Trusted since PostgreSQL 13: the owner of the database may create it.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "ingest_batches",
        sa.Column(
            "id",
            sa.Integer,
            sa.Identity(always=True),
            primary_key=True,
            comment="number of the row; key of the batch's advisory lock",
        ),
        sa.Column(
            "batch_id",
            sa.Text,
            sa.Computed(
                "topic || ':' || partition::text || ':' || first_offset::text || '-' || last_offset::text",
                persisted=True,
            ),
            nullable=False,
            comment="name of the batch: topic:partition:first-last",
        ),
        sa.Column("topic", sa.Text, nullable=False, comment="Kafka topic"),
        sa.Column("partition", sa.Integer, nullable=False, comment="Kafka partition"),
        sa.Column("first_offset", sa.BigInteger, nullable=False, comment="first Kafka offset, included"),
        sa.Column("last_offset", sa.BigInteger, nullable=False, comment="last Kafka offset, included"),
        sa.Column("hour", MOMENT, nullable=False, comment="hour of arrival: the partition in Dagster"),
        sa.Column(
            "state", sa.Text, nullable=False, comment="PLANNED, LANDED, VALIDATED, LOADED or QUARANTINED"
        ),
        sa.Column(
            "generation",
            sa.Integer,
            nullable=False,
            server_default="1",
            comment="how often the batch was opened; reopening adds 1",
        ),
        sa.Column("records", sa.BigInteger, comment="records in the raw object = valid + rejected"),
        sa.Column("valid", sa.BigInteger, comment="records that the rules accept"),
        sa.Column("rejected", sa.BigInteger, comment="records that the rules reject: dead letters"),
        sa.Column("duplicate", sa.BigInteger, comment="valid records whose id was there before: not loaded"),
        sa.Column("raw_key", sa.Text, comment="object that holds the bytes as received"),
        sa.Column("raw_sha256", sa.Text, comment="SHA-256 of that object, in hex"),
        sa.Column("raw_bytes", sa.BigInteger, comment="size of that object in bytes"),
        sa.Column("validated_key", sa.Text, comment="object that holds the valid events' typed columns"),
        sa.Column("dead_letters_key", sa.Text, comment="object that holds the rejected records with reasons"),
        sa.Column("rules_version", sa.Text, comment="version of the rules that judged"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment="claims by runs, ever"),
        sa.Column(
            "crashes",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="attempts since the last progress that ended without a word",
        ),
        sa.Column(
            "failures",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="transient failures since the last progress; sets the back-off",
        ),
        sa.Column("last_error", sa.Text, comment="why the last attempt failed; never an event's content"),
        sa.Column("reopen_reason", sa.Text, comment="why the batch was reopened last"),
        sa.Column("claimed_by", sa.Text, comment="run whose attempt has not ended (it may be dead)"),
        sa.Column("claimed_at", MOMENT, comment="when that attempt began"),
        sa.Column("planned_at", MOMENT, nullable=False, server_default=sa.func.now(), comment="when planned"),
        sa.Column("landed_at", MOMENT, comment="when the raw object was there"),
        sa.Column("validated_at", MOMENT, comment="when the verdicts were there"),
        sa.Column("loaded_at", MOMENT, comment="when the rows were there"),
        sa.Column("not_before", MOMENT, comment="back-off: no sensor asks for a run before"),
        *_promises(),
        comment="Plan and truth of the pipeline: one contiguous range of Kafka offsets a row",
    )
    op.create_index("ingest_batches_batch_id", "ingest_batches", ["batch_id"], unique=True)
    op.create_index(
        "ingest_batches_chain", "ingest_batches", ["topic", "partition", "first_offset"], unique=True
    )
    op.create_index("ingest_batches_hour", "ingest_batches", ["hour", "topic"])
    op.create_index(
        "ingest_batches_unfinished",
        "ingest_batches",
        ["topic", "hour"],
        postgresql_where=sa.text("state IN ('PLANNED', 'LANDED', 'VALIDATED')"),
    )
    if context.is_offline_mode() or not sa.inspect(op.get_bind()).has_table("ingest_meta"):
        _create_ingest_meta()


def _create_ingest_meta() -> None:
    op.create_table(
        "ingest_meta",
        sa.Column("id", sa.Text, primary_key=True, comment="id of an event that the gateway has published"),
        sa.Column("object_key", sa.Text, comment="object that holds it, once known"),
        sa.Column("created_at", MOMENT, nullable=False, server_default=sa.func.now(), comment="when it came"),
        sa.Column("payload_size", sa.BigInteger, nullable=False, comment="bytes of its payload"),
        comment="Ids that the gateway has seen: a repeated one is answered from here",
    )


def _promises() -> list[sa.schema.SchemaItem]:
    checks = {
        "range": "0 <= first_offset AND first_offset <= last_offset AND partition >= 0",
        "full_hour": "mod(extract(epoch FROM hour), 3600) = 0",
        "state": "state IN ('PLANNED', 'LANDED', 'VALIDATED', 'LOADED', 'QUARANTINED')",
        "counters": "generation >= 1 AND attempts >= 0 AND crashes >= 0 AND failures >= 0",
        "counts": "records BETWEEN 0 AND last_offset - first_offset + 1 AND raw_bytes >= 0",
        "raw_object": "num_nulls(raw_key, raw_sha256, raw_bytes, records, landed_at) IN (0, 5)",
        "sha256": "raw_sha256 ~ '^[0-9a-f]{64}$'",
        "landed": "state NOT IN ('LANDED', 'VALIDATED', 'LOADED') OR raw_key IS NOT NULL",
        "planned": "state <> 'PLANNED' OR raw_key IS NULL",
        "verdict": "num_nulls(valid, rejected, rules_version, validated_at) IN (0, 4)",
        "validated": "state NOT IN ('VALIDATED', 'LOADED') OR valid IS NOT NULL",
        "unjudged": "state NOT IN ('PLANNED', 'LANDED') OR valid IS NULL",
        "sum": "valid IS NULL OR (valid >= 0 AND rejected >= 0 AND coalesce(records = valid + rejected, false))",
        "duplicate": "duplicate IS NULL OR coalesce(duplicate BETWEEN 0 AND valid, false)",
        "loaded": "num_nonnulls(duplicate, loaded_at) = CASE state WHEN 'LOADED' THEN 2 ELSE 0 END",
        "quarantined": "state <> 'QUARANTINED' OR last_error IS NOT NULL",
        "error_length": "char_length(last_error) <= 2000",
    }
    return [
        *(sa.CheckConstraint(rule, name=f"ingest_batches_{name}") for name, rule in checks.items()),
        sa.dialects.postgresql.ExcludeConstraint(
            (sa.column("topic"), "="),
            (sa.column("partition"), "="),
            (sa.text("int8range(first_offset, last_offset, '[]')"), "&&"),
            name="ingest_batches_no_overlap",
            using="gist",
        ),
    ]


def downgrade() -> None:
    """There is no way back: the ledger is the only record of what was loaded."""
    raise NotImplementedError("the ledger is never dropped by a migration; restore a backup instead")
