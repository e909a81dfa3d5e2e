"""A maintenance window that is under way: its lease, its end, its mode, what it tells people.

The order that makes it safe: the lease is taken before anything else and given back after everything else, and a
connection that is lost takes it away. So whoever holds it knows that a mode which another run turned on has nobody any
more who would end it: the next window and the sensor (``automation/maintenance_window.py``) both end it then.

Belongs here: what every step needs. Does not belong here: any step's work, Dagster.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import PermanentError, StoreError
from wotr_pipeline.stores.leases import Lease, holder_of, lease
from wotr_pipeline.stores.operations_log import Maintenance, OperationsLog
from wotr_pipeline.stores.slack import Importance, Slack

LEASE = "maintenance window"
LASTS = timedelta(hours=2)
RUN = "run "
"""How the name of a window begins that turned the mode on; people have other names."""

Value = str | int | float | bool
Line = dict[str, Value]


@dataclass(frozen=True)
class Report:
    """What a step did, or would do."""

    lines: tuple[str, ...]
    numbers: dict[str, int | float] = field(default_factory=dict)
    tables: dict[str, list[Line]] = field(default_factory=dict)
    problem: str = ""
    """Why the step has failed all the same; its work is done and told."""


class StepFailedError(PermanentError):
    """A step cannot do its work; the text says all that is wrong, and what to do."""


class Window:
    """One window. Not for several threads."""

    def __init__(
        self, settings: Settings, run_id: str, held: Lease, *, dry_run: bool, until: datetime | None = None
    ) -> None:
        self.settings = settings
        self.run_id = run_id
        self.who = f"{RUN}{run_id}"
        self.begun = datetime.now(UTC)
        self.until = until or self.begun + LASTS
        self.dry_run = dry_run
        self.mode_ended: datetime | None = None
        self.step = "begin"
        self.outcomes: list[str] = []
        self.failed = False
        self.log = logging.getLogger(__name__)
        self._lease = held
        self._operations = OperationsLog(settings)
        self._slack = Slack(settings)

    def close(self) -> None:
        """Close the connections."""
        self._operations.close()
        self._slack.close()

    @property
    def operations(self) -> OperationsLog:
        """What operators did, the mode, the backups."""
        return self._operations

    def go_on(self) -> bool:
        """Whether there is time for another piece of work. Raises TransientError if the lease is lost."""
        self._lease.check()
        return datetime.now(UTC) < self.until

    def turn_on(self) -> None:
        """Begin maintenance mode in the name of this run."""
        why = "The Sunday maintenance window: PostgreSQL, ClickHouse, retention, smoke test."
        self._operations.note(self.who, "begin maintenance", f"until {_clock(self.until)}", why)
        self._operations.turn_maintenance(True, self.who, why, self.until)

    def turn_off(self, why: str) -> bool:
        """End maintenance mode if this window has turned it on; returns whether it did."""
        return end_mode(self._operations, why, lambda mode: mode.who == self.who) is not None

    def end_what_was_left(self) -> str:
        """End the mode of a window that is no more: this one holds the lease. Returns its name, or ''."""
        mode = end_mode(
            self._operations,
            f"{self.who} found it left on by a window that has ended",
            lambda mode: mode.who.startswith(RUN) and mode.who != self.who,
        )
        return mode.who if mode else ""

    def tell(self, notice: str, importance: Importance = Importance.PLANNED, **facts: str) -> None:
        """Tell people, once a window; never in a dry run."""
        if not self.dry_run:
            self._slack.tell(notice, f"maintenance/{self.run_id}/{notice}", importance, **facts)

    def fail(self, problem: str) -> None:
        """A step has failed: the mode is ended now, and people are told."""
        self.failed = True
        ended = True
        try:
            self.turn_off(f"The step {self.step} failed")
        except StoreError as error:
            ended = False
            self.log.error("Maintenance mode could not be ended: %s", error)
        if not ended:
            problem += ' Maintenance mode may still be on: wotr maintenance off --why "the window failed".'
        self.tell(
            "maintenance_failed", Importance.INCIDENT, step=self.step, problem=problem, run=self.page_of_run
        )

    @property
    def page_of_run(self) -> str:
        """Where people see this run."""
        return run_page(self.settings, self.run_id)


def run_page(settings: Settings, run_id: str) -> str:
    """Where people see a run."""
    return f"{settings.wotr_dagster_url.rstrip('/')}/runs/{run_id}"


@contextmanager
def open_window(
    settings: Settings, run_id: str, *, dry_run: bool, until: datetime | None = None
) -> Iterator[Window]:
    """Hold the lease of the window; whatever ends the block ends the mode that the window turned on.

    Raises:
        LeaseTakenError: another window is under way; the text names it.
    """
    with ExitStack() as stack:
        held = stack.enter_context(lease(settings, LEASE, f"{RUN}{run_id}"))
        window = Window(settings, run_id, held, dry_run=dry_run, until=until)
        stack.callback(window.close)
        if not dry_run:
            left = window.end_what_was_left()
            if left:
                window.log.warning("Maintenance mode was left on by %s; it is off now.", left)
        try:
            yield window
        finally:
            # After a failed step or a good end this finds nothing to do; after a termination it is the only one.
            with suppress(StoreError):  # the sensor ends it as soon as PostgreSQL is back
                if window.turn_off("The window was ended before its end"):
                    window.tell(
                        "maintenance_failed",
                        Importance.INCIDENT,
                        step=window.step,
                        problem="The run was ended before its end. What it had done stays done.",
                        run=window.page_of_run,
                    )


def end_mode(operations: OperationsLog, why: str, whose: Callable[[Maintenance], bool]) -> Maintenance | None:
    """End maintenance mode if it is on and was turned on by ``whose``; returns what was ended."""
    mode = operations.maintenance()
    if mode is None or not mode.enabled or not whose(mode):
        return None
    operations.note(mode.who, "end maintenance", "", why)
    operations.turn_maintenance(False, mode.who, why)
    return mode


def end_orphaned_mode(settings: Settings) -> Maintenance | None:
    """End the mode that a window turned on and whose run has ended without a word (kill -9, lost machine).

    A living window holds the lease in its name for as long as its mode is on.
    """
    operations = OperationsLog(settings)
    try:
        mode = operations.maintenance()
        if mode is None or not mode.enabled or not mode.who.startswith(RUN):
            return None
        if holder_of(settings, LEASE) == mode.who:
            return None
        return end_mode(operations, f"{mode.who} has ended without a word", lambda now: now == mode)
    finally:
        operations.close()


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
