"""The register of dead letters: where each one lies, how far its repair has come, and who did what.

The envelopes themselves stay in the object store; payloads are never copied here.
"""

import sqlalchemy as sa
from alembic import op

revision = "ledger_0002"
down_revision = "ledger_0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the register's tables, and mark for each batch up to which generation its letters are in it."""
    op.add_column(
        "ingest_batches",
        sa.Column(
            "letters_generation",
            sa.Integer,
            comment="generation whose dead letters are in the register; another one than `generation`: not yet",
        ),
    )
    op.add_column("ingest_batches", sa.Column("run_id", sa.Text, comment="run that worked on the batch last"))
    op.create_index(
        "ingest_batches_letters",
        "ingest_batches",
        ["topic", "id"],
        postgresql_where=sa.text("state = 'LOADED' AND letters_generation IS DISTINCT FROM generation"),
    )
    _create_dead_letters()
    _create_attempts()
    op.create_table(
        "dead_letter_changes",
        sa.Column(
            "id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="order of changes"
        ),
        sa.Column("letter_id", sa.BigInteger, nullable=False, comment="the dead letter"),
        sa.Column("at", MOMENT, nullable=False, server_default=sa.func.now(), comment="when"),
        sa.Column("who", sa.Text, nullable=False, comment="person or run"),
        sa.Column("from_state", sa.Text, comment="state before; null for a new letter"),
        sa.Column("to_state", sa.Text, nullable=False, comment="state after"),
        sa.Column("why", sa.Text, nullable=False, comment="reason given; never an event's content"),
        sa.ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], ondelete="CASCADE"),
        comment="Every change of a dead letter's state or version: who, when, why",
    )
    op.create_index("dead_letter_changes_letter", "dead_letter_changes", ["letter_id"])
    op.create_table(
        "dead_letter_accesses",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="order of looks"),
        sa.Column("at", MOMENT, nullable=False, server_default=sa.func.now(), comment="when"),
        sa.Column("who", sa.Text, nullable=False, comment="person"),
        sa.Column("what", sa.Text, nullable=False, comment="show or export"),
        sa.Column("why", sa.Text, nullable=False, comment="reason given"),
        sa.Column("letters", sa.BigInteger, nullable=False, comment="how many dead letters"),
        sa.Column("names", sa.ARRAY(sa.Text), nullable=False, comment="their names, the first hundred"),
        comment="Who has seen the unmasked content of dead letters",
    )
    op.create_table(
        "dead_letter_objects",
        sa.Column("key", sa.Text, primary_key=True, comment="object below dead-letters/ that no batch wrote"),
        sa.Column("size", sa.BigInteger, nullable=False, comment="bytes"),
        sa.Column(
            "found_at", MOMENT, nullable=False, server_default=sa.func.now(), comment="when it was listed"
        ),
        sa.Column("registered_at", MOMENT, comment="when its letters were in the register"),
        sa.Column("letters", sa.BigInteger, comment="how many it gave"),
        comment="Objects that others put below dead-letters/",
    )
    op.create_table(
        "dead_letter_cursors",
        sa.Column("topic", sa.Text, primary_key=True, comment="dead-letter topic"),
        sa.Column("partition", sa.Integer, primary_key=True, comment="Kafka partition"),
        sa.Column(
            "next_offset", sa.BigInteger, nullable=False, comment="first offset not in the register yet"
        ),
        comment="How far the dead-letter topic is read",
    )
    op.create_table(
        "dead_letter_switch",
        sa.Column("stopped", sa.Boolean, nullable=False, comment="whether retries are stopped"),
        sa.Column("who", sa.Text, nullable=False, comment="who turned it"),
        sa.Column("why", sa.Text, nullable=False, comment="reason given"),
        sa.Column("at", MOMENT, primary_key=True, server_default=sa.func.clock_timestamp(), comment="when"),
        comment="The kill switch of retries, every turn of it; the newest row counts",
    )


def _create_dead_letters() -> None:
    states = "'NEW', 'RETRYING', 'RESOLVED', 'DISCARDED', 'QUARANTINED'"
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True, comment="number of the row"),
        sa.Column("name", sa.Text, nullable=False, comment="topic:partition:offset, or object key#line"),
        sa.Column("origin", sa.Text, nullable=False, comment="batch, topic or object: who wrote the envelope"),
        sa.Column("batch", sa.Integer, comment="row of ingest_batches that rejected it"),
        sa.Column("generation", sa.Integer, comment="generation of that batch whose object holds the envelope"),
        sa.Column("object_key", sa.Text, nullable=False, comment="object that holds the envelope"),
        sa.Column("line", sa.Integer, nullable=False, comment="its line there, from 0"),
        sa.Column("reason", sa.Text, nullable=False, comment="reason code"),
        sa.Column("field", sa.Text, nullable=False, comment="field that broke the contract; '' the message"),
        sa.Column("message", sa.Text, nullable=False, comment="what is wrong, without content"),
        sa.Column("rules_version", sa.Text, nullable=False, comment="rules that rejected it last"),
        sa.Column("source", sa.Text, nullable=False, comment="service that sent it; '' unreadable"),
        sa.Column("event_type", sa.Text, nullable=False, comment="kind of event; '' unreadable"),
        sa.Column("version", sa.Text, nullable=False, comment="schema version; '' unreadable"),
        sa.Column("event_id", sa.Text, nullable=False, comment="id of the event; '' unreadable"),
        sa.Column("size", sa.BigInteger, nullable=False, comment="bytes of the message"),
        sa.Column("arrived_at", MOMENT, nullable=False, comment="Kafka's timestamp"),
        sa.Column("state", sa.Text, nullable=False, comment=states.replace("'", "")),
        sa.Column("since", MOMENT, nullable=False, server_default=sa.func.now(), comment="in this state since"),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0", comment="retries since last opened"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment="retries ever"),
        sa.Column("fix_version", sa.Integer, nullable=False, server_default="0", comment="0 is the original"),
        sa.Column("fix_key", sa.Text, comment="object that holds the newest fixed version"),
        sa.Column("fix_line", sa.Integer, comment="its line there, from 0"),
        sa.Column("pruned_at", MOMENT, comment="when its content was deleted, long after it was closed"),
        sa.CheckConstraint(f"state IN ({states})", name="dead_letters_state"),
        sa.CheckConstraint("origin IN ('batch', 'topic', 'object')", name="dead_letters_origin"),
        sa.CheckConstraint("num_nulls(batch, generation) = CASE origin WHEN 'batch' THEN 0 ELSE 2 END",
                           name="dead_letters_batch"),
        sa.CheckConstraint("num_nulls(fix_key, fix_line) = CASE fix_version WHEN 0 THEN 2 ELSE 0 END",
                           name="dead_letters_fix"),
        sa.CheckConstraint("0 <= tries AND tries <= attempts AND fix_version >= 0", name="dead_letters_counters"),
        comment="One row a rejected event: where its envelope lies, and how far its repair has come",
    )  # fmt: skip
    op.create_index("dead_letters_name", "dead_letters", ["name"], unique=True)
    op.create_index("dead_letters_batch_row", "dead_letters", ["batch"])
    op.create_index("dead_letters_event_id", "dead_letters", ["event_id"])
    op.create_index(
        "dead_letters_open",
        "dead_letters",
        ["state", "reason", "source"],
        postgresql_where=sa.text("state IN ('NEW', 'RETRYING', 'QUARANTINED')"),
    )
    op.create_index("dead_letters_arrived", "dead_letters", ["arrived_at"])


def _create_attempts() -> None:
    op.create_table(
        "dead_letter_attempts",
        sa.Column("letter_id", sa.BigInteger, primary_key=True, comment="the dead letter"),
        sa.Column("attempt", sa.Integer, primary_key=True, comment="number of the retry, from 1"),
        sa.Column("fix_version", sa.Integer, nullable=False, comment="version that is sent"),
        sa.Column("who", sa.Text, nullable=False, comment="who asked for it"),
        sa.Column(
            "begun_at", MOMENT, nullable=False, server_default=sa.func.now(), comment="when it was noted"
        ),
        sa.Column("topic", sa.Text, comment="topic it was sent to; null: not acknowledged, or not noted"),
        sa.Column("partition", sa.Integer, comment="Kafka partition it lies in"),
        sa.Column("offset", sa.BigInteger, comment="Kafka offset it lies at"),
        sa.Column("outcome", sa.Text, comment="passed or rejected; null: no verdict yet"),
        sa.Column("outcome_at", MOMENT, comment="when the verdict was seen"),
        sa.ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], ondelete="CASCADE"),
        sa.CheckConstraint("outcome IN ('passed', 'rejected')", name="dead_letter_attempts_outcome"),
        sa.CheckConstraint(
            'num_nulls(topic, partition, "offset") IN (0, 3)', name="dead_letter_attempts_place"
        ),
        sa.CheckConstraint("num_nulls(outcome, outcome_at) IN (0, 2)", name="dead_letter_attempts_verdict"),
        comment="Every retry of a dead letter: noted before it is sent",
    )
    op.create_index("dead_letter_attempts_place", "dead_letter_attempts", ["topic", "partition", "offset"])
    op.create_index(
        "dead_letter_attempts_waiting",
        "dead_letter_attempts",
        ["letter_id"],
        postgresql_where=sa.text("outcome IS NULL"),
    )


def downgrade() -> None:
    """There is no way back: the register is the only record of what was done to a dead letter."""
    raise NotImplementedError("the register is never dropped by a migration; restore a backup instead")
