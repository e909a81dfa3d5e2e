"""Apache Kafka's jars: resolved from Maven Central once a user, checked against pinned checksums.

Belongs here: which Kafka, where its jars are kept, and that they are the ones we expect.
Does not belong here: running Kafka (``kafka.py``).

The jars go to the user's cache directory (``~/.cache/wotr`` on Linux, ``WOTR_CACHE_DIR`` overrides),
so a second data directory reuses them.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path

import platformdirs
import requests
from filelock import FileLock
from jgo.maven import Dependency, MavenContext, PythonResolver

from wotr_pipeline.servers.server import ServerError

KAFKA_VERSION = "4.1.0"
KAFKA = ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION)
LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3")
"""Without a binding for slf4j 1.7 Kafka logs nothing. The version is that of Kafka's own log4j-core, so
the jar itself is all that is missing (resolved together, log4j's own wishes would change Kafka's)."""
CHECKSUMS = "kafka_jars.sha256"
"""Package data, one line a jar as ``sha256sum`` prints it."""
DOWNLOAD_SECONDS = 30
DOWNLOADS_AT_ONCE = 8


def directory() -> Path:
    """Where the jars of this Kafka version lie once ``fetch`` has returned."""
    configured = os.environ.get("WOTR_CACHE_DIR")
    base = Path(configured) if configured else platformdirs.user_cache_path("wotr", appauthor=False)
    return base / f"kafka-{KAFKA_VERSION}"


@cache
def pinned() -> dict[str, str]:
    """The expected jars: file name to sha256."""
    lines = files(__package__).joinpath(CHECKSUMS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def fetch() -> None:
    """Make sure the jars are there, downloading them (45 MB) where they are not.

    Raises:
        ServerError: Maven Central cannot be reached, or served something else than expected.
    """
    target = directory()
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if target.exists():
                return
            # Resolved beside the final place and renamed when whole: a download that was cut off
            # can never be taken for a jar.
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="resolving-") as scratch:
                jars = _resolve(Path(scratch) / "repository")
                complete = Path(scratch) / "complete"
                complete.mkdir()
                for jar in jars:
                    shutil.move(jar, complete / jar.name)
                _check(complete)
                complete.rename(target)
    except OSError as error:  # requests' errors are OSErrors too
        if isinstance(error, requests.RequestException):
            raise ServerError(_unreachable(type(error).__name__)) from None
        raise ServerError(f"kafka: its jars cannot be stored in {target.parent}: {error.strerror}.") from None


def _resolve(repository: Path) -> list[Path]:
    logging.getLogger("jgo").setLevel(logging.ERROR)
    context = MavenContext(resolver=PythonResolver(), repo_cache=repository, timeout=DOWNLOAD_SECONDS)
    kafka, logging_binding = (
        Dependency(context.project(group, artifact).at_version(version).artifact())
        for group, artifact, version in (KAFKA, LOGGING)
    )
    try:
        given, required = context.resolver.resolve([kafka])
        artifacts = [dependency.artifact for dependency in (*given, *required, logging_binding)]
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as downloads:
            return list(downloads.map(lambda artifact: artifact.resolve(), artifacts))
    except (RuntimeError, ValueError) as error:
        raise ServerError(_unreachable(f"{type(error).__name__}: {str(error)[:200]}")) from None


def _check(jars: Path) -> None:
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars.iterdir()}
    wrong = sorted(name for name in found.keys() | pinned().keys() if found.get(name) != pinned().get(name))
    if wrong:
        raise ServerError(
            f"kafka: {len(wrong)} of {len(pinned())} jars from Maven Central are missing or not the pinned "
            f"ones ({', '.join(wrong[:3])}). Nothing was installed. If a mirror stands in between, check it."
        )


def _unreachable(reason: str) -> str:
    return (
        f"kafka: Apache Kafka {KAFKA_VERSION} is not in {directory()} and Maven Central "
        f"(https://repo.maven.apache.org) did not deliver it ({reason}). Check the network and the proxy "
        "(HTTPS_PROXY, REQUESTS_CA_BUNDLE), or copy that directory from a machine that has it."
    )
