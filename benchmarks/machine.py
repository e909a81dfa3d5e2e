"""The machine that was measured on, in one paragraph. Numbers without it mean nothing.

Belongs here: what the operating system tells. Does not belong here: measuring.
"""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("chdb", "pyarrow", "confluent-kafka", "clickhouse-connect", "dagster")


def describe() -> str:
    """CPU, cores, memory, versions, and how busy the machine was before anything was started."""
    load = os.getloadavg()[0]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_cpu()}, {psutil.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.platform(terse=True)}, "
        f"Python {platform.python_version()}, {packages}. Load of others before the start: {load:.1f}."
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
