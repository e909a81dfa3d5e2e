"""Backups that have been restored.

Belongs here: what a backup is (``manifest``), where it lies (``repository``), how it is sealed (``cipher``), how each
store's is taken and brought back (``minio``, ``postgres``, ``clickhouse``), the drill that makes one count
(``drill``), the order of it all under a lease (``taking``), and what is kept (``retention``).
Does not belong here: Dagster (``assets/backups.py``, ``operations/restore/``), drivers (``stores/``).

A backup is its signed manifest, written last: what has none is a leftover that the next run clears away. It counts
only once a drill has restored it into a scratch place and found there what the manifest says.
"""
