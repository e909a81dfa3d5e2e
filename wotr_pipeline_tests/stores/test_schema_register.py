"""The registry's memory under many at once, and what its database forbids."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from wotr_pipeline.config import Settings
from wotr_pipeline.events.avro_schemas import Level, read_schema
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline.stores.schema_register import IncompatibleSchemaError, SchemaRegister

NAMES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
SCHEMAS = [read_schema(f'"{name}"') for name in NAMES]
INT, LONG = SCHEMAS[2], SCHEMAS[3]


@pytest.fixture
def register(ledger_space: Settings) -> Iterator[SchemaRegister]:
    with SchemaRegister(ledger_space) as register:
        yield register


def test_schemas_registered_at_once_have_versions_without_a_gap_and_an_id_each(
    register: SchemaRegister,
) -> None:
    register.set_level(Level.NONE)
    with ThreadPoolExecutor(8) as threads:
        made = list(
            threads.map(
                lambda number: register.register(f"s{number % 2}", SCHEMAS[number // 2 % 8]), range(48)
            )
        )
    for subject in ("s0", "s1"):
        assert [one.version for one in register.versions(subject)] == list(range(1, 9))
    assert {one.schema_id for one in made} == set(range(1, 9))
    assert len({(one.schema_id, one.definition) for one in made}) == 8


def test_a_refused_schema_changes_nothing(register: SchemaRegister) -> None:
    register.register("s", LONG)
    with pytest.raises(
        IncompatibleSchemaError, match="not BACKWARD compatible with s: the new version cannot"
    ):
        register.register("s", INT)
    assert [one.version for one in register.versions("s")] == [1]
    assert register.register("other", INT).schema_id == 2


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("INSERT INTO schema_versions SELECT 'x', 1, schema_id, repeat('0', 64), '' FROM schema_versions", "one_schema_an_id"),
        ("INSERT INTO schema_versions SELECT 'x', 1, 7, digest, '' FROM schema_versions", "one_id_a_schema"),
        ("INSERT INTO schema_versions SELECT subject, 2, schema_id, digest, '' FROM schema_versions", "once"),
        ("UPDATE schema_versions SET version = 0", "numbers"),
        ("UPDATE schema_versions SET digest = 'x'", "digest"),
        ("INSERT INTO schema_compatibility VALUES ('s', 'SIDEWAYS')", "level"),
    ],
)  # fmt: skip
def test_the_database_itself_holds_an_id_to_its_schema(
    register: SchemaRegister, ledger_space: Settings, change: str, constraint: str
) -> None:
    register.register("s", INT)
    engine = connect(ledger_space, "wotr tests", dedicated=True)
    with (
        pytest.raises(exc.IntegrityError, match=f"schema_(versions|compatibility)_{constraint}"),
        engine.begin() as connection,
    ):
        connection.execute(sa.text(change))
