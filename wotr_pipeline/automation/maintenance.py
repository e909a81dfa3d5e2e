"""What the sensors do while maintenance mode is on: nothing, and they say who turned it on, why, and how it ends.

Belongs here: that reason to skip. Does not belong here: turning the mode (``gateway/maintenance.py``,
``wotr maintenance``), runs that people launch: those know what they do.
"""

import dagster as dg

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.operations_log import OperationsLog


def reason_to_skip(settings: Settings) -> dg.SkipReason | None:
    """Why a sensor does nothing now, or None.

    Raises:
        PermanentError: PostgreSQL refuses to tell the mode.
    """
    log = OperationsLog(settings)
    try:
        mode = log.maintenance()
    except TransientError as error:
        return dg.SkipReason(f"It cannot be told whether maintenance is on: {error}")
    finally:
        log.close()
    if mode is None or not mode.enabled:
        return None
    until = f", expected to end {mode.until:%Y-%m-%d %H:%M} UTC" if mode.until else ""
    return dg.SkipReason(
        f"Maintenance since {mode.at:%Y-%m-%d %H:%M} UTC by {mode.who}{until}: {mode.why}. Nothing is planned. "
        f'End it at {settings.wotr_gateway_url.rstrip("/")}/admin/maintenance/, or: wotr maintenance off --why "…"'
    )
