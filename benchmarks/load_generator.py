"""Vegeta, the load generator: open loop, so that a slow answer does not hide the requests that wait behind it.

Belongs here: finding or building it, an attack at a constant rate, its report. Does not belong here: what is sent.
It is taken from the PATH, or built once with Go; where neither is there, the caller is told.
https://github.com/tsenart/vegeta
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

VERSION = "v12.12.0"


class NoLoadGeneratorError(Exception):
    """There is no vegeta, and no Go to build it with."""


@dataclass(frozen=True)
class Report:
    """What an attack found. Latencies in milliseconds, of all requests, those that failed too."""

    requests: int
    rate: float
    """Requests a second that were sent."""
    p50: float
    p95: float
    p99: float
    statuses: Mapping[str, int]
    """0 is a request without an answer."""

    @property
    def failed(self) -> int:
        """Requests that were not answered with 202."""
        return self.requests - self.statuses.get("202", 0)


def vegeta() -> str:
    """Path of the program.

    Raises:
        NoLoadGeneratorError: it is not there and cannot be built.
    """
    found = shutil.which("vegeta")
    if found:
        return found
    directory = user_cache_path("wotr", ensure_exists=True) / f"vegeta-{VERSION}"
    built = directory / "vegeta"
    if not built.exists():
        go = shutil.which("go")
        if go is None:
            raise NoLoadGeneratorError("vegeta is not on the PATH, and there is no Go to build it with")
        subprocess.run(
            [go, "install", f"github.com/tsenart/vegeta/v12@{VERSION}"],
            env={**os.environ, "GOBIN": str(directory)},
            check=True,
            capture_output=True,
        )
    return str(built)


def write_targets(path: Path, url: str, headers: Mapping[str, str], bodies: Iterable[bytes]) -> None:
    """One request a line, in vegeta's JSON format."""
    common = {name: [value] for name, value in headers.items()}
    with path.open("w", encoding="ascii") as file:
        for body in bodies:
            target = {"method": "POST", "url": url, "body": base64.b64encode(body).decode(), "header": common}
            file.write(json.dumps(target) + "\n")


def attack(targets: Path, per_second: int, seconds: int, connections: int) -> Report:
    """Send the targets at a constant rate, over connections that are kept alive."""
    program = vegeta()
    results = targets.with_suffix(".results")
    subprocess.run(
        [
            program,
            "attack",
            "-format=json",
            "-lazy",
            f"-targets={targets}",
            f"-rate={per_second}/1s",
            f"-duration={seconds}s",
            f"-max-workers={connections}",
            f"-connections={connections}",
            "-timeout=30s",
            f"-output={results}",
        ],
        check=True,
    )
    told = subprocess.run([program, "report", "-type=json", str(results)], check=True, capture_output=True)
    results.unlink()
    report = json.loads(told.stdout)
    latencies = report["latencies"]
    return Report(
        requests=report["requests"],
        rate=report["rate"],
        p50=latencies["50th"] / 1e6,
        p95=latencies["95th"] / 1e6,
        p99=latencies["99th"] / 1e6,
        statuses=report["status_codes"],
    )
