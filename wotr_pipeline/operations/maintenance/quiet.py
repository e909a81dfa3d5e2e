"""Steps ``mode_on`` and ``mode_off``: the pipeline pauses, and goes on.

Belongs here: turning the mode and waiting for quiet. Does not belong here: obeying it (``automation/maintenance.py``,
``gateway/mode.py``).
"""

from datetime import timedelta

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.operations.maintenance.window import Report, StepFailedError, Window
from wotr_pipeline.stores.postgres_upkeep import PostgresUpkeep

POLL_SECONDS = 1


def mode_on(window: Window, wait: timedelta) -> Report:
    """Pause planning, then wait until nobody writes.

    Raises:
        StepFailedError: somebody still writes after ``wait``.
    """
    upkeep = PostgresUpkeep(window.settings)
    try:
        if window.dry_run:
            writers = upkeep.writers()
            line = (
                f"Would pause planning until {window.until:%Y-%m-%d %H:%M} UTC, then wait for {len(writers)} "
                f"connections that write now, {wait.total_seconds() / 60:g} minutes at most."
            )
            return Report(
                (line,),
                {"writing": len(writers)},
            )
        window.turn_on()
        try:
            Retrying(
                retry=retry_if_result(bool),
                stop=stop_after_delay(wait),
                wait=wait_fixed(POLL_SECONDS),
            )(upkeep.writers)
        except RetryError:
            raise StepFailedError(
                f"{', '.join(upkeep.writers())} still write after {wait.total_seconds() / 60:g} minutes. Look at these "
                "runs in Dagster, end what hangs, then launch the window again."
            ) from None
    finally:
        upkeep.close()
    return Report((f"Nothing is planned until {window.until:%H:%M} UTC at the latest; nobody writes.",))


def mode_off(window: Window) -> Report:
    """Let the pipeline go on."""
    if window.dry_run:
        return Report(("Would let the pipeline go on.",))
    ended = window.turn_off("The window's work is done")
    return Report(
        (
            "Maintenance mode is off; the sensors plan with their next tick."
            if ended
            else "Maintenance mode was off already, or is somebody else's.",
        )
    )
