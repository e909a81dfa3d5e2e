"""Alembic's environment: on the connection that ``ledger_database.migrate`` gives, or as SQL text.

Belongs here: how a revision is run. Does not belong here: addresses, credentials, locks (the caller's).
"""

from alembic import context

from wotr_pipeline.stores.ledger_database import VERSION_TABLE, metadata

if context.is_offline_mode():
    # `upgrade(…, sql=True)`: the text for an administrator who grants no DDL to the pipeline's role.
    context.configure(dialect_name="postgresql", literal_binds=True, version_table=VERSION_TABLE)
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
    )
with context.begin_transaction():
    context.run_migrations()
