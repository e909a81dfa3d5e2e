"""The schema registry's memory, in POSTGRES_DB: versions of subjects, ids, compatibility levels.

Belongs here: its two tables as SQLAlchemy sees them (migration ``ledger_0005`` creates them; a test holds the two
together), registering and looking up.
Does not belong here: its HTTP face (``gateway/registry.py``), being a client of one (``schema_registry.py``), what
is compatible (``events/avro_schemas.py``).

Registering is done by one at a time, under an advisory lock, so that versions have no gaps and the same schema gets
one id however many register it at once. Nothing is ever deleted: records carry the ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ..config import Settings
from ..events.avro_schemas import AvroSchema, Level, incompatibilities, read_schema
from .errors import PermanentError
from .ledger_database import LockClass, connect, metadata, translated

DEFAULT_LEVEL = Level.BACKWARD
"""As in Confluent's registry, for subjects of which nothing is said."""
_ALL_SUBJECTS = ""

_moment = sa.DateTime(timezone=True)
_now = sa.func.now()

versions = sa.Table(
    "schema_versions",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("schema_id", sa.Integer, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("registered_at", _moment, nullable=False, server_default=_now),
)
levels = sa.Table(
    "schema_compatibility",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("changed_at", _moment, nullable=False, server_default=_now),
)
_COLUMNS = (versions.c.subject, versions.c.version, versions.c.schema_id, versions.c.definition)


class IncompatibleSchemaError(PermanentError):
    """A schema may not follow the registered ones; ``problems`` says why, one text each."""

    def __init__(self, subject: str, level: Level, problems: tuple[str, ...]) -> None:
        super().__init__(f"The schema is not {level} compatible with {subject}: {'; '.join(problems)}")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """One version of a subject."""

    subject: str
    version: int
    schema_id: int
    definition: str


class SchemaRegister:
    """Keeps registered schemas. Safe to share between threads; close it when done.

    Every method raises TransientError when PostgreSQL is away, slow or overloaded, and PermanentError when it
    refuses.
    """

    def __init__(self, settings: Settings) -> None:
        self._engine = connect(settings, "wotr schema registry")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def subjects(self, prefix: str = "") -> list[str]:
        """Names of the subjects that have versions, sorted."""
        names = sa.select(versions.c.subject).distinct().order_by(versions.c.subject)
        if prefix:
            names = names.where(versions.c.subject.startswith(prefix, autoescape=True))
        with translated("list subjects"), self._engine.connect() as connection:
            return list(connection.scalars(names))

    def versions(self, subject: str) -> list[RegisteredVersion]:
        """Versions of a subject, oldest first; none if there is no such subject."""
        with translated("read a subject"), self._engine.connect() as connection:
            return _found(connection, versions.c.subject == subject)

    def with_id(self, schema_id: int) -> list[RegisteredVersion]:
        """Every version that has this id: the same schema in one subject or several."""
        with translated("read a schema"), self._engine.connect() as connection:
            return _found(connection, versions.c.schema_id == schema_id)

    def look_up(self, subject: str, schema: AvroSchema) -> RegisteredVersion | None:
        """The version of the subject that says the same as ``schema``."""
        with translated("look up a schema"), self._engine.connect() as connection:
            return _look_up(connection, subject, schema)

    def register(self, subject: str, schema: AvroSchema) -> RegisteredVersion:
        """The version of the subject that says the same; a new one if there is none.

        Raises:
            IncompatibleSchemaError: the subject's level forbids it. Nothing was changed.
            SchemaError: its types are too entangled to compare.
        """
        if (known := self.look_up(subject, schema)) is not None:
            return known
        with translated("register a schema"), self._engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LockClass.SCHEMAS, 0)))
            earlier = _found(connection, versions.c.subject == subject)
            if (known := _look_up(connection, subject, schema)) is not None:
                return known
            level = _level(connection, subject) or _level(connection, _ALL_SUBJECTS) or DEFAULT_LEVEL
            if problems := incompatibilities(level, schema, _schemas(earlier)):
                raise IncompatibleSchemaError(subject, level, problems)
            same = sa.select(versions.c.schema_id).where(versions.c.digest == schema.digest).limit(1)
            new = sa.select(sa.func.coalesce(sa.func.max(versions.c.schema_id), 0) + 1)
            added = connection.execute(
                sa.insert(versions)
                .values(
                    subject=subject,
                    version=len(earlier) + 1,
                    schema_id=sa.func.coalesce(same.scalar_subquery(), new.scalar_subquery()),
                    digest=schema.digest,
                    definition=schema.text,
                )
                .returning(*_COLUMNS)
            )
            return RegisteredVersion(*added.one())

    def problems(self, subject: str, schema: AvroSchema, version: int | None = None) -> tuple[str, ...]:
        """Why the subject's level forbids ``schema`` after ``version`` (None: after all there are)."""
        with translated("compare schemas"), self._engine.connect() as connection:
            earlier = _found(connection, versions.c.subject == subject)
            level = _level(connection, subject) or _level(connection, _ALL_SUBJECTS) or DEFAULT_LEVEL
        chosen = earlier if version is None else [one for one in earlier if one.version == version]
        return incompatibilities(level, schema, _schemas(chosen))

    def level(self, subject: str = _ALL_SUBJECTS) -> Level | None:
        """The level of a subject, None if it has none of its own; without a subject that of all the others."""
        with translated("read a compatibility level"), self._engine.connect() as connection:
            found = _level(connection, subject)
        return found or (DEFAULT_LEVEL if subject == _ALL_SUBJECTS else None)

    def set_level(self, level: Level, subject: str = _ALL_SUBJECTS) -> None:
        """Set the level of a subject, or of all that have none of their own."""
        row = insert(levels).values(subject=subject, level=level.value)
        row = row.on_conflict_do_update(
            index_elements=[levels.c.subject], set_={"level": level.value, "changed_at": _now}
        )
        with translated("set a compatibility level"), self._engine.begin() as connection:
            connection.execute(row)

    def forget_level(self, subject: str = _ALL_SUBJECTS) -> None:
        """Take a level away: what holds for all, or BACKWARD, holds again."""
        with translated("take a compatibility level away"), self._engine.begin() as connection:
            connection.execute(sa.delete(levels).where(levels.c.subject == subject))


def _found(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[RegisteredVersion]:
    rows = connection.execute(
        sa.select(*_COLUMNS).where(condition).order_by(versions.c.subject, versions.c.version)
    )
    return [RegisteredVersion(*row) for row in rows]


def _look_up(connection: sa.Connection, subject: str, schema: AvroSchema) -> RegisteredVersion | None:
    conditions: Any = sa.and_(versions.c.subject == subject, versions.c.digest == schema.digest)
    found = _found(connection, conditions)
    return found[0] if found else None


def _level(connection: sa.Connection, subject: str) -> Level | None:
    found = connection.scalar(sa.select(levels.c.level).where(levels.c.subject == subject))
    return None if found is None else Level(found)


def _schemas(found: Sequence[RegisteredVersion]) -> list[AvroSchema]:
    return [read_schema(version.definition) for version in found]
