"""What the OpenAPI document says of the routes, with examples that the tests send.

Belongs here: descriptions, examples, answers. Does not belong here: behaviour. The hot routes read their requests
themselves, so nothing of this is derived from them: schemathesis holds the two together.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..events import contract

Responses = dict[int | str, dict[str, Any]]

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "minimal": {
        "summary": "The least there can be: id and timestamp are filled in",
        "value": {
            "payload": {
                "event_type": "api_call",
                "source": "checkout",
                "data": {"path": "/cart", "status": 200},
            }
        },
    },
    "user_action": {
        "summary": "Everything",
        "value": {
            "id": "order-2026-000017-paid",
            "timestamp": "2026-11-25T08:15:30.250Z",
            "payload": {
                "event_type": "user_action",
                "source": "shop",
                "user_id": "u-4711",
                "session_id": "s-92b1",
                "ip_address": "192.0.2.17",
                "data": {"action": "pay", "amount": 19.9},
                "tags": ["web", "campaign_7"],
                "version": "2.0",
            },
        },
    },
    "metric": {
        "summary": "A metric names itself and its value",
        "value": {
            "payload": {
                "event_type": "metric",
                "source": "billing",
                "data": {"metric_name": "queue_length", "metric_value": 12},
            }
        },
    },
}

_TEXT = {"type": "string", "minLength": 1}
_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["payload"],
    "properties": {
        "id": _TEXT | {"type": ["string", "null"], "maxLength": contract.MAX_ID_LENGTH},
        "timestamp": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "ISO 8601; UTC without a zone.",
        },
        "payload": {
            "type": "object",
            "required": ["event_type", "source", "data"],
            "properties": {
                "event_type": {"type": "string", "enum": sorted(contract.EVENT_TYPES)},
                "source": _TEXT | {"maxLength": contract.MAX_SOURCE_LENGTH},
                "user_id": {"type": ["string", "null"], "maxLength": contract.MAX_USER_ID_LENGTH},
                "session_id": {"type": ["string", "null"], "maxLength": contract.MAX_SESSION_ID_LENGTH},
                "ip_address": {"type": ["string", "null"], "format": "ipv4"},
                "data": {
                    "type": "object",
                    "description": f"At most {contract.MAX_DATA_BYTES:,} bytes. A metric carries metric_name and metric_value.",
                },
                "tags": {
                    "type": ["array", "null"],
                    "maxItems": contract.MAX_TAGS,
                    "items": {"type": "string", "pattern": f"^{contract.TAG.pattern}$"},
                },
                "version": {"type": ["string", "null"], "pattern": f"^{contract.VERSION.pattern}$"},
            },
        },
    },
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
    },
}
_FIELD_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["field", "reason", "message"],
    "properties": {
        "field": {"type": "string", "description": "Path such as payload.tags[3]; empty: the whole message."},
        "reason": {"type": "string", "description": "Code of a closed set."},
        "message": {"type": "string"},
    },
}
_ACCEPTED: dict[str, Any] = {
    "type": "object",
    "required": ["id", "status", "position", "object_key"],
    "properties": {
        "id": {"type": "string"},
        "status": {"type": "string", "enum": ["accepted"]},
        "position": {"type": ["string", "null"], "description": "topic:partition:offset in Kafka."},
        "object_key": {
            "type": ["string", "null"],
            "description": "Raw object that holds it, once it has landed.",
        },
        "warnings": {"type": "array", "items": {"type": "string"}},
        "differs": {"type": "boolean", "description": "True: the id was accepted before, with other bytes."},
    },
}
_OF_BATCH: dict[str, Any] = {
    "type": "object",
    "required": ["accepted", "repeated", "rejected", "failed", "events"],
    "properties": {
        **{outcome: {"type": "integer"} for outcome in ("accepted", "repeated", "rejected", "failed")},
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "status", "id"],
                "properties": {
                    "index": {"type": "integer"},
                    "status": {"type": "string", "enum": ["accepted", "repeated", "rejected", "failed"]},
                    "id": {"type": ["string", "null"]},
                    "position": {"type": ["string", "null"]},
                    "object_key": {"type": ["string", "null"]},
                    "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
                },
            },
        },
    },
}
_VERDICT: dict[str, Any] = {
    "type": "object",
    "required": ["valid", "warnings"],
    "properties": {
        "valid": {"type": "boolean"},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
    },
}


def _refusal(description: str) -> dict[str, Any]:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {"description": description, "content": {"application/problem+json": schema}}


REFUSALS: Responses = {
    400: _refusal("The request cannot be read."),
    401: _refusal("Invalid or missing API key."),
    403: _refusal("The key lacks the scope."),
    422: _refusal("A parameter is wrong."),
    429: _refusal("More events than the key may send; Retry-After says when to go on."),
    503: _refusal("A store is away; Retry-After says when to send it again."),
}
_OF_BODIES: Responses = REFUSALS | {
    408: _refusal("The body took too long."),
    413: _refusal("The body is too long, or has too many events."),
    415: _refusal("Another Content-Type, charset or Content-Encoding than is taken here."),
    422: _refusal("The event breaks the contract: every broken rule is named."),
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,200}$"},
    "description": "Names this request: sent again, it is answered as before and publishes nothing.",
}


def _route(
    schema: dict[str, Any], status: int, answer: str, *, batch: bool = False, keyed: bool = True
) -> dict[str, Any]:
    """Arguments of a hot route's decorator."""
    if batch:
        values = [example["value"] for example in EXAMPLES.values()]
        examples = {"batch": {"summary": "Three events", "value": values}}
    else:
        examples = dict(EXAMPLES)
    content: dict[str, Any] = {"application/json": {"schema": schema, "examples": examples}}
    if batch:
        content["application/x-ndjson"] = {"schema": {"type": "string"}}
    extra: dict[str, Any] = {
        "requestBody": {"required": True, "content": content},
        "security": [{"key": []}],
    }
    if keyed:
        extra["parameters"] = [_IDEMPOTENCY]
    taken = {
        "description": "Taken." if status == 202 else "Judged.",
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}},
    }
    return {"status_code": status, "responses": {**_OF_BODIES, status: taken}, "openapi_extra": extra}


INGEST = _route({"$ref": "#/components/schemas/Event"}, 202, "Accepted")
BATCH = _route(
    {"type": "array", "minItems": 1, "maxItems": 10_000, "items": {"$ref": "#/components/schemas/Event"}},
    202,
    "Batch",
    batch=True,
)
VALIDATE = _route({"$ref": "#/components/schemas/Event"}, 200, "Verdict", keyed=False)
_READ: dict[str, Any] = {"openapi_extra": {"security": [{"key": []}]}}
EVENT: dict[str, Any] = _READ | {"responses": {404: _refusal("Nothing is known of this id.")}}
RETENTION: dict[str, Any] = _READ


def install(app: FastAPI) -> None:
    """Let ``app`` serve its document with the schemas and the key scheme of this module."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            components = made.setdefault("components", {})
            components.setdefault("schemas", {}).update(
                Event=_EVENT,
                Accepted=_ACCEPTED,
                Batch=_OF_BATCH,
                Verdict=_VERDICT,
                Problem=_PROBLEM,
                FieldProblem=_FIELD_PROBLEM,
            )
            components["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
