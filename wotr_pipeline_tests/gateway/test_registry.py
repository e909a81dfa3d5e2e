"""The registry as Confluent's own client uses it, and what it says to everyone else."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.common.schema_registry_client import ConfigCompatibilityLevel
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wotr_pipeline.config import Settings
from wotr_pipeline.events.rules import Accepted, judge
from wotr_pipeline.events.schema_versions import event_of, packaged_versions, record_of

from ..events import messages
from ..produced import event
from ..registry_server import READER, WRITER, serving
from .conftest import NO_AUTHORITIES

V1, V2 = packaged_versions()
INT, LONG, STRING = '"int"', '"long"', '"string"'
WITHOUT_DEFAULT = '{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}'
quickly = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def registry(ledger_space: Settings) -> Iterator[Settings]:
    with serving(ledger_space) as settings:
        yield settings


@pytest.fixture
def client(registry: Settings) -> SchemaRegistryClient:
    return client_of(registry)


def client_of(registry: Settings, key: str = WRITER) -> SchemaRegistryClient:
    return SchemaRegistryClient(
        {
            "url": registry.wotr_schema_registry_url,
            "basic.auth.user.info": f"wotr:{key}",
            "max.retries": 0,
        }
    )


@pytest.fixture
def http(registry: Settings) -> Iterator[httpx.Client]:
    address = registry.wotr_schema_registry_url
    with httpx.Client(
        base_url=address, auth=("wotr", WRITER), trust_env=False, verify=NO_AUTHORITIES
    ) as client:
        yield client


def test_confluents_client_registers_finds_and_compares(client: SchemaRegistryClient) -> None:
    first, second = Schema(V1.schema.text, "AVRO"), Schema(V2.schema.text, "AVRO")
    assert client.get_subjects() == []
    number = client.register_schema("events-value", first)
    assert client.test_compatibility("events-value", second)
    other = client.register_schema("events-value", second)
    assert (number, other) == (1, 2)
    assert client.register_schema("copies-value", second) == other
    assert client.get_subjects() == ["copies-value", "events-value"]
    assert client.get_subjects(subject_prefix="ev") == ["events-value"]
    assert client.get_versions("events-value") == [1, 2]
    latest = client.get_latest_version("events-value")
    assert (latest.version, latest.schema_id, latest.schema.schema_str) == (2, other, V2.schema.text)
    found = client.lookup_schema("events-value", Schema(json.dumps(V1.schema.json, indent=3), "AVRO"))
    assert (found.version, found.schema_id) == (1, number)
    client.clear_caches()
    assert client.get_version("events-value", 1).schema.schema_str == V1.schema.text
    assert client.get_schema(other).schema_str == V2.schema.text
    assert sorted(client.get_subjects_by_schema_id(other)) == ["copies-value", "events-value"]
    places = [(place.subject, place.version) for place in client.get_schema_versions(other)]
    assert places == [("copies-value", 1), ("events-value", 2)]
    assert client.get_schema_types() == ["AVRO"]
    assert client.get_global_mode() == "READWRITE"


def test_an_event_goes_through_confluents_serializers_and_either_version_is_read_by_the_other(
    client: SchemaRegistryClient,
) -> None:
    verdict = judge(
        event("e-1", datetime(2026, 11, 24, 8, tzinfo=UTC), user_id="u", tags=["a"], version="2.0")
    )
    assert isinstance(verdict, Accepted)
    place = SerializationContext("events", MessageField.VALUE)
    written = {}
    for version in (V1, V2):
        serialize = AvroSerializer(client, version.schema.text)
        written[version.major] = serialize(record_of(verdict, version), place)
    read_1, read_2 = (AvroDeserializer(client, version.schema.text) for version in (V1, V2))
    as_written = AvroDeserializer(client)
    assert as_written(written[2], place) == record_of(verdict, V2)
    assert read_1(written[2], place) == read_1(written[1], place) == record_of(verdict, V1)
    old = read_2(written[1], place)
    assert old is not None
    assert (old["payload"]["user_id"], old["payload"]["tags"], old["payload"]["version"]) == (None, [], "1.0")
    again = judge(event_of(as_written(written[2], place)))
    assert isinstance(again, Accepted)
    assert (again.id, again.user_id, again.tags) == ("e-1", "u", ("a",))


def test_a_producer_can_use_the_registered_version_without_the_right_to_register(
    registry: Settings, client: SchemaRegistryClient
) -> None:
    client.register_schema("events-value", Schema(V2.schema.text, "AVRO"))
    conf = {"auto.register.schemas": False, "use.latest.version": True}
    serialize = AvroSerializer(client_of(registry, READER), conf=conf)
    verdict = judge(event("e-1"))
    assert isinstance(verdict, Accepted)
    assert serialize(record_of(verdict, V2), SerializationContext("events", MessageField.VALUE))


def test_a_schema_that_breaks_the_level_is_refused_and_says_why(client: SchemaRegistryClient) -> None:
    client.register_schema("s", Schema(INT, "AVRO"))
    client.set_compatibility("s", "FULL")
    assert not client.test_compatibility("s", Schema(LONG, "AVRO"))
    with pytest.raises(
        SchemaRegistryError, match="version 1 cannot read data of the new version: type"
    ) as error:
        client.register_schema("s", Schema(LONG, "AVRO"))
    assert (error.value.http_status_code, error.value.error_code) == (409, 409)
    assert client.get_versions("s") == [1]
    client.set_compatibility("s", "BACKWARD")
    assert client.test_compatibility("s", Schema(LONG, "AVRO"))
    assert client.test_compatibility_all_versions("s", Schema(LONG, "AVRO"))
    client.register_schema("s", Schema(LONG, "AVRO"))
    assert client.get_versions("s") == [1, 2]


def test_levels_are_of_a_subject_or_of_all(client: SchemaRegistryClient) -> None:
    assert client.get_compatibility() == "BACKWARD"
    with pytest.raises(SchemaRegistryError) as error:
        client.get_compatibility("s")
    assert error.value.error_code == 40408
    client.set_compatibility(level="FORWARD")
    client.set_compatibility("s", "NONE")
    assert (client.get_compatibility(), client.get_compatibility("s")) == ("FORWARD", "NONE")
    assert client.get_config("s").compatibility_level is ConfigCompatibilityLevel.NONE
    client.register_schema("s", Schema(INT, "AVRO"))
    client.register_schema("s", Schema(STRING, "AVRO"))
    client.delete_config("s")
    assert not client.test_compatibility("s", Schema(LONG, "AVRO"))


BODY = {"schema": STRING}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/subjects/none/versions", None, 404, 40401),
        ("GET", "/subjects/none/versions/latest", None, 404, 40401),
        ("GET", "/subjects/s/versions/9", None, 404, 40402),
        ("GET", "/subjects/s/versions/0", None, 422, 42202),
        ("GET", "/subjects/s/versions/newest", None, 422, 42202),
        ("GET", "/subjects/s/versions/99999999999999999999", None, 422, 42202),
        ("GET", "/subjects/a%20b/versions", None, 422, 42208),
        ("GET", "/subjects/a%00b/versions", None, 422, 42208),
        ("GET", "/schemas/ids/999", None, 404, 40403),
        ("GET", "/schemas/ids/99999999999999999999", None, 404, 40403),
        ("GET", "/schemas/ids/x", None, 404, 40403),
        ("POST", "/subjects/none", BODY, 404, 40401),
        ("POST", "/subjects/s", BODY, 404, 40403),
        ("POST", "/subjects/s/versions", {"schema": "no schema"}, 422, 42201),
        ("POST", "/subjects/s/versions", {"schema": '{"type":"record"}'}, 422, 42201),
        ("POST", "/subjects/s/versions", {"schema": 5}, 422, 42201),
        ("POST", "/subjects/s/versions", {}, 422, 42201),
        ("POST", "/subjects/s/versions", [], 422, 42201),
        ("POST", "/subjects/s/versions", {"schema": STRING, "schemaType": "JSON"}, 422, 42201),
        ("POST", "/subjects/s/versions", {"schema": STRING, "references": [{"name": "x"}]}, 422, 42201),
        ("POST", "/subjects/s/versions", BODY, 409, 409),
        ("POST", "/compatibility/subjects/none/versions/latest", BODY, 404, 40401),
        ("POST", "/compatibility/subjects/s/versions/2", BODY, 404, 40402),
        ("PUT", "/config", {"compatibility": "SIDEWAYS"}, 422, 42203),
        ("PUT", "/config/s", {}, 422, 42203),
        ("GET", "/config/s", None, 404, 40408),
    ],
)
def test_every_refusal_has_confluents_number(
    http: httpx.Client, method: str, path: str, body: object, status: int, code: int
) -> None:
    assert http.post("/subjects/s/versions", json={"schema": INT}).json() == {"id": 1}
    answer = http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert len(answer.json()["message"]) < 1000


def test_what_compares_badly_is_explained_when_asked(http: httpx.Client) -> None:
    http.post("/subjects/s/versions", json={"schema": INT})
    path = "/compatibility/subjects/s/versions/latest"
    assert http.post(path, json=BODY).json() == {"is_compatible": False, "messages": []}
    told = http.post(path, params={"verbose": "true"}, json=BODY).json()["messages"]
    assert len(told) == 1
    assert "type mismatch" in told[0]


CHAIN = json.dumps(
    [
        {"type": "record", "name": f"R{n}", "fields": [{"name": "a", "type": f"R{n - 1}" if n else "int"}]}
        for n in range(1500)
    ]
)


@pytest.mark.parametrize(
    "schema",
    ["[" * 100_000, '{"type":"array","items":' * 1_000 + INT + "}" * 1_000, "\ud800", '"\x00"', "null", CHAIN,
     " " * 200_000, '{"type":"enum","name":"E","symbols":[{}]}', '{"type":"fixed","name":"F","size":1e400}',
     '{"type":"record","name":"R","fields":[{"name":"a b","type":"int"}]}'],
)  # fmt: skip
def test_no_schema_brings_the_registry_down(http: httpx.Client, schema: str) -> None:
    http.post("/subjects/s/versions", json={"schema": CHAIN})
    body = json.dumps({"schema": schema})
    header = {"Content-Type": "application/json"}
    for path in ("/subjects/t/versions", "/subjects/s/versions", "/compatibility/subjects/s/versions/latest"):
        assert http.post(path, content=body, headers=header).status_code in (200, 404, 409, 422)


def test_any_json_is_refused_or_taken_and_never_an_error_of_the_server(http: httpx.Client) -> None:
    words = st.sampled_from(["record", "enum", "array", "map", "int", "string", "R", "a", "", "null"])
    keys = st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "default", "size"])
    schemas = st.recursive(
        words | messages.ANY_JSON,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    )

    @quickly
    @given(schemas)
    def sent(schema: object) -> None:
        answer = http.post("/subjects/any/versions", json={"schema": json.dumps(schema)})
        assert answer.status_code in (200, 409, 422)

    sent()


def test_who_may_read_may_not_write_and_without_a_key_nothing_is_told(registry: Settings) -> None:
    address = registry.wotr_schema_registry_url
    reads = [
        ("GET", "/subjects"), ("GET", "/subjects/s/versions"), ("GET", "/subjects/s/versions/1"),
        ("GET", "/subjects/s/versions/1/schema"), ("POST", "/subjects/s"), ("GET", "/schemas/types"),
        ("GET", "/schemas/ids/1"), ("GET", "/schemas/ids/1/schema"), ("GET", "/schemas/ids/1/subjects"),
        ("GET", "/schemas/ids/1/versions"), ("POST", "/compatibility/subjects/s/versions/1"),
        ("POST", "/compatibility/subjects/s/versions"), ("GET", "/config"), ("GET", "/config/s"),
        ("GET", "/mode"), ("GET", "/mode/s"),
    ]  # fmt: skip
    writes = [
        ("POST", "/subjects/s/versions"), ("PUT", "/config"), ("PUT", "/config/s"), ("DELETE", "/config/s"),
    ]  # fmt: skip
    body = {"schema": INT, "compatibility": "NONE"}
    with httpx.Client(trust_env=False) as nobody, httpx.Client(auth=("", READER), trust_env=False) as reader:
        for method, path in [*reads, *writes]:
            assert nobody.request(method, address + path, json=body).status_code == 401
        for method, path in writes:
            assert reader.request(method, address + path, json=body).status_code == 403
        for method, path in reads:
            assert reader.request(method, address + path, json=body).status_code in (200, 404)


def test_the_same_schema_registered_by_many_at_once_gets_one_id(registry: Settings) -> None:
    def register(number: int) -> int:
        subject = "one" if number % 2 else f"other-{number}"
        return client_of(registry).register_schema(subject, Schema(V1.schema.text, "AVRO"))

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(register, range(16))) == {1}
    assert client_of(registry).get_versions("one") == [1]


def test_without_its_database_it_says_try_again_and_no_more(platform: Settings) -> None:
    away = platform.model_copy(update={"postgres_host": "127.0.0.1", "postgres_port": 1})
    with serving(away) as settings:
        answer = httpx.get(
            f"{settings.wotr_schema_registry_url}/subjects", auth=("", WRITER), trust_env=False, timeout=30
        )
    assert (answer.status_code, answer.json()["error_code"]) == (503, 50001)
    assert int(answer.headers["retry-after"]) > 0
    assert "postgres" not in answer.text.lower()
