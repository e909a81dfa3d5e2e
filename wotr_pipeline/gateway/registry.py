"""The schema registry's routes: the part of Confluent's REST API that its clients use, for Avro.

Belongs here: what each address answers. The gateway mounts it under ``/registry``; who may read and who may write
is given by the gateway.
Does not belong here: shapes and errors (``registry_answers.py``), what is kept (``stores/schema_register.py``),
what is compatible (``events/avro_schemas.py``).

Versions cannot be deleted, because records carry their ids; references between schemas are not supported.
"""

import re
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.params import Depends

from ..events.avro_schemas import AvroSchema, Level, read_schema
from ..stores.schema_register import RegisteredVersion, SchemaRegister
from .registry_answers import (
    CONTENT_TYPE,
    REFUSALS,
    CompatibilityAnswer,
    IdAnswer,
    LevelAnswer,
    LevelBody,
    ModeAnswer,
    PlaceAnswer,
    RegistryError,
    RegistryResponse,
    RegistryRoute,
    SchemaAnswer,
    SchemaBody,
    VersionAnswer,
)

_SUBJECT = re.compile(r"[A-Za-z0-9._:~-]{1,255}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_LATEST = ("latest", "-1")

SchemaId = Annotated[int, Path(ge=1, le=2**31 - 1)]
Offset = Annotated[int, Query(ge=0, le=10**6)]
Limit = Annotated[int, Query(ge=-1, le=10**6, description="-1: all")]


def registry_routes(registry: SchemaRegister, *, read: Depends, write: Depends) -> APIRouter:
    """Routes over ``registry``; ``read`` and ``write`` let a request through or raise HTTPException."""
    router = APIRouter(
        route_class=RegistryRoute,
        default_response_class=RegistryResponse,
        responses=REFUSALS,
        tags=["schema registry"],
    )
    _add_subjects(router, registry, read, write)
    _add_schemas(router, registry, read)
    _add_compatibility(router, registry, read)
    _add_levels(router, registry, read, write)
    return router


def _add_subjects(router: APIRouter, registry: SchemaRegister, read: Depends, write: Depends) -> None:
    @router.get("/subjects", dependencies=[read])
    def subjects(
        subject_prefix: Annotated[str, Query(alias="subjectPrefix", max_length=255)] = "",
        offset: Offset = 0,
        limit: Limit = -1,
    ) -> list[str]:
        """Names of all subjects."""
        if subject_prefix and not _SUBJECT.fullmatch(subject_prefix):
            return []
        return registry.subjects(subject_prefix)[offset:][: limit if limit >= 0 else None]

    @router.get("/subjects/{subject}/versions", dependencies=[read])
    def versions(subject: str) -> list[int]:
        """Numbers of a subject's versions."""
        return [version.version for version in _versions(registry, subject)]

    @router.get("/subjects/{subject}/versions/{version}", dependencies=[read])
    def version(subject: str, version: str) -> VersionAnswer:
        """One version, or ``latest``."""
        return _answer(_version(registry, subject, version))

    @router.get("/subjects/{subject}/versions/{version}/schema", dependencies=[read])
    def definition(subject: str, version: str) -> Response:
        """The schema itself."""
        return Response(_version(registry, subject, version).definition, media_type=CONTENT_TYPE)

    @router.post("/subjects/{subject}/versions", dependencies=[write])
    def register(subject: str, body: SchemaBody) -> IdAnswer:
        """Register a schema; the same one again gets the id it has."""
        return IdAnswer(id=registry.register(_subject(subject), _schema(body)).schema_id)

    @router.post("/subjects/{subject}", dependencies=[read])
    def look_up(subject: str, body: SchemaBody) -> VersionAnswer:
        """Which version of the subject a schema is."""
        schema = _schema(body)
        found = registry.look_up(_subject(subject), schema)
        if found is None:
            _versions(registry, subject)  # Says so if there is no such subject at all.
            raise RegistryError(40403, "Schema not found")
        return _answer(found)


def _add_schemas(router: APIRouter, registry: SchemaRegister, read: Depends) -> None:
    @router.get("/schemas/types", dependencies=[read])
    def types() -> list[str]:
        """Kinds of schemas."""
        return ["AVRO"]

    @router.get("/schemas/ids/{schema_id}", dependencies=[read])
    def schema(schema_id: SchemaId) -> SchemaAnswer:
        """The schema of an id."""
        return SchemaAnswer(definition=_with_id(registry, schema_id)[0].definition)

    @router.get("/schemas/ids/{schema_id}/schema", dependencies=[read])
    def bare_schema(schema_id: SchemaId) -> Response:
        """The schema of an id, itself."""
        return Response(_with_id(registry, schema_id)[0].definition, media_type=CONTENT_TYPE)

    @router.get("/schemas/ids/{schema_id}/subjects", dependencies=[read])
    def subjects_of(schema_id: SchemaId) -> list[str]:
        """Subjects that have the schema of an id."""
        return [version.subject for version in _with_id(registry, schema_id)]

    @router.get("/schemas/ids/{schema_id}/versions", dependencies=[read])
    def versions_of(schema_id: SchemaId) -> list[PlaceAnswer]:
        """Versions that are the schema of an id."""
        found = _with_id(registry, schema_id)
        return [PlaceAnswer(subject=version.subject, version=version.version) for version in found]


def _add_compatibility(router: APIRouter, registry: SchemaRegister, read: Depends) -> None:
    @router.post("/compatibility/subjects/{subject}/versions/{version}", dependencies=[read])
    def compatible(
        subject: str, version: str, body: SchemaBody, verbose: bool = False
    ) -> CompatibilityAnswer:
        """Whether the subject's level lets a schema follow that version."""
        schema = _schema(body)
        number = _version(registry, subject, version).version
        return _verdict(registry.problems(subject, schema, number), verbose)

    @router.post("/compatibility/subjects/{subject}/versions", dependencies=[read])
    def compatible_with_all(subject: str, body: SchemaBody, verbose: bool = False) -> CompatibilityAnswer:
        """Whether a schema could be registered now."""
        return _verdict(registry.problems(_subject(subject), _schema(body)), verbose)


def _add_levels(router: APIRouter, registry: SchemaRegister, read: Depends, write: Depends) -> None:
    @router.get("/config", dependencies=[read])
    def level() -> LevelAnswer:
        """The level of every subject without one of its own."""
        return LevelAnswer(level=registry.level() or Level.NONE)

    @router.put("/config", dependencies=[write])
    def set_level(body: LevelBody) -> LevelBody:
        """Set it."""
        registry.set_level(_level(body))
        return body

    @router.get("/config/{subject}", dependencies=[read])
    def level_of(
        subject: str, default_to_global: Annotated[bool, Query(alias="defaultToGlobal")] = False
    ) -> LevelAnswer:
        """The level of a subject."""
        found = registry.level(_subject(subject)) or (registry.level() if default_to_global else None)
        if found is None:
            raise RegistryError(
                40408, f"Subject '{subject}' does not have subject-level compatibility configured"
            )
        return LevelAnswer(level=found)

    @router.put("/config/{subject}", dependencies=[write])
    def set_level_of(subject: str, body: LevelBody) -> LevelBody:
        """Set it."""
        registry.set_level(_level(body), _subject(subject))
        return body

    @router.delete("/config/{subject}", dependencies=[write])
    def forget_level_of(subject: str) -> LevelAnswer:
        """Take it away; gives the level that held."""
        held = level_of(subject)
        registry.forget_level(subject)
        return held

    @router.get("/mode", dependencies=[read])
    def mode() -> ModeAnswer:
        """What clients may do."""
        return ModeAnswer()

    @router.get("/mode/{subject}", dependencies=[read])
    def mode_of(subject: str) -> ModeAnswer:
        """What clients may do with a subject."""
        _subject(subject)
        return ModeAnswer()


def _subject(name: str) -> str:
    if not _SUBJECT.fullmatch(name):
        raise RegistryError(42208, "A subject is 1 to 255 of A-Z a-z 0-9 . _ : ~ -")
    return name


def _schema(body: SchemaBody) -> AvroSchema:
    if body.type != "AVRO":
        raise RegistryError(42201, "Invalid schema: only the schemaType AVRO is supported")
    if body.references:
        raise RegistryError(42201, "Invalid schema: references are not supported, write it out")
    return read_schema(body.definition)


def _level(body: LevelBody) -> Level:
    try:
        return Level(body.compatibility.upper())
    except ValueError:
        raise RegistryError(
            42203, f"Invalid compatibility level. Valid values are {', '.join(Level)}"
        ) from None


def _versions(registry: SchemaRegister, subject: str) -> list[RegisteredVersion]:
    found = registry.versions(_subject(subject))
    if not found:
        raise RegistryError(40401, f"Subject '{subject}' not found.")
    return found


def _version(registry: SchemaRegister, subject: str, version: str) -> RegisteredVersion:
    if version not in _LATEST and not _NUMBER.fullmatch(version):
        raise RegistryError(42202, "A version is a number from 1, or latest")
    found = _versions(registry, subject)
    if version in _LATEST:
        return found[-1]
    for one in found:
        if one.version == int(version):
            return one
    raise RegistryError(40402, f"Version {version} not found.")


def _with_id(registry: SchemaRegister, schema_id: int) -> list[RegisteredVersion]:
    found = registry.with_id(schema_id)
    if not found:
        raise RegistryError(40403, f"Schema {schema_id} not found")
    return found


def _answer(found: RegisteredVersion) -> VersionAnswer:
    return VersionAnswer(
        subject=found.subject, version=found.version, id=found.schema_id, definition=found.definition
    )


def _verdict(problems: tuple[str, ...], verbose: bool) -> CompatibilityAnswer:
    return CompatibilityAnswer(is_compatible=not problems, messages=list(problems) if verbose else [])
