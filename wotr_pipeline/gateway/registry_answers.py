"""What the schema registry says over HTTP: bodies, errors with Confluent's numbers, its content type.

Belongs here: the shapes that clients of Confluent's REST API send and expect.
Does not belong here: the routes (``registry.py``), or what is kept (``stores/schema_register.py``).
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from ..events.avro_schemas import Level, SchemaError
from ..stores.errors import StoreError
from ..stores.schema_register import IncompatibleSchemaError
from .problems import away

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryError(Exception):
    """An answer that is a refusal. ``code``: Confluent's; its first three digits are the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class RegistryResponse(JSONResponse):
    """JSON under the registry's own content type."""

    media_type = CONTENT_TYPE


class RefusalAnswer(BaseModel):
    """What every refusal looks like."""

    error_code: int
    message: str


class SchemaBody(BaseModel):
    """A schema that a client sends. What else it sends (metadata, rules) is not kept."""

    definition: str = Field(alias="schema")
    type: str = Field("AVRO", alias="schemaType")
    references: list[object] = Field([], max_length=1000)


class IdAnswer(BaseModel):
    """A registered schema's id."""

    id: int


class VersionAnswer(BaseModel):
    """One version of a subject."""

    model_config = ConfigDict(populate_by_name=True)

    subject: str
    version: int
    id: int
    definition: str = Field(alias="schema")


class SchemaAnswer(BaseModel):
    """A schema's text."""

    model_config = ConfigDict(populate_by_name=True)

    definition: str = Field(alias="schema")


class PlaceAnswer(BaseModel):
    """Where a schema is registered."""

    subject: str
    version: int


class CompatibilityAnswer(BaseModel):
    """Whether a schema may follow, and with ``verbose`` why not."""

    is_compatible: bool
    messages: list[str] = []


class LevelBody(BaseModel):
    """A compatibility level, as it is set."""

    compatibility: str


class LevelAnswer(BaseModel):
    """A compatibility level, as it is read."""

    model_config = ConfigDict(populate_by_name=True)

    level: Level = Field(alias="compatibilityLevel")


class ModeAnswer(BaseModel):
    """What the registry lets clients do: it is always the same here."""

    mode: str = "READWRITE"


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": RefusalAnswer, "description": text}
    for status, text in {
        401: "Invalid or missing API key",
        403: "The key's scopes do not allow it",
        404: "No such subject (40401), version (40402), schema (40403) or level of its own (40408)",
        409: "The schema is not compatible with those registered",
        422: "Not a usable schema (42201), version (42202), level (42203) or subject (42208)",
        503: "PostgreSQL is away; try again",
    }.items()
}


class RegistryRoute(APIRoute):
    """Turns every error of the registry into an answer that its clients understand."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's hook: the handler of this route."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RegistryError as error:
                return _refusal(error.code, error.message)
            except RequestValidationError as error:
                return _refusal(*_of_validation(error))
            except SchemaError as error:
                return _refusal(42201, f"Invalid schema: {error}")
            except IncompatibleSchemaError as error:
                return _refusal(409, str(error))
            except StoreError as error:
                problem = away(error)
                return _refusal(50001, problem.detail, problem.status, problem.headers)

        return answer


def _refusal(
    code: int, message: str, status: int | None = None, headers: Mapping[str, str] | None = None
) -> RegistryResponse:
    content = {"error_code": code, "message": message}
    return RegistryResponse(content, status or int(str(code)[:3]), dict(headers or {}))


def _of_validation(error: RequestValidationError) -> tuple[int, str]:
    first = error.errors()[0]
    place, text = first["loc"], first["msg"]
    if place[0] == "path":
        return 40403, "Schema not found: an id is a number from 1"
    code = 42203 if place[-1] == "compatibility" else 42201 if place[0] == "body" else 422
    return code, f"{'.'.join(map(str, place))}: {text}"
