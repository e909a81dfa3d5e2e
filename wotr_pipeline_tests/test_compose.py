"""What docker-compose.yml and the files that it mounts promise."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
import yaml

from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.servers.clickhouse_front.access import READER_SETTINGS, READER_SYSTEM_TABLES

COMPOSE = PROJECT_ROOT / "docker-compose.yml"
DAGSTERS_OWN = {"DAGSTER_POSTGRES_DB", "DAGSTER_HOME"}
"""Variables of dagster.yaml and of Dagster itself, which Settings does not read."""

STORES = {"redpanda", "minio", "postgres", "clickhouse"}
PIPELINE = {"init", "dagster-code", "dagster-webserver", "dagster-daemon", "gateway"}
EYES = {"prometheus", "alertmanager", "grafana", "jaeger"}
"""What watches the platform, and must come up when the platform does not."""
MAY_BE_EMPTY = {"SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


@pytest.fixture(params=sorted(STORES | PIPELINE | EYES))
def service(request: pytest.FixtureRequest, compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"][request.param] | {"name": request.param}
    return found


def _one_shot(service: dict[str, Any]) -> bool:
    return bool(service["restart"] == "no")


def test_it_follows_the_compose_specification() -> None:
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_holds_every_service_of_the_platform_and_no_untested_one(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == STORES | PIPELINE | EYES


def test_a_service_has_a_health_check_or_runs_once(service: dict[str, Any]) -> None:
    if _one_shot(service):
        assert "healthcheck" not in service
    else:
        assert service["healthcheck"].keys() >= {"test", "interval", "timeout", "retries", "start_period"}
        assert service["restart"] == "unless-stopped"


def test_an_image_is_pinned_to_one_release(service: dict[str, Any]) -> None:
    tag = service["image"].rpartition(":")[2]
    assert re.search(r"\d+\.\d+(\.\d+)?|RELEASE\.\d{4}-\d\d-\d\dT", tag), service["image"]


def test_logs_are_rotated_at_ten_megabytes_three_times(service: dict[str, Any]) -> None:
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def test_ports_are_bound_to_loopback(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_ports_are_the_ones_that_other_systems_know(compose: dict[str, Any]) -> None:
    published = {
        int(port.split(":")[1]) for one in compose["services"].values() for port in one.get("ports", [])
    }
    assert published == {9092, 9000, 9001, 5432, 8123, 3001, 8000, 3000, 9090, 9093, 16686}


def test_a_store_keeps_its_data_in_a_named_volume(compose: dict[str, Any]) -> None:
    for name in STORES:
        mounted = {volume.split(":")[0] for volume in compose["services"][name]["volumes"]}
        assert mounted & set(compose["volumes"]), name


def test_what_is_mounted_exists(service: dict[str, Any], compose: dict[str, Any]) -> None:
    sources = {volume.split(":")[0] for volume in service.get("volumes", [])} - set(compose["volumes"])
    assert [source for source in sources if not (PROJECT_ROOT / source).exists()] == []


def test_a_service_waits_for_what_it_needs(service: dict[str, Any], compose: dict[str, Any]) -> None:
    for needed, wait in service.get("depends_on", {}).items():
        once = _one_shot(compose["services"][needed])
        assert wait == {"condition": "service_completed_successfully" if once else "service_healthy"}


def test_the_pipeline_is_given_only_variables_that_it_reads(compose: dict[str, Any]) -> None:
    known = {field.upper() for field in Settings.model_fields} | DAGSTERS_OWN
    for name in PIPELINE:
        assert set(compose["services"][name]["environment"]) <= known


def test_the_pipeline_is_given_every_address_and_password(compose: dict[str, Any]) -> None:
    stores = ("kafka_bootstrap", "minio_", "postgres_", "clickhouse_")
    needed = {field.upper() for field in Settings.model_fields if field.startswith(stores)} | {
        "DAGSTER_POSTGRES_DB"
    }
    of_the_explorer = {"CLICKHOUSE_READER_USER", "CLICKHOUSE_READER_PASSWORD"}
    for name in PIPELINE:
        given = set(compose["services"][name]["environment"])
        assert given >= needed - (of_the_explorer if name != "gateway" else set())


def test_the_settings_accept_what_the_pipeline_is_given(compose: dict[str, Any], tmp_path: Any) -> None:
    for service in PIPELINE:
        given = compose["services"][service]["environment"]
        Settings(
            **{
                name.lower(): "of-24-characters-or-more-for-a-key" if value.startswith("${") else value
                for name, value in given.items()
                if name.lower() in Settings.model_fields
            }
        )


def test_every_secret_is_required_and_named_in_the_example(compose: dict[str, Any]) -> None:
    substituted = re.findall(r"\$\{(\w+)([^}]*)\}", COMPOSE.read_text())
    assert substituted
    assert all(rest == ":-" if name in MAY_BE_EMPTY else rest.startswith(":?") for name, rest in substituted)
    example = dict(re.findall(r"^(\w+)=(.*)$", (PROJECT_ROOT / ".env.example").read_text(), re.MULTILINE))
    in_files = {secret["environment"] for secret in compose["secrets"].values()}
    assert in_files <= MAY_BE_EMPTY
    assert example == {name: "" for name, _ in substituted} | dict.fromkeys(in_files, "")


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY|API_KEYS|ROOT_USER|SIGNING_KEY|TOKEN", name):
                assert value.startswith("${"), name


def test_what_watches_waits_for_nothing_and_changes_no_file_of_ours(compose: dict[str, Any]) -> None:
    for name in EYES:
        service = compose["services"][name]
        assert "depends_on" not in service, name
        ours = [volume for volume in service.get("volumes", []) if volume.startswith("./")]
        assert all(volume.endswith(":ro") for volume in ours), name


def test_prometheus_and_the_tracers_look_where_the_services_listen(compose: dict[str, Any]) -> None:
    configured = yaml.safe_load((PROJECT_ROOT / "observability" / "prometheus.yml").read_text())
    targets = {
        target
        for job in configured["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    assert targets == {"gateway:8000", "alertmanager:9093", "localhost:9090"}
    for name in ("gateway", "dagster-code"):
        environment = compose["services"][name]["environment"]
        assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://jaeger:4318"


def test_the_reader_of_the_explorer_is_one_that_the_database_server_has(compose: dict[str, Any]) -> None:
    users = ElementTree.parse(PROJECT_ROOT / "deploy" / "clickhouse" / "users.xml").getroot().find("users")
    assert users is not None
    reader = compose["services"]["gateway"]["environment"]["CLICKHOUSE_READER_USER"]
    assert users.find(reader) is not None


def test_the_databases_server_is_told_of_every_variable_its_configuration_reads(
    compose: dict[str, Any],
) -> None:
    given = set(compose["services"]["clickhouse"]["environment"])
    for name in ("config.xml", "users.xml"):
        tree = ElementTree.parse(PROJECT_ROOT / "deploy" / "clickhouse" / name)
        assert {node.get("from_env") for node in tree.iter() if node.get("from_env")} <= given


def test_the_user_of_the_pipeline_is_one_that_the_database_server_has(compose: dict[str, Any]) -> None:
    users = ElementTree.parse(PROJECT_ROOT / "deploy" / "clickhouse" / "users.xml").getroot().find("users")
    assert users is not None
    there = {user.tag for user in users if not user.get("remove")}
    assert compose["services"]["dagster-code"]["environment"]["CLICKHOUSE_USER"] in there


def test_the_server_holds_the_reader_to_what_the_embedded_front_does() -> None:
    root = ElementTree.parse(PROJECT_ROOT / "deploy" / "clickhouse" / "users.xml").getroot()
    reader = root.find("users/wotr_reader")
    profile = root.find(f"profiles/{root.findtext('users/wotr_reader/profile')}")
    assert reader is not None
    assert profile is not None
    of_server = {setting.tag: setting.text for setting in profile}
    # What only the embedded engine has is not known to a server.
    of_front = {name: value for name, value in READER_SETTINGS.items() if "python" not in name}
    assert of_front.items() <= of_server.items()
    grants = {query.text for query in reader.iterfind("grants/query")}
    tables = {f"GRANT SELECT ON system.{table}" for table in READER_SYSTEM_TABLES}
    assert grants == {"GRANT SELECT ON wotr.*"} | tables
    assert reader.find("access_management") is None


def test_the_webserver_and_the_daemon_look_for_the_code_server_where_it_listens(
    compose: dict[str, Any],
) -> None:
    workspace = yaml.safe_load((PROJECT_ROOT / "deploy" / "workspace.yaml").read_text())
    server = workspace["load_from"][0]["grpc_server"]
    assert f"--port={server['port']}" in compose["services"][server["host"]]["command"]


def test_the_image_is_given_every_file_it_copies() -> None:
    dockerfile = (PROJECT_ROOT / "deploy" / "Dockerfile").read_text()
    copied = {
        name for line in re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE) for name in line.split()[:-1]
    }
    copied = {name for name in copied if not name.startswith("--")}
    allowed = set(re.findall(r"^!(\S+)$", (PROJECT_ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == allowed
    assert all((PROJECT_ROOT / name).exists() for name in copied)
