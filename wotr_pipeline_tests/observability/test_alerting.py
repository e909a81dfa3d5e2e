"""From a metric to a message: a real Prometheus and a real Alertmanager with our rules and routes.

Only times are shorter, and the messages go to the test instead of Slack.
"""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from wotr_pipeline.servers.data_directory import free_port

from ..topics import wait_until
from .configured import OBSERVABILITY, alerts, tool

SECONDS = 60.0


@dataclass
class Platform:
    """What the gateway would export, and what reaches the people on call."""

    metrics: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    alertmanager: str = ""

    def told(self, alert: str, status: str) -> list[dict[str, Any]]:
        """Messages about an alert."""
        return [
            message
            for message in self.messages
            if message["status"] == status and message["groupLabels"]["alertname"] == alert
        ]

    def states(self) -> dict[str, str]:
        """What Alertmanager does with each alert that it knows."""
        answer = httpx.get(f"{self.alertmanager}/api/v2/alerts", timeout=5, trust_env=False).json()
        return {one["labels"]["alertname"]: one["status"]["state"] for one in answer}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Platform]:
    prometheus, alertmanager = tool("prometheus"), tool("prometheus-alertmanager")
    found = Platform()
    ports = {name: free_port() for name in ("prometheus", "alertmanager")}
    found.alertmanager = f"http://127.0.0.1:{ports['alertmanager']}"
    with contextlib.ExitStack() as stack:
        found.port = stack.enter_context(_server(found))
        _configure(tmp_path, found.port, ports)
        for name, command in (
            (
                "alertmanager",
                [
                    alertmanager,
                    f"--config.file={tmp_path}/alertmanager.yml",
                    f"--storage.path={tmp_path}/alertmanager",
                    f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
                    "--cluster.listen-address=",
                ],
            ),
            (
                "prometheus",
                [
                    prometheus,
                    f"--config.file={tmp_path}/prometheus.yml",
                    f"--storage.tsdb.path={tmp_path}/prometheus",
                    f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
                    # It learns of Alertmanager some seconds after its start: what it said before is said again.
                    "--rules.alert.resend-delay=1s",
                ],
            ),
        ):
            stack.enter_context(_process(name, command, tmp_path, ports[name]))
        yield found


@contextlib.contextmanager
def _server(platform: Platform) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(platform.metrics.encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            platform.messages.append(json.loads(body))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _configure(directory: Path, port: int, ports: dict[str, int]) -> None:
    """Our configuration, with other addresses and shorter times."""
    watching = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    watching["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    told = {"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}
    watching["alerting"]["alertmanagers"] = [told]
    (job,) = (job for job in watching["scrape_configs"] if job["job_name"] == "gateway")
    watching["scrape_configs"] = [job | {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(watching))

    rules = yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    (directory / "alerts.yml").write_text(yaml.safe_dump(rules))

    telling = yaml.safe_load((OBSERVABILITY / "alertmanager.yml").read_text())
    del telling["global"]["slack_api_url_file"], telling["templates"]
    for route in (telling["route"], *telling["route"]["routes"]):
        route.update(group_wait="1s", group_interval="1s")
    hook = {"url": f"http://127.0.0.1:{port}/", "send_resolved": True}
    telling["receivers"] = [{"name": one["name"], "webhook_configs": [hook]} for one in telling["receivers"]]
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(telling))


@contextlib.contextmanager
def _process(name: str, command: list[str], directory: Path, port: int) -> Iterator[None]:
    log = directory / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=directory)
    try:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(httpx.TransportError):
                address = f"http://127.0.0.1:{port}/-/ready"
                return httpx.get(address, timeout=2, trust_env=False).status_code == 200
            return False

        wait_until(ready, SECONDS)
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_a_store_that_is_down_reaches_those_on_call_once_with_its_runbook_and_so_does_its_end(
    watched: Platform,
) -> None:
    up = "postgres_status 1\nclickhouse_status 1\nminio_status 1\n"
    stale = 'wotr_collected_timestamp_seconds{source="kafka"} 1\n'
    watched.metrics = f"{up}kafka_status 0\n{stale}"

    wait_until(lambda: bool(watched.told("ServiceDown", "firing")), SECONDS)
    message = watched.told("ServiceDown", "firing")[0]
    assert message["receiver"] == "incidents"
    (alert,) = message["alerts"]
    assert alert["labels"]["severity"] == "P0"
    assert alert["labels"]["service"] == "kafka"
    assert alert["annotations"]["summary"] == "kafka is down"
    assert alert["annotations"]["runbook_url"] == alerts()["ServiceDown"]["annotations"]["runbook_url"]

    # What follows from it is known, and not said as well.
    wait_until(lambda: watched.states().get("CollectorStale") == "suppressed", SECONDS)

    watched.metrics = f"{up}kafka_status 1\n{stale}"
    wait_until(lambda: bool(watched.told("ServiceDown", "resolved")), SECONDS)
    wait_until(lambda: bool(watched.told("CollectorStale", "firing")), SECONDS)
    assert watched.told("CollectorStale", "firing")[0]["receiver"] == "platform-team"


def test_a_gateway_that_is_gone_is_the_only_thing_said(watched: Platform) -> None:
    # A scrape that cannot be read is one that failed.
    watched.metrics = "not a metric {"
    wait_until(lambda: bool(watched.told("GatewayDown", "firing")), SECONDS)
    wait_until(lambda: watched.states().get("BackupMissing") == "suppressed", SECONDS)
    assert watched.told("GatewayDown", "firing")[0]["receiver"] == "incidents"
