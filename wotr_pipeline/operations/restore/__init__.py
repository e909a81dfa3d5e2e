"""Restoring what was backed up: one store, or the whole platform from nothing.

Belongs here: the command ``wotr restore``, the jobs ``restore_…`` and ``drill_backups``, who may replace what is live,
and the reconciliation of the three stores with Kafka afterwards.
Does not belong here: how a store's backup is brought back (``backups/``), taking backups (``assets/backups.py``).
"""
