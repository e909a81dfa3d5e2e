"""What a server's processes really use.

Belongs here: reading that from the system. Does not belong here: which process a server has (``supervision.py``).
"""

import time
from dataclasses import dataclass

import psutil

CPU_SECONDS = 0.2
"""A share of time needs some time."""


@dataclass(frozen=True)
class Resources:
    """A process and all that it started, together. ``cpu_percent``: of one processor."""

    processes: int
    memory_bytes: int
    cpu_percent: float
    open_files: int


def resources(pid: int) -> Resources | None:
    """What it uses now; None if it has ended."""
    try:
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
    except psutil.Error:
        return None
    for process in family:
        _of(process, "cpu_percent")
    time.sleep(CPU_SECONDS)
    return Resources(
        processes=len(family),
        memory_bytes=int(sum(_of(process, "memory_info") for process in family)),
        cpu_percent=round(sum(_of(process, "cpu_percent") for process in family), 1),
        open_files=int(sum(_of(process, "num_fds") for process in family)),
    )


def _of(process: psutil.Process, what: str) -> float:
    try:
        value = getattr(process, what)()
    except psutil.Error:
        return 0.0  # it ended meanwhile, or is somebody else's
    return float(value.rss if what == "memory_info" else value)
