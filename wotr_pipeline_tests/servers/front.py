"""A ClickHouse front of a test's own: its process, its users, its clients."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import clickhouse_connect
import requests
from clickhouse_connect.driver.client import Client

WRITER, WRITER_PASSWORD = "writer", "a long password: 'quoted' & ünicode"
READER, READER_PASSWORD = "reader", "another password"
CONFIGURATION = """\
<clickhouse>
    <named_collections>
        <wotr_objects>
            <url>http://127.0.0.1:9/</url>
            <access_key_id>key</access_key_id>
            <secret_access_key>the-secret-key</secret_access_key>
        </wotr_objects>
    </named_collections>
    <query_log>
        <database>system</database>
        <table>query_log</table>
        <flush_interval_milliseconds>7500</flush_interval_milliseconds>
    </query_log>
</clickhouse>
"""
DEADLINE_SECONDS = 60.0


class Front:
    """Starts at once; ``log`` is where its standard error goes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "front.log"
        self.configuration = directory / "clickhouse.xml"
        self.configuration.write_text(CONFIGURATION)
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self.port: int = chosen.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), env=self.environment(), stderr=log)
        wait_until(self._answers, "the front answers")

    def command(self) -> list[str]:
        module = "wotr_pipeline.servers.clickhouse_front"
        path, configuration = str(self.directory / "data"), str(self.configuration)
        return [
            sys.executable, "-m", module, "--path", path, "--port", str(self.port), "--config", configuration
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "CLICKHOUSE_USER": WRITER,
            "CLICKHOUSE_PASSWORD": WRITER_PASSWORD,
            "CLICKHOUSE_READER_USER": READER,
            "CLICKHOUSE_READER_PASSWORD": READER_PASSWORD,
        }

    def client(self, user: str = WRITER, password: str = WRITER_PASSWORD, **options: Any) -> Client:
        options = {"autogenerate_session_id": False, **options}
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=user, password=password, **options
        )

    def reader(self, **options: Any) -> Client:
        return self.client(READER, READER_PASSWORD, **options)

    def post(self, query: str | bytes, **parameters: str) -> requests.Response:
        """A request as a plain HTTP client makes it."""
        session = requests.Session()
        session.trust_env = False
        headers = {"X-ClickHouse-User": WRITER, "X-ClickHouse-Key": WRITER_PASSWORD.encode()}
        return session.post(
            self.address, params=parameters, data=query, headers=headers, timeout=DEADLINE_SECONDS
        )

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)

    def peak_memory(self) -> int:
        """Bytes of resident memory at its highest since ``forget_peak_memory``."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def forget_peak_memory(self) -> int:
        """Begin to measure anew; gives what it takes now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.peak_memory()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(f"{self.address}/ping", timeout=5).ok
        except requests.ConnectionError:
            return False


def wait_until(condition: Any, what: str) -> None:
    """Ask until it holds."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_SECONDS:.0f} s: {what}"
        time.sleep(0.02)
