"""What ``wotr up`` starts and supervises: real servers out of pip packages, all state below one data directory.

Belongs here: how each server is prepared, started, probed and stopped; its ports, its secrets, its log.
Does not belong here: anything about events, the ledger's or the warehouse's tables, or clients that
the pipeline uses. This package imports nothing of the project's but ``config.py``.

`lifecycle.py` is the way in: ``up``, ``down`` and ``status``.
"""
