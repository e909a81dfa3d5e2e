"""GET /health, /health/live, /health/ready: for load balancers, monitors and people in a hurry.

- live: the process answers. It asks nobody: a store that is away is no reason to restart the gateway.
- ready: it may take events. Kafka and PostgreSQL are needed for that; the rest of the platform can catch up later.
- /health: all four stores; 503 when one is down.

Nobody needs a key, so nothing is told but which store it is, and in a sentence why.

Belongs here: these answers. Does not belong here: asking the stores (``probes.py``, ``stores/probes.py``).
"""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from .services import services_of

NEEDED_FOR_EVENTS = ("kafka", "postgres")
NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(tags=["health"])


class HealthDetails(BaseModel):
    """Each is ``up`` or ``down``."""

    postgres: str
    minio: str
    kafka: str
    clickhouse: str


class HealthReport(BaseModel):
    """The answer of GET /health."""

    status: str
    """``healthy`` or ``unhealthy``."""
    details: HealthDetails
    reasons: dict[str, str]
    """For each store that is down, a sentence."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "status": "unhealthy",
                    "details": {"postgres": "up", "minio": "up", "kafka": "down", "clickhouse": "up"},
                    "reasons": {"kafka": "No broker answers."},
                }
            ]
        }
    }


class Liveness(BaseModel):
    """The answer of GET /health/live."""

    status: str = "alive"


class Readiness(BaseModel):
    """The answer of GET /health/ready."""

    status: str
    """``ready`` or ``not ready``."""
    reasons: dict[str, str]
    """What stands in the way."""


@router.get(
    "/health",
    response_model=HealthReport,
    responses={503: {"model": HealthReport, "description": "A store is down."}},
)
async def health(request: Request) -> Response:
    """Whether every store of the platform answers and would do its work."""
    found = await services_of(request).probes.health()
    report = HealthReport(
        status="healthy" if found.healthy else "unhealthy",
        details=HealthDetails(**{store.store: "up" if store.up else "down" for store in found.stores}),
        reasons={store.store: store.reason for store in found.stores if not store.up},
    )
    return _told(report, good=found.healthy)


@router.get("/health/live")
async def live() -> Liveness:
    """Whether the process answers. No store is asked."""
    return Liveness()


@router.get(
    "/health/ready",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "It takes no events now."}},
)
async def ready(request: Request) -> Response:
    """Whether events are taken now."""
    services = services_of(request)
    found = await services.probes.health()
    reasons = {store: found.of(store).reason for store in NEEDED_FOR_EVENTS if not found.of(store).up}
    mode = services.mode
    if mode.refuses_events and mode.maintenance is not None:
        reasons["maintenance"] = f"Maintenance since {mode.maintenance.at:%Y-%m-%d %H:%M} UTC."
    return _told(Readiness(status="not ready" if reasons else "ready", reasons=reasons), good=not reasons)


def _told(report: BaseModel, *, good: bool) -> Response:
    return JSONResponse(report.model_dump(), 200 if good else 503, headers=NO_STORE)
