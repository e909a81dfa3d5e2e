"""One step of the comparison in a process of its own: a plain copy, or a backup and its restore.

``run(settings, store, step, …)`` starts ``python -m benchmarks.backup_steps STORE STEP`` and watches its memory.

Belongs here: that process, the plain copies, the clock. Does not belong here: the data (``backup_data.py``), what is
compared with what (``backups.py``).

Plain copies hold what they read against nothing and remember nothing. Of objects: each is got and put into another
bucket by the same client, with as many threads as the backup has. Of rows: the engine's own files are put into a bucket
in pieces of the size that backups have, and got back into files, with as many threads. Of a database: ``pg_dump`` into a
file and ``pg_restore`` from it, with the options that the backup gives them.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import orjson

from benchmarks.processes import Watch
from benchmarks.servers import environment_of
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.config import Settings, load_settings

COPY, BACKUP = "copy", "backup"
Item = TypeVar("Item")


@dataclass(frozen=True)
class Timed:
    """Seconds out and back, and those of reading back what was restored, which only a drill does (0 for a copy)."""

    out: float
    back: float
    reading: float
    size: int
    """Bytes that lie in the bucket (or file) in between."""
    peak_rss: int
    """Most resident bytes of the process."""


def run(settings: Settings, store: Store, step: str) -> Timed:
    """Take one step in a fresh process.

    Raises:
        RuntimeError: it failed, or what came back is not what was there.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.backup_steps", store, step],
        env=environment_of(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        with Watch({"python": process.pid}) as usage:
            answer = process.stdout.readline()
        process.stdin.close()
        if process.wait(timeout=60) != 0 or not answer:
            raise RuntimeError(f"The {step} of {store} failed; its error is above.")
    told = orjson.loads(answer)
    return Timed(told["out"], told["back"], told["reading"], told["size"], usage.peak_rss["python"])


def _backed_up(settings: Settings, store: Store) -> tuple[float, float, float, int]:
    from wotr_pipeline.backups.differences import differences
    from wotr_pipeline.backups.repository import Repository, new_id
    from wotr_pipeline.backups.target import Selection, scratch_place
    from wotr_pipeline.backups.targets import target_of

    log, target, repository = (
        logging.getLogger("benchmarks"),
        target_of(settings, store),
        Repository(settings),
    )
    repository.prepare()
    try:
        manifest, out = _clocked(
            lambda: target.take(repository, new_id(store, datetime.now(UTC)), log),
        )
        place = scratch_place(manifest)
        try:
            _, back = _clocked(lambda: target.restore(repository, manifest, place, Selection(), log))
            found, reading = _clocked(lambda: target.facts(place, manifest))
        finally:
            target.discard(place)
        if problem := differences(manifest.facts, found):
            raise RuntimeError(problem)
    finally:
        repository.objects.remove_bucket()
    return out, back, reading, manifest.bytes


def _copied_objects(settings: Settings) -> tuple[float, float, float, int]:
    from wotr_pipeline.stores.objects import ObjectInfo, ObjectStore

    source = ObjectStore(settings)
    into = source.in_bucket(f"{settings.minio_bucket}-copy")

    def copy(found: ObjectInfo) -> int:
        into.put(found.key, source.get(found.key))
        return found.size

    def copy_all() -> int:
        into.ensure_bucket()
        return sum(_with_threads(copy, source.list("")))

    try:
        size, seconds = _clocked(copy_all)
    finally:
        into.remove_bucket()
    # A restore is the same again: from one bucket into another.
    return seconds, seconds, 0.0, size


def _copied_rows(settings: Settings) -> tuple[float, float, float, int]:
    from wotr_pipeline.backups.repository import PART_BYTES
    from wotr_pipeline.stores.objects import ObjectStore
    from wotr_pipeline.stores.warehouse import Warehouse

    with closing(Warehouse(settings)) as warehouse:
        query = "SELECT path FROM system.parts WHERE active AND database = {database:String}"
        parts = [
            Path(row[0])
            for row in warehouse.client.query(query, {"database": settings.clickhouse_db}).result_rows
        ]
    files = [path for part in parts for path in part.rglob("*") if path.is_file()]
    pieces = [
        (f"{number:06d}/{start:012d}", path, start)
        for number, path in enumerate(files)
        for start in range(0, path.stat().st_size, PART_BYTES)
    ]
    bucket = ObjectStore(settings).in_bucket(f"{settings.minio_bucket}-copy")

    def put(piece: tuple[str, Path, int]) -> int:
        key, path, start = piece
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(PART_BYTES)
        bucket.put(key, data)
        return len(data)

    def put_all() -> int:
        bucket.ensure_bucket()
        return sum(_with_threads(put, pieces))

    # Beside the engine's own files: on the disk that a restore writes to.
    with tempfile.TemporaryDirectory(dir=os.environ["WOTR_BENCH_SCRATCH"]) as scratch:

        def get(piece: tuple[str, Path, int]) -> int:
            key = piece[0]
            return (Path(scratch) / key.replace("/", "-")).write_bytes(bucket.get(key))

        def get_all() -> int:
            return sum(_with_threads(get, pieces))

        try:
            size, out = _clocked(put_all)
            _, back = _clocked(get_all)
        finally:
            bucket.remove_bucket()
    return out, back, 0.0, size


def _copied_database(settings: Settings) -> tuple[float, float, float, int]:
    from wotr_pipeline.stores.postgres_server import PostgresServer
    from wotr_pipeline.stores.postgres_tools import PostgresTools

    server, tools = PostgresServer(settings), PostgresTools(settings)
    database = f"{settings.postgres_db}_copy"
    with tempfile.TemporaryDirectory(dir=os.environ["WOTR_BENCH_SCRATCH"]) as scratch:
        path = Path(scratch) / "copy.dump"

        def dump() -> None:
            with (
                server.snapshot(settings.postgres_db) as snapshot,
                tools.dump(settings.postgres_db, snapshot.name) as read,
                path.open("wb") as file,
            ):
                file.writelines(_blocks(read.read))

        def restore() -> None:
            server.create(database)
            with path.open("rb") as file:
                tools.restore(database, _blocks(file.read))

        try:
            _, out = _clocked(dump)
            _, back = _clocked(restore)
        finally:
            server.drop(database)
        return out, back, 0.0, path.stat().st_size


def _blocks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(lambda: read(1024**2), b"")


def _with_threads(work: Callable[[Item], int], items: Iterable[Item]) -> Iterator[int]:
    from wotr_pipeline.backups.minio import WORKERS

    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(work, items)


Result = TypeVar("Result")


def _clocked(work: Callable[[], Result]) -> tuple[Result, float]:
    # What others have left to be written would be this one's load.
    os.sync()
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def main() -> None:
    settings, store = load_settings(), Store(sys.argv[1])
    copies = {Store.MINIO: _copied_objects, Store.CLICKHOUSE: _copied_rows, Store.POSTGRES: _copied_database}
    with suppress(KeyboardInterrupt):
        found = _backed_up(settings, store) if sys.argv[2] == BACKUP else copies[store](settings)
        print(
            orjson.dumps(dict(zip(("out", "back", "reading", "size"), found, strict=True))).decode(),
            flush=True,
        )
        # A process that is gone cannot be asked for its memory.
        sys.stdin.read()


if __name__ == "__main__":
    main()
