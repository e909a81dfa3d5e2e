"""What deploy/helm/ promises: it is dagster.yaml and docker-compose.yml in the words of Dagster's Helm chart.

The chart itself is not here. ``described_instance`` writes the dagster.yaml that the chart's
templates/configmap-instance.yaml would, and Dagster's own schema and dagster-k8s' own code judge it.
"""

import re
from collections.abc import Iterator
from typing import Any

import kubernetes
import pytest
import yaml
from dagster._config import Shape, process_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
from packaging.version import Version

from wotr_pipeline.automation.executor import CELERY
from wotr_pipeline.config import PROJECT_ROOT, Settings

HELM = PROJECT_ROOT / "deploy" / "helm"
DAGSTER_YAML = yaml.safe_load((PROJECT_ROOT / "dagster.yaml").read_text())
NOT_IN_A_CLUSTER = {
    "storage",  # the chart writes it from `postgresql`
    "code_servers",  # those that Dagster starts itself; here they are deployments
}
CHARTS_KEYS = {
    *("global", "nameOverride", "fullnameOverride", "rbacEnabled", "imagePullSecrets", "dagsterWebserver"),
    *(
        "computeLogManager",
        "pythonLogs",
        "dagster-user-deployments",
        "scheduler",
        "runLauncher",
        "postgresql",
    ),
    *("generatePostgresqlPasswordSecret", "generateCeleryConfigSecret", "rabbitmq", "redis", "flower"),
    *("ingress", "dagsterDaemon", "busybox", "extraManifests", "migrate", "telemetry", "serviceAccount"),
    *("retention", "additionalInstanceConfig", "pipelineRun"),
}
"""Of the chart's values.yaml. A key that it does not know, it ignores without a word."""


def _merged(base: Any, over: Any) -> Any:
    """As Helm lays one values file on another: mappings are merged, all else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {key: _merged(base.get(key), value) for key, value in over.items()}
    return over


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _values(*names: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in names:
        merged = _merged(merged, yaml.safe_load((HELM / name).read_text()))
    return merged


@pytest.fixture(params=[("values.yaml",), ("values.yaml", "values-celery.yaml")], ids=["plain", "celery"])
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    return _values(*request.param)


def _run_launcher(values: dict[str, Any]) -> dict[str, Any]:
    given = dict(values["runLauncher"]["config"]["k8sRunLauncher"])
    named = {key: [one["name"] for one in given.pop(key)] for key in ("envConfigMaps", "envSecrets")}
    return {
        **{_snake(key): value for key, value in given.items() if key != "runK8sConfig"},
        **{_snake(key): value for key, value in named.items()},
        "run_k8s_config": {_snake(key): value for key, value in given["runK8sConfig"].items()},
        "job_namespace": "wotr",
        "service_account_name": "wotr-dagster",
        "dagster_home": values["global"]["dagsterHome"],
        "instance_config_map": "wotr-dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
    }


def described_instance(values: dict[str, Any]) -> dict[str, Any]:
    """The dagster.yaml of these values."""
    daemon = values["dagsterDaemon"]
    coordinator = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert not daemon["runRetries"]["enabled"], "it would be said twice"
    return {
        "run_launcher": {
            "module": "dagster_k8s",
            "class": values["runLauncher"]["type"],
            "config": _run_launcher(values),
        },
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": daemon["runCoordinator"]["type"],
            "config": {_snake(key): value for key, value in coordinator.items()},
        },
        **{
            _snake(part): {_snake(key): value for key, value in daemon[part].items()}
            for part in ("runMonitoring", "sensors", "schedules")
        },
        "retention": {
            _snake(kind): {"purge_after_days": limits["purgeAfterDays"]}
            for kind, limits in values["retention"].items()
            if kind != "enabled"
        },
        "python_logs": {_snake(key): value for key, value in values["pythonLogs"].items()},
        "telemetry": values["telemetry"],
        **values["additionalInstanceConfig"],
    }


def test_the_chart_knows_every_part(values: dict[str, Any]) -> None:
    assert set(values) <= CHARTS_KEYS


def test_dagster_accepts_the_instance_that_the_values_describe(values: dict[str, Any]) -> None:
    done = process_config(Shape(dagster_instance_config_schema()), described_instance(values))
    assert done.success, done.errors


def test_the_run_launcher_accepts_its_part_with_run_pods_resources_and_lifetime(
    values: dict[str, Any],
) -> None:
    config = described_instance(values)["run_launcher"]["config"]
    done = process_config(K8sRunLauncher.config_type(), config)
    assert done.success, done.errors
    wrong = process_config(K8sRunLauncher.config_type(), config | {"ttl": 5})
    assert not wrong.success, "the schema would not notice a wrong word"


def test_the_job_of_a_run_ends_once_is_kept_a_day_and_has_the_image_variables_and_secrets(
    values: dict[str, Any],
) -> None:
    launcher = process_config(K8sRunLauncher.config_type(), _run_launcher(values)).value
    assert launcher is not None
    [deployment] = values["dagster-user-deployments"]["deployments"]
    image = f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    context = K8sContainerContext.create_from_config(
        {"k8s": {key: launcher[key] for key in ("resources", "run_k8s_config", "security_context")}}
    )
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(
            job_image=image,
            dagster_home=launcher["dagster_home"],
            instance_config_map=launcher["instance_config_map"],
            postgres_password_secret=launcher["postgres_password_secret"],
        ),
        ["dagster", "api", "execute_run"],
        "dagster-run-1",
        context.run_k8s_config,
    )
    spec = kubernetes.client.ApiClient().sanitize_for_serialization(job)["spec"]
    assert spec["ttlSecondsAfterFinished"] == 86400
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 120
    [container] = spec["template"]["spec"]["containers"]
    assert container["image"] == image
    assert container["resources"] == values["runLauncher"]["config"]["k8sRunLauncher"]["resources"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_it_says_what_dagster_yaml_says(values: dict[str, Any]) -> None:
    described = described_instance(values)
    coordinator = described.pop("run_coordinator")
    launcher = described.pop("run_launcher")
    assert launcher["class"] == "K8sRunLauncher"
    limits = {key: coordinator["config"][key] for key in ("max_concurrent_runs", "tag_concurrency_limits")}
    assert limits == DAGSTER_YAML["concurrency"]["runs"]
    ours = DAGSTER_YAML["run_coordinator"]
    assert coordinator["class"] == ours["class"]
    assert coordinator["config"].items() >= ours["config"].items()
    # A default of the chart that Dagster has too.
    assert described["run_monitoring"].pop("free_slots_after_run_end_seconds") == 0
    assert described == {
        key: value
        for key, value in DAGSTER_YAML.items()
        if key not in NOT_IN_A_CLUSTER | {"run_coordinator", "concurrency"}
    }


def test_the_storage_is_the_one_of_dagster_yaml_and_its_password_comes_from_a_secret(
    values: dict[str, Any],
) -> None:
    assert values["postgresql"] == {
        "enabled": False,
        "postgresqlHost": "postgres",
        "postgresqlUsername": "wotr",
        "postgresqlPassword": "",
        "postgresqlDatabase": "dagster",
        "service": {"port": 5432},
    }
    assert values["generatePostgresqlPasswordSecret"] is False
    assert values["global"]["postgresqlSecretName"]


def test_every_program_has_the_projects_image_and_bounded_memory_and_may_do_little(
    values: dict[str, Any],
) -> None:
    [code] = values["dagster-user-deployments"]["deployments"]
    for program in (code, values["dagsterWebserver"], values["dagsterDaemon"]):
        assert program["image"] == code["image"]
        assert program["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in program["resources"]["limits"]
        assert program["podSecurityContext"]["runAsNonRoot"] is True
        assert program["securityContext"]["allowPrivilegeEscalation"] is False
        assert {"name": "wotr-secrets"} in program["envSecrets"]
    assert code["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert code["dagsterApiGrpcArgs"] == ["--module-name", "wotr_pipeline.definitions"]


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)
    elif isinstance(value, str):
        yield path, value


def test_no_secret_stands_in_the_files(values: dict[str, Any]) -> None:
    for path, text in _texts(values):
        last = path.rpartition(".")[2].lower()
        if re.search("password|access_?key|secret_?key|broker|token", last) and "secretKeyRef" not in path:
            assert text == "", path
        assert not re.search(r"://[^/\s]*:[^/\s]*@", text), path


def test_the_secrets_and_variables_to_be_there_first_are_ones_that_are_read() -> None:
    head = (HELM / "values.yaml").read_text().split("\nglobal:")[0]
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", head))
    assert {"MINIO_SECRET_KEY", "POSTGRES_PASSWORD", "CLICKHOUSE_PASSWORD"} <= named
    assert named <= {field.upper() for field in Settings.model_fields}


def test_the_charts_version_in_the_instructions_is_the_locked_dagsters() -> None:
    locked = re.search(r"^dagster==(\S+) ", (PROJECT_ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    for name in ("values.yaml", "values-celery.yaml"):
        [named] = re.findall(r"--version (\S+)", (HELM / name).read_text())
        assert Version(named) == Version(locked[1])


def test_the_celery_file_replaces_the_code_server_by_the_same_with_the_executor_added() -> None:
    [plain] = _values("values.yaml")["dagster-user-deployments"]["deployments"]
    [celery] = _values("values-celery.yaml")["dagster-user-deployments"]["deployments"]
    assert celery.pop("env") == [{"name": "WOTR_EXECUTOR", "value": "celery"}]
    celery["envSecrets"].remove({"name": "wotr-celery"})
    assert celery == plain


def test_kubernetes_accepts_the_workers_and_they_are_told_what_the_runs_are() -> None:
    config, deployment = _values("values-celery.yaml")["extraManifests"]
    assert yaml.safe_load(config["data"]["celery.yaml"]) == {"execution": {"config": CELERY}}
    kind = kubernetes.client.V1Deployment
    model = k8s_model_from_dict(kind, k8s_snake_case_dict(kind, deployment))
    [container] = model.spec.template.spec.containers
    mounted = {mount.mount_path: mount.name for mount in container.volume_mounts}
    assert f"--config-yaml={next(iter(mounted))}/celery.yaml" in container.command
    assert {volume.name for volume in model.spec.template.spec.volumes} == set(mounted.values())
    assert model.spec.template.metadata.labels == model.spec.selector.match_labels
    with pytest.raises(Exception, match="Unexpected keys"):
        k8s_model_from_dict(kind, k8s_snake_case_dict(kind, deployment | {"specification": {}}))
