"""GET /events/{id} and /retention-policies: where one event is, and how long things are kept.

Belongs here: reading for senders. Does not belong here: taking events (``ingest.py``).
"""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from ..stores.api_keys import Scope
from ..stores.event_trace import trace_event
from . import openapi
from .access import anyone_with
from .problems import Problem
from .services import services_of

router = APIRouter(
    tags=["events"], responses=openapi.REFUSALS, dependencies=[Depends(anyone_with(Scope.READ))]
)


class Step(BaseModel):
    """One thing that happened to an event."""

    at: str | None = Field(description="When, ISO 8601, UTC; null where no time is on record.")
    what: str
    where: str = Field(description="Kafka position, batch, object or table.")
    run: str = Field(description="Dagster run that did it, if one did.")


class Whereabouts(BaseModel):
    """All that is known of an id."""

    id: str
    verdict: str = Field(description="Where it is now, in a sentence.")
    steps: list[Step] = Field(description="What happened to it, in the order of time.")
    links: dict[str, str] = Field(description="Pages that show more.")


class Retention(BaseModel):
    """How long one kind of thing is kept."""

    what: str
    where: str
    days: int
    counted_from: str
    setting: str


@router.get("/events/{event_id:path}", **openapi.EVENT)
async def event(
    request: Request, event_id: Annotated[str, Path(min_length=1, max_length=300)]
) -> Whereabouts:
    """Where one event is: accepted, landed, judged, loaded, or a dead letter. 404: nothing is known of it."""
    services = services_of(request)
    found = await asyncio.to_thread(
        trace_event, event_id, services.ledger, services.letters, services.warehouse
    )
    if not found.known:
        raise Problem(
            404, "Nothing is known of this id: it was never accepted, or Kafka has it and no batch yet."
        )
    told: dict[str, Any] = found.as_json()
    settings = services.settings
    links = {"self": f"{settings.wotr_gateway_url}/events/{quote(event_id, safe='')}"}
    runs = [step.run for step in found.steps if step.run]
    if runs:
        links["run"] = f"{settings.wotr_dagster_url}/runs/{runs[-1]}"
    return Whereabouts(**told, links=links)


@router.get("/retention-policies", **openapi.RETENTION)
async def retention_policies(request: Request) -> list[Retention]:
    """How long what is kept."""
    settings = services_of(request).settings
    return [
        Retention(
            what="raw objects, byte for byte",
            where=f"s3://{settings.minio_bucket}/raw/",
            days=settings.wotr_keep_raw_days,
            counted_from="arrival",
            setting="WOTR_KEEP_RAW_DAYS",
        ),
        Retention(
            what="rows of events, valid and failed",
            where=f"{settings.clickhouse_db}.ingested_data",
            days=settings.wotr_keep_rows_days,
            counted_from="arrival",
            setting="WOTR_KEEP_ROWS_DAYS",
        ),
        Retention(
            what="content of dead letters that are resolved or discarded",
            where=f"s3://{settings.minio_bucket}/dead-letters/",
            days=settings.wotr_keep_dead_letters_days,
            counted_from="the end of its repair",
            setting="WOTR_KEEP_DEAD_LETTERS_DAYS",
        ),
        Retention(
            what="ids that a repeat is answered from",
            where=f"{settings.postgres_db}.ingest_meta",
            days=settings.wotr_keep_ids_days,
            counted_from="acceptance",
            setting="WOTR_KEEP_IDS_DAYS",
        ),
        Retention(
            what="what operators did",
            where=f"{settings.postgres_db}.operator_actions",
            days=settings.wotr_keep_actions_days,
            counted_from="the action",
            setting="WOTR_KEEP_ACTIONS_DAYS",
        ),
    ]
