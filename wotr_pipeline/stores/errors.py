"""The two kinds of failure of an outside system.

Belongs here: the error types that stores raise and that runs, the ledger and Dagster's retry act on.
Does not belong here: errors of settings (``config.py``) or verdicts on events (``events/``).
"""


class StoreError(Exception):
    """A store could not do what was asked. The text says what, where, and what to do; no secrets."""


class TransientError(StoreError):
    """The world is wrong: a server is away, slow or overloaded. Trying again later may succeed."""


class PermanentError(StoreError):
    """The data or the configuration is wrong. Trying again changes nothing; someone has to act."""
