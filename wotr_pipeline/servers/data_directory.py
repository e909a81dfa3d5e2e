"""The data directory of one copy of the platform: where things lie, which ports and secrets it has.

Belongs here: paths below the directory, the ports and secrets chosen once and remembered, the
environment file made of them.
Does not belong here: how a server is started (one module a server) or supervised (``supervision.py``).

Everything is readable by its owner alone; the one exception is that PostgreSQL, which refuses to
run as root, has its own files when root starts it.
"""

import json
import os
import random
import re
import secrets
import shlex
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from wotr_pipeline.config import ENVIRONMENT_FILE

PORT_NAMES = (
    "kafka",
    "kafka_controller",
    "objects",
    "objects_grpc",
    "objects_master",
    "objects_master_grpc",
    "objects_filer",
    "objects_filer_grpc",
    "objects_volume",
    "objects_volume_grpc",
    "objects_admin",
    "postgres",
    "clickhouse",
    "dagster_code",
)
SECRET_NAMES = (
    "supervision_mark",
    "kafka_cluster",
    "objects_access",
    "objects_secret",
    "postgres_superuser",
    "postgres",
    "clickhouse",
    "clickhouse_reader",
    "api_key",
    "session",
    "backup_signing",
)
REMEMBERED = "servers.json"
WANTED_PORTS = {"dagster_webserver": 3001, "gateway": 8000}
"""Ports that people know, taken when they are free (3000 is Grafana's)."""
LOWEST_PORT, HIGHEST_PORT = 10_240, 22_000
"""Below the range from which Linux takes ports for outgoing connections, so that a remembered port
is not taken between a stop and a start; and so low that a port plus 10000 (SeaweedFS's rule for the
gRPC port of its admin server) is below it too."""
GRPC_OFFSET = 10_000
UNIX_SOCKET_PATH_LIMIT = 100
LOCK_WITHIN_SECONDS = 300.0


class DataDirectoryError(Exception):
    """The data directory cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class DataDirectory:
    """One data directory with its remembered ports and secrets."""

    path: Path
    ports: dict[str, int]
    secrets: dict[str, str]

    def __repr__(self) -> str:
        return f"DataDirectory({str(self.path)!r})"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def environment_file(self) -> Path:
        return self.path / ENVIRONMENT_FILE

    @property
    def run(self) -> Path:
        """Directory for Unix sockets: below the data directory, or, where that path is too long for
        a socket (the kernel allows 107 bytes), a private one below the temporary directory."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= UNIX_SOCKET_PATH_LIMIT - len("/supervisor.sock"):
            return inside
        return Path(tempfile.gettempdir()) / f"wotr-{os.getuid()}-{self.secrets['supervision_mark'][:16]}"

    def environment(self) -> dict[str, str]:
        """The variables of ``config.Settings`` and of dagster.yaml for this copy, secrets included."""
        return {
            "KAFKA_BOOTSTRAP": f"127.0.0.1:{self.ports['kafka']}",
            "KAFKA_TOPIC": "ingest-events",
            "KAFKA_DLQ_TOPIC": "dlq-events",
            "KAFKA_GROUP": "consumer-group",
            "MINIO_ENDPOINT": f"http://127.0.0.1:{self.ports['objects']}",
            "MINIO_ACCESS_KEY": self.secrets["objects_access"],
            "MINIO_SECRET_KEY": self.secrets["objects_secret"],
            "MINIO_BUCKET": "raw-data",
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(self.ports["postgres"]),
            "POSTGRES_USER": "wotr",
            "POSTGRES_PASSWORD": self.secrets["postgres"],
            "POSTGRES_DB": "wotr",
            "DAGSTER_POSTGRES_DB": "dagster",
            "CLICKHOUSE_HOST": "127.0.0.1",
            "CLICKHOUSE_PORT": str(self.ports["clickhouse"]),
            "CLICKHOUSE_USER": "wotr",
            "CLICKHOUSE_PASSWORD": self.secrets["clickhouse"],
            "CLICKHOUSE_DB": "wotr",
            "CLICKHOUSE_READER_USER": "wotr_reader",
            "CLICKHOUSE_READER_PASSWORD": self.secrets["clickhouse_reader"],
            "API_KEYS": self.secrets["api_key"],
            "WOTR_GATEWAY_PORT": str(self.ports["gateway"]),
            "WOTR_GATEWAY_URL": f"http://127.0.0.1:{self.ports['gateway']}",
            "WOTR_SCHEMA_REGISTRY_URL": f"http://127.0.0.1:{self.ports['gateway']}/registry",
            "WOTR_SESSION_SECRET": self.secrets["session"],
            "WOTR_BACKUP_BUCKET": os.environ.get("WOTR_BACKUP_BUCKET") or "wotr-backups",
            "WOTR_BACKUP_SIGNING_KEY": self.secrets["backup_signing"],
            "WOTR_DAGSTER_URL": f"http://127.0.0.1:{self.ports['dagster_webserver']}",
            "DAGSTER_HOME": str(self.path / "dagster"),
            "DAGSTER_CODE_PORT": str(self.ports["dagster_code"]),
            "DAGSTER_WEBSERVER_PORT": str(self.ports["dagster_webserver"]),
            "WOTR_DATA_DIR": str(self.path),
        }

    def write_environment(self) -> None:
        """Leave the environment as a dotenv file that a shell can source too."""
        lines = [f"{name}={shlex.quote(value)}" for name, value in self.environment().items()]
        write_private(self.environment_file, "\n".join(lines) + "\n")

    def with_free_wanted_ports(self) -> "DataDirectory":
        """The same directory with other ports for the UI and the gateway where the remembered ones are taken.

        Every copy would like the known ones, and nothing but people's bookmarks depends on them.
        """
        taken = {name for name in WANTED_PORTS if not port_is_free(self.ports[name])}
        if not taken:
            return self
        moved = replace(
            self, ports=self.ports | {name: _wanted_port(name, self.ports) for name in sorted(taken)}
        )
        _remember(self.path, moved.ports, moved.secrets)
        return moved

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory against a second ``up`` or ``down``.

        Raises:
            DataDirectoryError: another one held it for longer than five minutes.
        """
        try:
            with FileLock(self.path / "lock", timeout=LOCK_WITHIN_SECONDS, mode=0o600):
                yield
        except Timeout:
            raise DataDirectoryError(
                f"Another wotr command has held {self.path}/lock for {LOCK_WITHIN_SECONDS:.0f} s. "
                "Wait for it or stop it, then try again."
            ) from None


def exists(path: Path) -> bool:
    """Whether ``wotr up`` was ever called for this directory."""
    return (path / REMEMBERED).exists()


def open_data_directory(path: Path) -> DataDirectory:
    """Open a data directory; where it is new, choose its ports and secrets and remember them.

    Raises:
        DataDirectoryError: the path cannot be used, or what it remembers cannot be read.
    """
    path = path.expanduser().resolve()
    if re.search(r"['\"\\;,%\x00-\x1f]", str(path)):
        raise DataDirectoryError(
            f"{path}: the servers' own configuration files cannot carry quotes or any of \\ ; , % "
            "in a path. Choose another data directory (--data-dir or WOTR_DATA_DIR)."
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        # PostgreSQL under another user than root must be able to pass through, not to look around.
        path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        with FileLock(path / "choosing.lock", timeout=LOCK_WITHIN_SECONDS, mode=0o600):
            directory = DataDirectory(path, *_remembered(path))
        for private in (directory.logs, directory.run):
            private.mkdir(mode=0o700, exist_ok=True)
        # The run directory may lie in a shared temporary directory: nobody else's is taken.
        if directory.run.is_symlink() or directory.run.stat().st_uid != os.geteuid():
            raise DataDirectoryError(f"{directory.run} belongs to someone else. Remove it, then try again.")
    except OSError as error:
        raise DataDirectoryError(f"The data directory {path} cannot be used: {error.strerror}.") from None
    return directory


def _remembered(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    file = path / REMEMBERED
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        ports, chosen = known["ports"], known["secrets"]
        complete = {*PORT_NAMES, *WANTED_PORTS} <= ports.keys() and {*SECRET_NAMES} <= chosen.keys()
    except FileNotFoundError:
        ports, chosen, complete = {}, {}, False
    except (ValueError, TypeError, KeyError):
        raise DataDirectoryError(
            f"{file} holds the ports and passwords of the servers below {path} and cannot be read. "
            "Restore it from a copy; without it the data below this directory cannot be opened."
        ) from None
    if not complete:  # a new directory, or one of a version that had fewer servers
        ports = _choose_ports(ports)
        chosen = {name: secrets.token_hex(20) for name in SECRET_NAMES} | _given() | chosen
        _remember(path, ports, chosen)
    return ports, chosen


def _given() -> dict[str, str]:
    """Secrets that a new directory is not to choose: its backups may be those of a machine that is gone."""
    signing = os.environ.get("WOTR_BACKUP_SIGNING_KEY")
    return {"backup_signing": signing} if signing else {}


def _remember(path: Path, ports: dict[str, int], chosen: dict[str, str]) -> None:
    write_private(path / REMEMBERED, json.dumps({"ports": ports, "secrets": chosen}, indent=1))


def _choose_ports(known: dict[str, int]) -> dict[str, int]:
    ports = dict(known)
    for name in PORT_NAMES:
        while name not in ports:
            port = free_port()
            if port not in ports.values() and port_is_free(port + GRPC_OFFSET):
                ports[name] = port
    for name in WANTED_PORTS:
        ports.setdefault(name, _wanted_port(name, ports))
    return ports


def _wanted_port(name: str, ports: dict[str, int]) -> int:
    others = {port for other, port in ports.items() if other != name}
    candidates = (WANTED_PORTS[name], *range(HIGHEST_PORT + 1, HIGHEST_PORT + 1000))
    free: int = next(port for port in candidates if port not in others and port_is_free(port))
    return free


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def free_port() -> int:
    """A loopback port that nobody listens on now, below those that Linux takes for outgoing connections."""
    while True:
        # Not a secret: where two copies start at once, chance keeps them apart.
        port = random.randint(LOWEST_PORT, HIGHEST_PORT)  # noqa: S311
        if port_is_free(port):
            return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
