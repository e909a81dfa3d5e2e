"""The history of the ledger's schema, run by ``ledger.migrate``.

Belongs here: Alembic's environment and one revision a change, in plain DDL that no later code alters.
Does not belong here: the table as today's code sees it (``ledger_database.py``).
"""
