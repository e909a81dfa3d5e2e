"""/admin/: what goes on, for someone who was woken up at 2 AM.

Reads top to bottom: is all well, and if not what to do; which stores are up; what arrives, how much of it is
rejected, how far behind the table is; batches, dead letters, backups; who did what.

Belongs here: that page. Does not belong here: what it shows (``overview.py``), what it thinks of it (``verdict.py``),
anything that changes something (``dead_letters.py``, ``retries.py``, ``maintenance.py``, ``key_pages.py``).
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from ..stores.api_keys import Scope
from ..stores.batch import BatchState
from ..stores.dead_letter import OPEN
from ..stores.operations_log import STORES_WITH_BACKUPS
from ..stores.thresholds import NAMES
from ..words import share
from .access import Caller
from .charts import chart
from .metrics import WINDOW_SECONDS
from .pages import person_with, render
from .services import services_of
from .verdict import findings, headline

REFRESH_SECONDS = 15
MEASURED_ROUTES = ("/ingest", "/ingest/batch")

router = APIRouter(prefix="/admin", include_in_schema=False)


@router.get("/")
async def overview(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.READ))],
    refresh: Annotated[str, Query(max_length=3)] = "",
) -> Response:
    """The page; with ``?refresh=on`` it loads itself again, because someone asked for that."""
    services = services_of(request)
    seen = await services.overview.overview()
    answered = {route: services.metrics.p95(route) for route in MEASURED_ROUTES}
    found = findings(seen, services.settings, answered)
    hour, day = seen.hour.value, seen.day.value
    return render(
        request,
        "admin/overview.html",
        caller=caller,
        seen=seen,
        findings=found,
        headline=headline(found, seen),
        refresh_seconds=REFRESH_SECONDS if refresh == "on" else None,
        hour_chart=chart(hour.steps()) if hour else None,
        day_chart=chart(day.steps()) if day else None,
        answered=answered,
        window_minutes=WINDOW_SECONDS // 60,
        share=share,
        store_names=NAMES,
        backup_stores=STORES_WITH_BACKUPS,
        open_states=OPEN,
        BatchState=BatchState,
    )
