"""ClickHouse's engine (chDB) behind its HTTP front, and the files that give it credentials.

Belongs here: the front's command line, the engine's configuration file, and its probe.
Does not belong here: the front itself (``clickhouse_front/``), tables and queries (``stores/``, ``sql/``).
"""

import os
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import requests

from wotr_pipeline.servers.data_directory import DataDirectory, write_private
from wotr_pipeline.servers.server import NotReadyError, Server

PROBE_SECONDS = 4.0

ENGINE_CONFIGURATION = """\
<clickhouse>
    <!-- What the s3() function of the pipeline's queries calls wotr_objects: queries carry no secrets. -->
    <named_collections>
        <wotr_objects>
            <url>{url}</url>
            <access_key_id>{access_key}</access_key_id>
            <secret_access_key>{secret_key}</secret_access_key>
        </wotr_objects>
        <!-- What BACKUP and RESTORE call the store of the backups. -->
        <wotr_backups>
            <url>{backup_url}</url>
            <access_key_id>{backup_access_key}</access_key_id>
            <secret_access_key>{backup_secret_key}</secret_access_key>
        </wotr_backups>
    </named_collections>
    <query_log>
        <database>system</database>
        <table>query_log</table>
        <partition_by>toYYYYMM(event_date)</partition_by>
        <ttl>event_date + INTERVAL 30 DAY DELETE</ttl>
        <flush_interval_milliseconds>7500</flush_interval_milliseconds>
    </query_log>
</clickhouse>
"""


def clickhouse(directory: DataDirectory) -> Server:
    """Describe the ClickHouse front of this data directory."""
    home = directory.path / "clickhouse"
    port = directory.ports["clickhouse"]
    environment = directory.environment()
    configuration = directory.path / "clickhouse.xml"
    arguments = [
        "--path",
        str(home),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--config",
        str(configuration),
    ]
    front = "wotr_pipeline.servers.clickhouse_front"
    return Server(
        name="clickhouse",
        address=f"http://127.0.0.1:{port}",
        command=(sys.executable, "-m", front, *arguments),
        environment={name: value for name, value in environment.items() if name.startswith("CLICKHOUSE_")},
        prepare=lambda: _prepare(home, configuration, environment),
        probe=lambda: _probe(environment),
        ports=(port,),
        directory=directory.path,
        stop_within=60,
    )


def _prepare(home: Path, configuration: Path, environment: dict[str, str]) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    text = ENGINE_CONFIGURATION.format(
        url=escape(environment["MINIO_ENDPOINT"] + "/"),
        access_key=escape(environment["MINIO_ACCESS_KEY"]),
        secret_key=escape(environment["MINIO_SECRET_KEY"]),
        backup_url=escape(_elsewhere("ENDPOINT", environment).rstrip("/") + "/"),
        backup_access_key=escape(_elsewhere("ACCESS_KEY", environment)),
        backup_secret_key=escape(_elsewhere("SECRET_KEY", environment)),
    )
    write_private(configuration, text)


def _elsewhere(name: str, environment: dict[str, str]) -> str:
    """A setting of the backups' store: what whoever starts the servers has set, or the one of the bucket's."""
    return os.environ.get(f"WOTR_BACKUP_{name}") or environment[f"MINIO_{name}"]


def _probe(environment: dict[str, str]) -> None:
    address = f"http://{environment['CLICKHOUSE_HOST']}:{environment['CLICKHOUSE_PORT']}/"
    credentials = {
        "X-ClickHouse-User": environment["CLICKHOUSE_USER"],
        "X-ClickHouse-Key": environment["CLICKHOUSE_PASSWORD"],
    }
    session = requests.Session()
    session.trust_env = False  # no proxy stands between here and the loopback interface
    try:
        answer = session.post(address, data="SELECT 1", headers=credentials, timeout=PROBE_SECONDS)
    except requests.RequestException as error:
        raise NotReadyError(type(error).__name__) from None
    if answer.status_code != 200 or answer.text.strip() != "1":
        raise NotReadyError(f"HTTP {answer.status_code}: {answer.text[:200]}")
