"""POST /ingest, /ingest/batch and /validate: events over HTTP.

Belongs here: from a request to the intake, and from its verdicts to an answer. Does not belong here: what becomes of
an event (``intake.py``). These routes are the hot path: they read the request themselves and answer plain bytes,
and what OpenAPI says of them stands in ``openapi.py``.
"""

import asyncio
import re
from collections import Counter
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from .. import telemetry
from ..stores.api_keys import Scope
from ..stores.errors import StoreError
from . import openapi
from .access import Caller
from .bodies import EVENT_BYTES, JSON, NDJSON, media_type, read_body, split
from .intake import Outcome, ReusedKeyError, Verdict
from .problems import RETRY_SECONDS, FieldProblem, Problem, away
from .services import Services, services_of

TURN_SECONDS = 20.0
"""How long a batch waits for others before it is read."""
REPLAYED = {"Idempotent-Replayed": "true"}
_KEY = re.compile(r"[\x21-\x7e]{1,200}")

router = APIRouter(tags=["events"])


@router.post("/ingest", **openapi.INGEST)
async def ingest(request: Request) -> Response:
    """Take one event. 202: Kafka has it on record."""
    services = services_of(request)
    caller = await _caller(services, request, "ingest")
    body = await read_body(request, services.settings.wotr_client_seconds, EVENT_BYTES, JSON)
    (verdict,) = await _take(services, request, caller, "ingest", [body])
    if verdict.outcome is Outcome.REJECTED:
        raise Problem(422, "The event breaks the contract.", errors=_errors(verdict), id=verdict.id)
    if verdict.outcome is Outcome.FAILED:
        raise _not_acknowledged(id=verdict.id)
    headers = {"Location": f"/events/{quote(verdict.id or '', safe='')}"}
    if verdict.outcome is Outcome.REPEATED:
        headers |= REPLAYED
    told = _told(verdict) | {"status": Outcome.ACCEPTED.value}
    return Response(orjson.dumps(told), 202, headers, JSON)


@router.post("/ingest/batch", **openapi.BATCH)
async def ingest_batch(request: Request) -> Response:
    """Take up to 10,000 events, each with a verdict of its own: a bad one never holds back a good one."""
    services = services_of(request)
    caller = await _caller(services, request, "batch")
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await services.batches.acquire()
    except TimeoutError:
        raise Problem(503, "Too many batches are under way.", retry_after=RETRY_SECONDS) from None
    try:
        settings = services.settings
        body = await read_body(
            request, settings.wotr_client_seconds, settings.wotr_request_bytes, JSON, *NDJSON
        )
        bodies = split(body, media_type(request))
        del body
        verdicts = await _take(services, request, caller, "batch", bodies)
    finally:
        services.batches.release()
    counts = Counter(verdict.outcome for verdict in verdicts)
    document: dict[str, Any] = {
        **{outcome.value: counts[outcome] for outcome in Outcome},
        "events": [{"index": index, **_told(verdict)} for index, verdict in enumerate(verdicts)],
    }
    if counts[Outcome.FAILED]:
        raise _not_acknowledged(**document)
    if counts[Outcome.REJECTED] == len(verdicts):
        raise Problem(422, "Every event of the batch breaks the contract.", **document)
    return Response(orjson.dumps(document), 202, media_type=JSON)


@router.post("/validate", **openapi.VALIDATE)
async def validate(request: Request) -> Response:
    """Say what the rules say of one event, and take nothing."""
    services = services_of(request)
    caller = await services.access.of_program(request, Scope.INGEST)
    services.access.take(caller, 1)
    body = await read_body(request, services.settings.wotr_client_seconds, EVENT_BYTES, JSON)
    (judged,) = await services.intake.judge([body])
    valid = not isinstance(judged, Verdict)
    document: dict[str, Any] = {
        "valid": valid,
        "warnings": [] if isinstance(judged, Verdict) else _warnings(judged.warnings),
    }
    if isinstance(judged, Verdict):
        document["errors"] = _errors_told(judged)
    return Response(orjson.dumps(document), 200, media_type=JSON)


async def _caller(services: Services, request: Request, route: str) -> Caller:
    caller = await services.access.of_program(request, Scope.INGEST)
    try:
        services.mode.check()
        services.access.take(caller, 1 if route == "ingest" else 0)
    except Problem:
        services.metrics.ingested(route, "limited", 1)
        raise
    return caller


async def _take(
    services: Services, request: Request, caller: Caller, route: str, bodies: list[bytes]
) -> list[Verdict]:
    idempotency = request.headers.get("idempotency-key")
    if idempotency is not None:
        if _KEY.fullmatch(idempotency) is None:
            raise Problem(400, "The Idempotency-Key must be 1 to 200 visible ASCII characters.")
        idempotency = f"{caller.key_id}\0{idempotency}"
    if route == "batch":
        try:
            services.access.take(caller, len(bodies))
        except Problem:
            services.metrics.ingested(route, "limited", len(bodies))
            raise
    try:
        carried = telemetry.traceparent()
        verdicts = await services.intake.take(bodies, idempotency, (carried,) if carried else ())
    except StoreError as error:
        services.metrics.ingested(route, Outcome.FAILED.value, len(bodies))
        raise away(error) from None
    except ReusedKeyError:
        detail = "This Idempotency-Key was used for another body. Nothing of this one was taken."
        raise Problem(422, detail) from None
    for verdict in verdicts:
        if verdict.outcome is Outcome.REJECTED:
            services.metrics.refused(verdict.problems[0].reason.value, 1)
    for outcome, events in Counter(verdict.outcome for verdict in verdicts).items():
        services.metrics.ingested(route, outcome.value, events)
    return verdicts


def _told(verdict: Verdict) -> dict[str, Any]:
    """One verdict as JSON's values."""
    told: dict[str, Any] = {"status": verdict.outcome.value, "id": verdict.id}
    if verdict.outcome is Outcome.REJECTED:
        return told | {"errors": _errors_told(verdict)}
    if verdict.outcome is Outcome.FAILED:
        return told
    told["position"] = str(verdict.position) if verdict.position else None
    told["object_key"] = verdict.object_key
    if verdict.warnings:
        told["warnings"] = _warnings(verdict.warnings)
    if not verdict.same_content:
        told["differs"] = True
    return told


def _warnings(warnings: Any) -> list[str]:
    return [warning.value for warning in warnings]


def _errors(verdict: Verdict) -> tuple[FieldProblem, ...]:
    return tuple(FieldProblem(one.field, one.reason.value, one.message) for one in verdict.problems)


def _errors_told(verdict: Verdict) -> list[dict[str, str]]:
    return [asdict(error) for error in _errors(verdict)]


def _not_acknowledged(**more: Any) -> Problem:
    detail = (
        "Kafka has not acknowledged it in time. Send it again, with the same id: "
        "what is there already is not taken twice."
    )
    return Problem(503, detail, retry_after=RETRY_SECONDS, **more)
