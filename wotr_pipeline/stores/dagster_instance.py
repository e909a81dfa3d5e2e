"""Dagster's own storage, for monitors: runs by status and the heartbeats of its daemons.

Belongs here: reading through ``DagsterInstance``, Dagster's public door. Does not belong here: starting runs
(``dagster_runs.py``). Dagster is imported at the first question, in the thread that asks: it takes a second.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import TransientError

if TYPE_CHECKING:
    from dagster import DagsterInstance


@dataclass(frozen=True)
class DagsterState:
    """How Dagster does."""

    runs: Mapping[str, int]
    """By status, in lower case; every status is there."""
    heartbeats: Mapping[str, float]
    """Seconds since 1970 of the last one of each daemon that had one."""


class DagsterReader:
    """One instance, from ``DAGSTER_HOME``."""

    def __init__(self) -> None:
        self._instance: DagsterInstance | None = None

    @property
    def configured(self) -> bool:
        """Whether there is a Dagster to ask."""
        return bool(os.environ.get("DAGSTER_HOME"))

    def read(self) -> DagsterState:
        """The state now.

        Raises:
            TransientError: its storage does not answer.
        """
        from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

        try:
            if self._instance is None:
                self._instance = DagsterInstance.get()
            instance = self._instance
            runs = {
                status.value.lower(): instance.get_runs_count(RunsFilter(statuses=[status]))
                for status in DagsterRunStatus
            }
            statuses = instance.get_daemon_statuses()
        except Exception as error:
            raise TransientError(f"Dagster's storage does not answer ({type(error).__name__}).") from error
        beats = {name: status.last_heartbeat for name, status in statuses.items()}
        return DagsterState(runs, {name: beat.timestamp for name, beat in beats.items() if beat is not None})

    def close(self) -> None:
        """Close its connections."""
        if self._instance is not None:
            self._instance.dispose()
