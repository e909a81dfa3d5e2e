"""What docker-compose.celery.yml adds to docker-compose.yml: the same rules hold for the two together."""

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline_tests.test_compose import MAY_BE_EMPTY

BASE, OVERLAY = PROJECT_ROOT / "docker-compose.yml", PROJECT_ROOT / "docker-compose.celery.yml"
ADDED = {"redis", "dagster-worker"}
CHANGED = {"dagster-code", "dagster-webserver", "dagster-daemon"}
EXECUTOR = {"WOTR_EXECUTOR", "WOTR_CELERY_BROKER"}


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(BASE.read_text())
    return loaded


@pytest.fixture(scope="module")
def overlay() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(OVERLAY.read_text())
    return loaded


@pytest.fixture(params=sorted(ADDED))
def service(request: pytest.FixtureRequest, overlay: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = overlay["services"][request.param]
    return found


def test_it_follows_the_compose_specification() -> None:
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(OVERLAY),
    ]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_adds_redis_and_the_workers_and_changes_only_dagsters_programs(
    base: dict[str, Any], overlay: dict[str, Any]
) -> None:
    assert set(overlay["services"]) == ADDED | CHANGED
    assert not ADDED & set(base["services"])
    assert set(base["services"]) >= CHANGED


def test_every_program_that_loads_the_definitions_is_told_of_the_executor_and_has_the_package(
    overlay: dict[str, Any],
) -> None:
    for name in CHANGED | {"dagster-worker"}:
        service = overlay["services"][name]
        assert service["environment"].keys() >= EXECUTOR, name
        assert service["environment"]["WOTR_EXECUTOR"] == "celery"
        assert "celery" in service["build"]["args"]["EXTRAS"].split(), name
        assert service["image"] == overlay["services"]["dagster-worker"]["image"]
        assert service["image"] not in BASE.read_text(), "the image without the package keeps its name"


def test_a_service_has_a_health_check_and_rotated_logs_and_comes_up_again(
    service: dict[str, Any], base: dict[str, Any]
) -> None:
    assert service["healthcheck"].keys() >= {"test", "interval", "timeout", "retries", "start_period"}
    assert service["restart"] == "unless-stopped"
    assert service["logging"] == base["services"]["postgres"]["logging"]


def test_an_image_is_pinned_and_ports_are_bound_to_loopback(service: dict[str, Any]) -> None:
    assert re.search(r":\d+\.\d+\.\d+", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_worker_is_given_what_the_code_server_is_given(
    base: dict[str, Any], overlay: dict[str, Any]
) -> None:
    worker = overlay["services"]["dagster-worker"]
    code = (
        base["services"]["dagster-code"]["environment"] | overlay["services"]["dagster-code"]["environment"]
    )
    assert worker["environment"] == code
    assert set(worker["environment"]) - {"DAGSTER_POSTGRES_DB"} <= {
        field.upper() for field in Settings.model_fields
    }
    for name in ("cap_drop", "security_opt", "init"):
        assert worker[name] == base["services"]["dagster-code"][name]


def test_the_worker_reads_the_projects_file_and_runs_its_steps_for_dagsters_app(
    overlay: dict[str, Any],
) -> None:
    worker = overlay["services"]["dagster-worker"]
    mounted = dict(volume.split(":")[:2] for volume in worker["volumes"])
    assert f"--config-yaml={mounted['./deploy/celery/celery.yaml']}" in worker["command"]
    assert "--app=dagster_celery.app" in worker["command"]
    assert (PROJECT_ROOT / "deploy" / "celery" / "celery.yaml").exists()


def test_every_secret_is_required_and_named_in_the_example_and_none_stands_in_the_file() -> None:
    substituted = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", OVERLAY.read_text())
    assert all(rest == ":-" if name in MAY_BE_EMPTY else rest.startswith(":?") for name, rest in substituted)
    example = (PROJECT_ROOT / ".env.example").read_text()
    for name, _ in substituted:
        assert re.search(rf"^(# )?{name}=$", example, re.MULTILINE), name
    loaded = yaml.safe_load(OVERLAY.read_text())
    for service in loaded["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY|BROKER|SIGNING", name):
                assert "${" in value, name


def test_what_waits_in_redis_outlives_its_restart_and_is_never_thrown_out(overlay: dict[str, Any]) -> None:
    redis = overlay["services"]["redis"]
    configuration = redis["command"][-1]
    assert "appendonly yes" in configuration
    assert "maxmemory-policy noeviction" in configuration
    assert redis["volumes"] == ["redis-data:/data"]
    assert "redis-data" in overlay["volumes"]
