"""One service more closely: the end of its log, what its processes use, its configuration without secrets.

Where ``wotr up`` did not start it (compose, a cluster), only the configuration is here; its log is where it runs.

Belongs here: gathering that. Does not belong here: whether it does its work (``looking.py``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from wotr_pipeline.config import SECRET_VARIABLES, Settings, SettingsError

if TYPE_CHECKING:
    from wotr_pipeline.servers.lifecycle import Platform

SERVERS = {
    "postgres": ("postgres",),
    "minio": ("objects",),
    "kafka": ("kafka",),
    "clickhouse": ("clickhouse",),
    "gateway": ("gateway",),
    "dagster": ("code-server", "webserver", "daemon"),
}
"""What `wotr status` calls the servers of a service."""
VARIABLES = {
    "postgres": ("POSTGRES_", "DAGSTER_POSTGRES_"),
    "minio": ("MINIO_",),
    "kafka": ("KAFKA_",),
    "clickhouse": ("CLICKHOUSE_",),
    "gateway": ("API_KEYS", "OTEL_", "WOTR_"),
    "dagster": ("DAGSTER_", "WOTR_"),
}
LOG_LINES = 20
MASK, EMPTY = "(set, not shown)", "(empty)"
SHORTEST_SECRET = 8


@dataclass(frozen=True)
class ServerDetails:
    """One server's processes: the first and all that it started, together. ``cpu_percent``: of one processor."""

    name: str
    pid: int | None
    processes: int
    memory_bytes: int
    cpu_percent: float
    open_files: int
    log: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.pid is None:
            yield f"Server {self.name}: no process."
        else:
            yield (
                f"Server {self.name}: pid {self.pid}, {self.processes} processes, "
                f"{self.memory_bytes / 1e6:,.0f} MB, {self.cpu_percent:.0f} % of a processor, {self.open_files} open files."
            )
        yield f"The end of its log ({len(self.log)} lines):"
        yield from (f"    {line}" for line in self.log)


@dataclass(frozen=True)
class ServiceDetails:
    """One service."""

    name: str
    servers: tuple[ServerDetails, ...]
    configuration: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """For people."""
        for server in self.servers:
            yield from server.lines()
        if not self.servers:
            yield f"`wotr up` did not start it here. With compose: docker compose logs --tail 60 {self.name}"
        yield f"Configuration of {self.name}:"
        yield from (f"    {name}={value}" for name, value in self.configuration.items())

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "name": self.name,
            "servers": [{**vars(server), "log": list(server.log)} for server in self.servers],
            "configuration": dict(self.configuration),
        }


def service_named(name: str) -> tuple[str, tuple[str, ...]]:
    """(service, its servers) of a service's or a server's name.

    Raises:
        SettingsError: there is none of that name; the text lists them.
    """
    if name in SERVERS:
        return name, SERVERS[name]
    for service, servers in SERVERS.items():
        if name in servers:
            return service, (name,)
    known = ", ".join(sorted({*SERVERS, *(one for servers in SERVERS.values() for one in servers)}))
    raise SettingsError(f"There is no service '{name}'. There are: {known}.")


def details(settings: Settings, data_dir: Path, name: str) -> ServiceDetails:
    """Look at one service. Raises SettingsError as ``service_named`` does."""
    service, names = service_named(name)
    return ServiceDetails(
        service, tuple(_servers(settings, data_dir, names)), _configuration(settings, service)
    )


def _servers(settings: Settings, data_dir: Path, names: tuple[str, ...]) -> Iterator[ServerDetails]:
    from wotr_pipeline.servers import data_directory

    if not data_directory.exists(data_dir):
        return
    from wotr_pipeline.servers.lifecycle import Platform

    platform = Platform(data_dir)
    secrets = {*_secrets(settings), *platform.directory.secrets.values()}
    for name in names:
        yield _server(platform, name, secrets)


def _server(platform: "Platform", name: str, secrets: set[str]) -> ServerDetails:
    from wotr_pipeline.servers.resources import resources
    from wotr_pipeline.servers.server import ServerError

    log = tuple(
        _blotted(line.removeprefix("    "), secrets)
        for line in platform.log_tail(name).splitlines()[-LOG_LINES:]
    )
    try:
        pid = platform.pid(name)
    except ServerError:
        return ServerDetails(name, None, 0, 0, 0.0, 0, log)
    used = resources(pid)
    if used is None:
        return ServerDetails(name, None, 0, 0, 0.0, 0, log)
    return ServerDetails(name, pid, used.processes, used.memory_bytes, used.cpu_percent, used.open_files, log)


def _configuration(settings: Settings, service: str) -> dict[str, str]:
    told = {}
    for field in sorted(Settings.model_fields):
        name, value = field.upper(), getattr(settings, field)
        if name.startswith(VARIABLES[service]):
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            shown = MASK if name in SECRET_VARIABLES else re.sub(r"//[^/@\s]+@", "//***@", text)
            told[name] = shown if text else EMPTY
    return told


def _secrets(settings: Settings) -> Iterator[str]:
    for field in Settings.model_fields:
        value = getattr(settings, field)
        if field.upper() in SECRET_VARIABLES:
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            yield from (one for one in {text, *text.split(",")} if len(one) >= SHORTEST_SECRET)


def _blotted(line: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, "[secret]")
    return line
