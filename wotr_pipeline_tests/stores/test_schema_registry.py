"""Being a client of a registry: what it finds, and what it says when it finds nothing."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from wotr_pipeline.config import Settings
from wotr_pipeline.events.avro_schemas import Level
from wotr_pipeline.events.schema_versions import packaged_versions
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.schema_registry import SchemaRegistry, event_subject

from ..registry_server import READER, WRITER, serving

V1, V2 = packaged_versions()


@pytest.fixture
def served(ledger_space: Settings) -> Iterator[Settings]:
    with serving(ledger_space) as settings:
        yield settings


def test_what_was_registered_is_found_with_its_level(served: Settings) -> None:
    registry, subject = SchemaRegistry(served), event_subject(served)
    assert subject == f"{served.kafka_topic}-value"
    assert (registry.versions(subject), registry.level(subject)) == ([], "")
    registry.set_level(subject, Level.FULL_TRANSITIVE)
    assert registry.register(subject, V1.schema.text) == registry.register(subject, V1.schema.text) == 1
    registry.register(subject, V2.schema.text)
    found = [(one.version, one.schema_id, one.text) for one in registry.versions(subject)]
    assert found == [(1, 1, V1.schema.text), (2, 2, V2.schema.text)]
    assert registry.level(subject) == "FULL_TRANSITIVE"
    with pytest.raises(PermanentError, match="409"):
        registry.register(subject, '"int"')


def test_a_registry_that_is_away_is_transient_and_its_address_tells_no_password() -> None:
    settings = Settings(wotr_schema_registry_url=f"http://user:s3cret-pw@127.0.0.1:{free_port()}/registry")
    with pytest.raises(TransientError, match="could not list the versions of x") as error:
        SchemaRegistry(settings).versions("x")
    assert "s3cret-pw" not in str(error.value)


def test_a_key_without_the_scope_or_unknown_is_permanent_and_not_told(served: Settings) -> None:
    for key in (READER, "a-key-that-nobody-ever-made"):
        settings = served.model_copy(update={"api_keys": SecretStr(f"{key},{WRITER}")})
        with pytest.raises(PermanentError, match="API_KEYS") as error:
            SchemaRegistry(settings).register("s", '"int"')
        assert key not in str(error.value)


def test_an_address_without_a_registry_is_permanent_and_named(served: Settings) -> None:
    elsewhere = served.model_copy(
        update={"wotr_schema_registry_url": f"{served.wotr_schema_registry_url}/nowhere"}
    )
    with pytest.raises(PermanentError, match="Check WOTR_SCHEMA_REGISTRY_URL"):
        SchemaRegistry(elsewhere).versions("s")
