"""Processes of their own that tests start and kill: real ones, forked from one that has imported everything.

A new interpreter takes two seconds of a processor for its imports, a fork some milliseconds. The process that is
forked from does nothing but importing: it has no thread, no connection and no client that a child could share.

Belongs here: starting such a process and learning how it ended. Does not belong here: killing (``killed.py``).
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Self

from wotr_pipeline.config import Settings

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["wotr_pipeline_tests.forking"])
SECONDS = 120.0


class Forked:
    """``work(settings, *arguments)`` in a process of its own, with the environment of these settings.

    ``work`` is a function of a module. Use with ``with``: at the end of the block the process is gone.
    """

    def __init__(self, work: Callable[..., object], settings: Settings, *arguments: Any) -> None:
        self._complaint, complaining = FORKING.Pipe(duplex=False)
        self.process = FORKING.Process(target=_run, args=(complaining, work, settings, arguments))
        self.process.start()
        complaining.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()
        self._complaint.close()

    def ended(self) -> tuple[int | None, str]:
        """Wait for its end: the exit code, or minus a signal's number, and the exception that ended it."""
        complaint = ""
        if self._complaint.poll(SECONDS):
            with suppress(EOFError):
                complaint = self._complaint.recv()
        self.process.join(SECONDS)
        return self.process.exitcode, complaint


def _run(
    complaining: Connection, work: Callable[..., object], settings: Settings, arguments: tuple[Any, ...]
) -> None:
    from wotr_pipeline_tests.conftest import environment_of

    os.environ.update(environment_of(settings))
    try:
        work(settings, *arguments)
    except BaseException:
        complaining.send(traceback.format_exc())
        raise
