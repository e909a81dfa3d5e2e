"""What observability/ promises: it is valid, every alert is tried, says what to do, and leads to a page."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from wotr_pipeline.config import PROJECT_ROOT, Settings

from .configured import (
    DASHBOARDS,
    OBSERVABILITY,
    PROMETHEUS_OWN,
    alerts,
    expressions,
    metrics_of,
    tool,
    unknown,
)

SEVERITIES = {"P0": "incidents", "P1": "incidents", "P2": "platform-team", "P3": "platform-team"}
OF_THE_RUNBOOK = {
    "HighErrorRate": "P1",
    "HighLatency": "P1",
    "ServiceDown": "P0",
    "HighValidationFailures": "P2",
}
TITLES = {"WOTR FastAPI Dashboard", "WOTR Pipeline", "WOTR Data Quality", "WOTR Backups"}


@pytest.fixture(params=sorted(alerts()))
def alert(request: pytest.FixtureRequest) -> dict[str, Any]:
    return alerts()[request.param]


def _holds(*command: str) -> str:
    done = subprocess.run(
        [tool(command[0]), *command[1:]], capture_output=True, text=True, timeout=60, cwd=OBSERVABILITY
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "command",
    [
        "promtool check config prometheus.yml",
        "promtool check rules alerts.yml",
        "promtool test rules alerts_test.yml alerts_of_hours_test.yml",
        "amtool check-config alertmanager.yml",
    ],
)
def test_the_tools_accept_what_is_configured(command: str) -> None:
    _holds(*command.split())


def test_the_alerts_of_the_operators_runbook_have_its_severities() -> None:
    assert {name: alerts()[name]["labels"]["severity"] for name in OF_THE_RUNBOOK} == OF_THE_RUNBOOK


def test_an_alert_says_how_bad_it_is_what_happened_and_what_to_do_first(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in SEVERITIES
    assert 10 < len(alert["annotations"]["summary"]) < 80
    assert "First: " in alert["annotations"]["description"]


def test_an_alert_leads_to_a_page_that_exists(alert: dict[str, Any]) -> None:
    base = Settings.model_fields["wotr_runbook_url"].default
    page, _, anchor = alert["annotations"]["runbook_url"].removeprefix(f"{base}/").partition("#")
    file = PROJECT_ROOT / "docs" / page
    assert file.is_file(), page
    assert not anchor or anchor in _anchors(file)
    assert page == "runbook/dead-letters.md" or alert["alert"] in file.read_text()


def test_the_page_on_observability_has_every_alert_and_every_metric_that_is_asked_for() -> None:
    page = (PROJECT_ROOT / "docs" / "observability.md").read_text()
    for name, rule in alerts().items():
        (row,) = (line for line in page.splitlines() if line.startswith("|") and f"[{name}](" in line)
        assert row.startswith(f"| {rule['labels']['severity']} |"), name
        assert f"({rule['annotations']['runbook_url'].partition('/docs/')[2]})" in row, name
    for metric in {name for one in expressions() for name in metrics_of(one.query)} - PROMETHEUS_OWN:
        assert metric.removesuffix("_bucket") in page or metric.startswith("process_"), metric


def test_pages_of_the_runbook_lead_to_pages_that_exist() -> None:
    for page in (PROJECT_ROOT / "docs" / "runbook").glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            if "://" in path:
                continue
            file = (page.parent / path).resolve() if path else page
            assert file.is_file(), f"{page.name}: {target}"
            assert not anchor or anchor in _anchors(file), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_alert_is_tried_both_firing_and_silent() -> None:
    tried = [yaml.safe_load(file.read_text()) for file in OBSERVABILITY.glob("alerts*_test.yml")]
    cases = [case for file in tried for test in file["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(alerts())
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(alerts())


@pytest.mark.parametrize(("severity", "channel"), SEVERITIES.items())
def test_urgent_alerts_go_to_incidents_and_others_to_the_team(severity: str, channel: str) -> None:
    told = _holds(
        "amtool", "config", "routes", "test", "--config.file=alertmanager.yml", f"severity={severity}"
    )
    assert told.strip() == channel


def test_receivers_tell_both_when_it_begins_and_when_it_is_over() -> None:
    configured = yaml.safe_load((OBSERVABILITY / "alertmanager.yml").read_text())
    assert {receiver["name"] for receiver in configured["receivers"]} == set(SEVERITIES.values())
    for receiver in configured["receivers"]:
        (slack,) = receiver["slack_configs"]
        assert slack["channel"] == f"#{receiver['name']}"
        assert slack["send_resolved"] is True


@pytest.mark.parametrize(
    ("status", "title"), [("firing", "P0: ServiceDown"), ("resolved", "Over: ServiceDown")]
)
def test_a_message_says_what_it_is_and_leads_to_the_runbook(status: str, title: str, tmp_path: Path) -> None:
    alert = {
        "status": status,
        "annotations": {
            "summary": "kafka is down",
            "description": "First: look.",
            "runbook_url": "https://page",
        },
        "startsAt": "2026-11-25T02:00:00Z",
        "endsAt": "2026-11-25T03:00:00Z",
    }
    labels = {"alertname": "ServiceDown", "severity": "P0"}
    data = tmp_path / "message.json"
    data.write_text(json.dumps({"status": status, "commonLabels": labels, "alerts": [alert]}))

    def said(part: str) -> str:
        return _holds(
            *("amtool", "template", "render", "--template.glob=alertmanager.tmpl", f"--template.data={data}"),
            f'--template.text={{{{ template "wotr.{part}" . }}}}',
        )

    assert said("title") == title
    assert said("runbook") == "https://page"
    assert "kafka is down" in said("text")
    if status == "firing":
        assert "First: look." in said("text")
        assert "<https://page|Runbook>" in said("text")


def test_only_alerts_that_exist_are_held_back() -> None:
    configured = yaml.safe_load((OBSERVABILITY / "alertmanager.yml").read_text())
    matchers = [
        matcher
        for rule in configured["inhibit_rules"]
        for side in ("source_matchers", "target_matchers")
        for matcher in rule[side]
        if matcher.startswith("alertname")
    ]
    named = {name for matcher in matchers for name in re.findall(r"[A-Z]\w+", matcher)}
    assert named <= set(alerts())
    assert "ServiceDown" in named
    assert "GatewayDown" in named


def test_every_expression_is_one_that_prometheus_understands(tmp_path: Path) -> None:
    rules = [{"record": f"scratch:{number}", "expr": one.query} for number, one in enumerate(expressions())]
    scratch = tmp_path / "scratch.yml"
    scratch.write_text(yaml.safe_dump({"groups": [{"name": "scratch", "rules": rules}]}))
    _holds("promtool", "check", "rules", str(scratch))


def test_the_dashboards_that_operators_know_are_there_and_small() -> None:
    boards = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert {board["title"] for board in boards} == TITLES
    assert len({board["uid"] for board in boards}) == len(boards)
    for board in boards:
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) <= 16
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] == "prometheus"
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_the_dashboards_ask_the_data_source_that_is_provisioned() -> None:
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "wotr.yml").read_text())["providers"]
    compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
    mounted = [volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"]]
    assert ["./observability/grafana/dashboards", provider["options"]["path"]] in mounted


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ('sum by (le, route) (rate(a_bucket{route!~"b.*|c"}[5m])) > 1', {"a_bucket"}),
        ('label_replace(a == 0, "d", "e", "", "") or on () absent(b{f="g"})', {"a", "b"}),
        ("time() - a offset 5m > 8 * 86400 unless on (x) b == bool 1e9", {"a", "b"}),
    ],
)
def test_the_metrics_of_a_query_are_found(query: str, named: set[str]) -> None:
    assert metrics_of(query) == named


def test_a_metric_that_nobody_exports_is_found() -> None:
    used = {name for one in expressions() for name in metrics_of(one.query)}
    assert list(unknown(used, expressions())) == []
    without = list(unknown(used - {"wotr_stuck_batches"}, expressions()))
    assert "alert StuckBatches: wotr_stuck_batches" in without
    assert all(line.endswith(": wotr_stuck_batches") for line in without)
