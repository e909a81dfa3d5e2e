"""CPU time and memory of processes while something runs.

Belongs here: sampling by psutil. Does not belong here: starting what is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event, Thread
from types import TracebackType

import psutil

SAMPLE_SECONDS = 0.05


@dataclass
class Usage:
    """CPU seconds spent (children included) and peak resident bytes of the process alone, by name."""

    cpu: dict[str, float] = field(default_factory=dict)
    peak_rss: dict[str, int] = field(default_factory=dict)


class Watch:
    """``with Watch({"engine": pid}) as usage: …``; ``usage`` is complete after the block."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._usage = Usage()
        self._stop = Event()
        self._thread = Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Usage:
        self._usage.cpu = {name: -_cpu_seconds(process) for name, process in self._processes.items()}
        self._thread.start()
        return self._usage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for name, process in self._processes.items():
            self._usage.cpu[name] += _cpu_seconds(process)

    def _sample(self) -> None:
        peak = self._usage.peak_rss
        while True:
            for name, process in self._processes.items():
                peak[name] = max(peak.get(name, 0), process.memory_info().rss)
            if self._stop.wait(SAMPLE_SECONDS):
                return


def _cpu_seconds(process: psutil.Process) -> float:
    total = 0.0
    for member in (process, *process.children(recursive=True)):
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
