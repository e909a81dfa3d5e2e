"""A real Redis, real Celery workers and real runs, in processes of their own.

Belongs here: starting and ending them. Does not belong here: what is asserted about them.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import psutil
import pytest
import redis
from dagster._cli import create_dagster_cli
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.definitions import INGEST_JOB
from wotr_pipeline_tests.conftest import environment_of
from wotr_pipeline_tests.forked import Forked

WORKERS_CONFIG = PROJECT_ROOT / "deploy" / "celery" / "celery.yaml"
PROGRAMS = Path(sys.executable).parent
PATIENCE = 90.0
Found = TypeVar("Found")


@dataclass(frozen=True)
class CeleryPlace:
    """What every process of the test is given."""

    settings: Settings
    home: Path
    environment: dict[str, str]

    @contextlib.contextmanager
    def worker(self, config: Path = WORKERS_CONFIG) -> Iterator[psutil.Process]:
        """One worker of one process; the handle is of Celery's main process. Killed with its children at the end."""
        log = (self.home / "worker.log").open("ab")
        command = [
            PROGRAMS / "dagster-celery",
            "worker",
            "start",
            "-A",
            "dagster_celery.app",
            "-l",
            "WARNING",
        ]
        started = subprocess.Popen(
            [*command, "-y", config, "--", "--concurrency=1", "--without-mingle"],
            env=self.environment,
            cwd=self.home,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        wrapper = psutil.Process(started.pid)
        try:
            yield eventually(lambda: next(iter(wrapper.children()), None))
        finally:
            kill_all(wrapper)
            started.wait()
            log.close()

    @contextlib.contextmanager
    def run(self, partition: str) -> Iterator["Run"]:
        """Launch ``ingest_hour`` as Dagster's run processes do; it ends when the run does, or the block."""
        log = self.home / f"run-{uuid4()}.log"
        with Forked(execute_job, self.settings, self.environment, self.home, log, partition) as process:
            yield Run(process, log)


@dataclass(frozen=True)
class Run:
    """A run's process."""

    process: Forked
    log: Path

    def ended(self) -> tuple[int | None, str]:
        """Wait for its end: its exit code, and what it said."""
        code, complaint = self.process.ended()
        return code, self.log.read_text() + complaint


def execute_job(
    settings: Settings, environment: dict[str, str], home: Path, log: Path, partition: str
) -> None:
    """``dagster job execute`` in a process that has imported it already."""
    del settings
    os.environ.update(environment)
    os.chdir(home)
    with log.open("wb") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    config = home / "run.yaml"
    config.write_text("ops: {ingest: {config: {reprocess: false}}}\n")
    arguments = ["job", "execute", "-m", "wotr_pipeline.definitions", "-j", INGEST_JOB, "-c", str(config)]
    create_dagster_cli()([*arguments, "--tags", f'{{"dagster/partition": "{partition}"}}'])


@contextlib.contextmanager
def celery_place(settings: Settings, home: Path) -> Iterator[CeleryPlace]:
    """Redis and a DAGSTER_HOME in ``home``; the test is skipped where Redis is missing."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is missing: `make redis` installs it (Debian, as root)")
    shutil.copy(PROJECT_ROOT / "dagster.yaml", home)
    port = _free_port()
    server = subprocess.Popen(
        [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", home, "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        broker = f"redis://127.0.0.1:{port}/0"
        connection = redis.Redis.from_url(broker)
        Retrying(
            retry=retry_if_exception_type(redis.ConnectionError),
            stop=stop_after_delay(PATIENCE),
            wait=wait_fixed(0.05),
            reraise=True,
        )(connection.ping)
        connection.close()
        environment = environment_of(settings) | {
            "WOTR_EXECUTOR": "celery",
            "WOTR_CELERY_BROKER": broker,
            "DAGSTER_HOME": str(home),
            "DAGSTER_POSTGRES_DB": settings.dagster_postgres_db,
            "PATH": f"{PROGRAMS}:/usr/bin:/bin",
        }
        yield CeleryPlace(settings, home, environment)
    finally:
        server.kill()
        server.wait()


def kill_all(process: psutil.Process) -> None:
    """SIGKILL for the process and all below it, as when the machine is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=PATIENCE)


def eventually(look: Callable[[], Found | None]) -> Found:
    """What ``look`` finds, as soon as it finds something; fails after a minute and a half."""
    waiting = Retrying(
        retry=retry_if_result(lambda found: not found), stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1)
    )
    found = waiting(look)
    assert found is not None
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
