"""The files that ClickHouse's engine wrote for a backup: noted, looked at again, sealed, opened.

Belongs here: what lies below the engine's prefix. Does not belong here: BACKUP and RESTORE themselves
(``stores/engine_backups.py``), which tables and which chain (``clickhouse.py``).

The engine's own ``.backup`` names every file with its checksum. Its SHA-256 is in the signed manifest; sizes and ETags
of all files are in an index. A list shows an object that is missing, cut or written anew, and reads none of them; what
rots below an unchanged ETag is found by the drill, which reads everything.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile

from ..stores.errors import PermanentError
from ..stores.object_streams import PieceReader
from .manifest import Manifest, Store, StoredFile
from .object_index import INDEX_NAME, IndexedObject, IndexWriter, open_index
from .progress import Progress
from .repository import PART_BYTES, Repository

STORE = Store.CLICKHOUSE
SEALED, OPENED = "sealed/", "opened/"
CONTENTS = ".backup"


def note_files(
    repository: Repository, backup_id: str, prefix: str
) -> tuple[tuple[StoredFile, ...], int, str]:
    """Which objects the engine wrote: their index, their bytes with it, and the SHA-256 of ``.backup``.

    Raises:
        PermanentError: they do not lie where backups are looked for.
    """
    size = 0
    with IndexWriter() as index:
        for found in repository.objects.list(prefix):
            size += found.size
            index.add(IndexedObject(found.key, found.size, found.etag, found.modified, "", (), "", {}, ""))
        contents = sum_of_contents(repository, prefix)
        stored = repository.write(STORE, backup_id, INDEX_NAME, index.finished())
    return (stored,), size + stored.size, contents


def sum_of_contents(repository: Repository, prefix: str) -> str:
    """The SHA-256 of the engine's ``.backup``.

    Raises:
        PermanentError: there is none.
    """
    found = repository.objects.head(f"{prefix}{CONTENTS}")
    if found is None:
        raise PermanentError(
            f"ClickHouse has written no {repository.objects.uri(prefix + CONTENTS)}. If it says that it did, it wrote "
            "to another store: its named collection wotr_backups must have the endpoint and the keys of WOTR_BACKUP_*."
        )
    digest = hashlib.sha256()
    for piece in repository.objects.pieces(found, PART_BYTES):
        digest.update(piece.file.getbuffer())
    return digest.hexdigest()


def look_at_files(repository: Repository, manifest: Manifest) -> None:
    """Whether the engine's objects are those that it wrote.

    Raises:
        PermanentError: one is missing or was changed.
    """
    prefix = manifest.details["engine prefix"]
    there = {found.key: (found.size, found.etag) for found in repository.objects.list(prefix)}
    with open_index(repository, manifest.file(INDEX_NAME)) as rows:
        for row in rows:
            found = there.get(row.key)
            if found != (row.size, row.etag):
                what = "is missing" if found is None else "was changed after it was written"
                raise PermanentError(_useless(repository, manifest, row.key, what))
    if sum_of_contents(repository, prefix) != manifest.details.get("engine contents"):
        raise PermanentError(
            _useless(repository, manifest, f"{prefix}{CONTENTS}", "was changed after it was written")
        )


def _useless(repository: Repository, manifest: Manifest, key: str, what: str) -> str:
    return (
        f"{repository.objects.uri(key)} {what}: {manifest.backup_id} cannot be restored, nor what builds upon it. "
        "Use an older backup; the next one is a full one."
    )


def seal_files(
    repository: Repository, backup_id: str, prefix: str, log: logging.Logger
) -> tuple[tuple[StoredFile, ...], int]:
    """Encrypt the engine's files, and remove the plain ones.

    Raises:
        PermanentError: they do not lie where backups are looked for.
    """
    sum_of_contents(repository, prefix)
    progress, files = Progress(log, "files", "encrypted"), []
    for found in list(repository.objects.list(prefix)):
        reader = PieceReader(repository.objects.pieces(found, PART_BYTES))
        name = f"{SEALED}{found.key.removeprefix(prefix)}"
        files.append(repository.write(STORE, backup_id, name, reader))
        progress.add(1, found.size)
    repository.clear(prefix)
    return tuple(files), sum(file.size for file in files)


@contextmanager
def opened_files(repository: Repository, manifest: Manifest) -> Iterator[str]:
    """The prefix of the engine's files in plain, for as long as the block lasts."""
    prefix = f"{repository.data_prefix(STORE, manifest.backup_id)}{OPENED}"
    try:
        for file in manifest.files:
            with SpooledTemporaryFile(max_size=PART_BYTES) as local:
                for data in repository.read(file):
                    local.write(data)
                repository.objects.put_file(f"{prefix}{file.name.removeprefix(SEALED)}", local)
        yield prefix
    finally:
        repository.clear(prefix)


def clear_opened(repository: Repository) -> None:
    """Remove what a killed restore has left in plain. The lease must be held, and the engine read nothing there."""
    for backup_id in repository.backup_ids(STORE):
        repository.clear(f"{repository.data_prefix(STORE, backup_id)}{OPENED}")
