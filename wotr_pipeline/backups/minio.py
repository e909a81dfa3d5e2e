"""The bucket of the events: its backup is incremental, and its restore never takes anything away.

Belongs here: copying objects into contents, and contents into objects. Does not belong here: the index
(``object_index.py``), the bucket of the backups (``repository.py``).

The bucket may change during the copy: an object is copied in the version that is there when it is read, one that goes
meanwhile is left out and counted. Copied objects are entered in journals below ``minio/unfinished/``, a slice at a
time, so that a run that follows a killed one copies only what is missing. In place, a restore puts what is missing or
different and leaves what is newer: raw objects may be the only copy of events.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ..config import Settings
from ..stores.errors import PermanentError
from ..stores.objects import ObjectInfo, ObjectStore, Piece
from .cipher import SUFFIX
from .manifest import Fact, Manifest, Part, Store
from .object_index import (
    INDEX_NAME,
    FactsOfObjects,
    IndexedObject,
    IndexWriter,
    Known,
    content_key,
    group_of,
    open_index,
    rows_of,
    table_of,
)
from .progress import Progress
from .repository import PART_BYTES, Repository
from .target import Restored, Selection, scratch_prefix

WORKERS = 4
WINDOW = 64
"""Objects under way or waiting for their turn in the index."""
JOURNAL_BYTES = 256 * 1024**2
JOURNAL_ROWS = 2_000
"""After so much copying a journal is written: at most this is copied again after a kill."""
VERSIONS_TRIED = 5
JOURNALS = "minio/unfinished/"

Item = TypeVar("Item")
Result = TypeVar("Result")


class MinioTarget:
    """See ``target.Target``. Items are objects."""

    store = Store.MINIO
    drills_by_group = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._objects = ObjectStore(settings)

    def prepare(self, repository: Repository) -> None:
        """A killed run leaves nothing here."""

    def take(self, repository: Repository, backup_id: str, log: logging.Logger) -> Manifest:
        """Copy what no earlier backup has."""
        taken_at = datetime.now(UTC)
        copy = _Copy(self._objects, repository, f"{JOURNALS}{backup_id}/")
        with ExitStack() as opened:
            known = Known(self._earlier(repository, opened, copy, log))
            index = opened.enter_context(IndexWriter())
            facts, progress = FactsOfObjects(), Progress(log, "objects", "copied")
            objects = ((found, known.of(found.key)) for found in self._objects.list(""))
            for row, copied in _in_order(lambda pair: copy.row(*pair), objects):
                copy.enter(row, copied)
                if row is not None:
                    index.add(row)
                    facts.add(row.key, row.sha256, row.metadata, row.content_type)
                    progress.add(1, row.size if copied else 0)
            stored = repository.write(self.store, backup_id, INDEX_NAME, index.finished())
        copy.finish()
        log.info(
            "%d objects are copied anew (%d bytes), %d are as in an earlier backup, %d went during the copy.",
            copy.copied, copy.bytes, copy.kept, copy.gone,
        )  # fmt: skip
        return Manifest(
            backup_id,
            self.store,
            taken_at,
            datetime.now(UTC),
            self._settings.minio_bucket,
            copy.bytes + stored.size,
            None,
            repository.cipher.recipient,
            (stored,),
            facts.facts(),
            {
                "objects copied": str(copy.copied),
                "objects kept": str(copy.kept),
                "objects gone": str(copy.gone),
            },
        )

    def plan(
        self, repository: Repository, manifest: Manifest, selection: Selection, *, in_place: bool
    ) -> list[str]:
        """Counts what would be put."""
        with open_index(repository, manifest.file(INDEX_NAME)) as rows:
            if not in_place:
                count, size = 0, 0
                for row in _selected(rows, selection):
                    count, size = count + 1, size + row.size
                return [f"{count:,} objects ({size:,} bytes) are put into a bucket of their own."]
            differing = _Differing(self._objects, selection)
            size = sum(row.size for row in differing.of(rows))
        return [
            f"{differing.put:,} objects ({size:,} bytes) are missing in {manifest.source} or differ, and are put.",
            f"{differing.same:,} objects are as in the backup and stay.",
            f"{differing.newer:,} objects that the backup does not have stay: they may be the only copy of events.",
        ]

    def restore(
        self,
        repository: Repository,
        manifest: Manifest,
        place: str,
        selection: Selection,
        log: logging.Logger,
    ) -> Restored:
        """Put the objects into the bucket ``place``."""
        self.discard(place)
        bucket = self._objects.in_bucket(place)
        bucket.ensure_bucket()
        with open_index(repository, manifest.file(INDEX_NAME)) as rows:
            return self._put(repository, bucket, place, _selected(rows, selection), log)

    def replace(
        self, repository: Repository, manifest: Manifest, selection: Selection, log: logging.Logger
    ) -> Restored:
        """Put what is missing or different; leave the rest."""
        self._objects.ensure_bucket()
        differing = _Differing(self._objects, selection)
        with open_index(repository, manifest.file(INDEX_NAME)) as rows:
            done = self._put(repository, self._objects, manifest.source, differing.of(rows), log)
        return Restored(
            self._settings.minio_bucket,
            done.items,
            done.bytes,
            (
                f"{differing.same:,} objects were as in the backup.",
                f"{differing.newer:,} objects that the backup does not have were left.",
            ),
        )

    def facts(self, place: str, manifest: Manifest) -> Sequence[Fact]:  # noqa: ARG002 - others need it
        """Read every object of the bucket ``place``."""
        bucket, facts = self._objects.in_bucket(place), FactsOfObjects()

        def read(found: ObjectInfo) -> tuple[str, str, Mapping[str, str], str]:
            digest, last = hashlib.sha256(), Piece(BytesIO(), {}, "")
            for last in bucket.pieces(found, PART_BYTES):
                digest.update(last.file.getbuffer())
            return found.key, digest.hexdigest(), last.metadata, last.content_type

        for told in _in_order(read, bucket.list("")):
            facts.add(*told)
        return facts.facts()

    def check_shared(self, repository: Repository, manifest: Manifest, groups: Iterable[str]) -> str:
        """Whether the contents of groups that are not restored are all there, with the size that they had."""
        wanted = set(groups)
        with open_index(repository, manifest.file(INDEX_NAME)) as rows:
            parts = (part for row in rows if group_of(row.key) in wanted for part in row.parts())
            missing = [key for key in _in_order(lambda part: _missing(repository, part), parts) if key]
        if not missing:
            return ""
        return (
            f"{len(missing)} contents that it shares with earlier backups are gone, the first of them "
            f"{repository.objects.uri(missing[0])}. The next backup copies everything anew."
        )

    def discard(self, place: str) -> None:
        """Remove a scratch bucket."""
        if place in (self._settings.minio_bucket, self._settings.wotr_backup_bucket):
            raise PermanentError(f"{place} is no scratch bucket; it is never removed.")
        self._objects.in_bucket(place).remove_bucket()

    def leftovers(self) -> Sequence[str]:
        """Scratch buckets of drills of this bucket."""
        prefix = scratch_prefix(self.store, self._settings.minio_bucket)
        return [name for name in self._objects.bucket_names() if name.startswith(prefix)]

    def _earlier(
        self, repository: Repository, opened: ExitStack, copy: "_Copy", log: logging.Logger
    ) -> list[Iterator[IndexedObject]]:
        """Rows of the newest backup, unless its drill found it bad, and of runs that were killed."""
        sources = []
        ids = repository.backup_ids(self.store)
        if ids:
            seen = repository.verification(self.store, ids[-1])
            try:
                newest = repository.manifest(self.store, ids[-1])
                problem = seen.problem if seen else ""
                if not problem:
                    sources.append(opened.enter_context(open_index(repository, newest.file(INDEX_NAME))))
            except PermanentError as error:
                problem = str(error)
            if problem:
                log.warning("Everything is copied anew, for %s is not to be trusted: %s", ids[-1], problem)
                copy.distrust()
                return []
        for found in list(repository.objects.list(JOURNALS)):
            journal: IO[bytes] = opened.enter_context(TemporaryFile())  # noqa: SIM115
            journal.write(repository.cipher.open(repository.objects.get(found.key), found.key))
            sources.append(rows_of(journal))
            log.info("A run that was killed had copied objects already: %s", found.key)
        return sources

    def _put(
        self,
        repository: Repository,
        bucket: ObjectStore,
        place: str,
        rows: Iterable[IndexedObject],
        log: logging.Logger,
    ) -> Restored:
        progress, count, size = Progress(log, "objects", "restored"), 0, 0

        def put(row: IndexedObject) -> int:
            with _whole(repository, row) as file:
                bucket.put_file(row.key, file, row.metadata, content_type=row.content_type)
            return row.size

        for written in _in_order(put, rows):
            count, size = count + 1, size + written
            progress.add(1, written)
        return Restored(place, count, size)


class _Copy:
    """One copy of the bucket into contents, and its journal."""

    def __init__(self, objects: ObjectStore, repository: Repository, journals: str) -> None:
        self._objects = objects
        self._repository = repository
        self._journals = journals
        self._rows: list[IndexedObject] = []
        self._waiting = 0
        self._written = 0
        self._overwrite = False
        self.copied = self.kept = self.gone = self.bytes = 0

    def distrust(self) -> None:
        """Write contents even where there are some of their name."""
        self._overwrite = True

    def row(self, found: ObjectInfo, known: Sequence[IndexedObject]) -> tuple[IndexedObject | None, bool]:
        """The object's row, None if it is gone, and whether its contents were copied. Called from many threads."""
        for row in known:
            if row.same_as(found.size, found.etag, found.modified):
                return row, False
        version: ObjectInfo | None = found
        for _ in range(VERSIONS_TRIED):
            if version is None:
                return None, False
            try:
                return self._copied(version), True
            except FileNotFoundError:
                version = self._objects.head(found.key)
        raise PermanentError(
            f"{self._objects.uri(found.key)} changed {VERSIONS_TRIED} times while it was read. Objects of this bucket "
            "are written once: find out who rewrites it, then start again."
        )

    def enter(self, row: IndexedObject | None, copied: bool) -> None:
        """Count it, and enter it in the journal; called in the order of keys."""
        if row is None:
            self.gone += 1
        elif not copied:
            self.kept += 1
        else:
            self.copied += 1
            self.bytes += row.size
            self._rows.append(row)
            self._waiting += row.size
            if self._waiting >= JOURNAL_BYTES or len(self._rows) >= JOURNAL_ROWS:
                self._write_journal()

    def finish(self) -> None:
        """Remove the journals: the index says it all."""
        self._repository.clear(JOURNALS)

    def _write_journal(self) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(table_of(self._rows), buffer)
        key = f"{self._journals}{self._written:06d}.parquet{self._repository.cipher.suffix}"
        self._repository.objects.put(key, self._repository.cipher.seal(buffer.getvalue().to_pybytes()))
        self._written += 1
        self._rows.clear()
        self._waiting = 0

    def _copied(self, version: ObjectInfo) -> IndexedObject:
        whole, contents, suffix = hashlib.sha256(), [], self._repository.cipher.suffix
        piece, several = Piece(BytesIO(), {}, ""), version.size > PART_BYTES
        for piece in self._objects.pieces(version, PART_BYTES):
            content = hashlib.sha256(piece.file.getbuffer()).hexdigest()
            if several:
                whole.update(piece.file.getbuffer())
            key = content_key(content, suffix)
            if self._overwrite or self._repository.objects.head(key) is None:
                self._repository.objects.put_file(key, self._repository.cipher.seal_file(piece.file))
            contents.append(content)
        return IndexedObject(
            version.key,
            version.size,
            version.etag,
            version.modified,
            whole.hexdigest() if several else contents[0],
            tuple(contents),
            suffix,
            piece.metadata,
            piece.content_type,
        )


@contextmanager
def _whole(repository: Repository, row: IndexedObject) -> Iterator[IO[bytes]]:
    """All bytes of an object, that are what was backed up."""
    parts = list(row.parts())
    if len(parts) == 1 and parts[0].sha256 == row.sha256:
        # As a part it is compared already, and in memory once: no second sum, no second copy.
        yield BytesIO(repository.read_part(parts[0]))
        return
    digest = hashlib.sha256()
    with SpooledTemporaryFile(max_size=PART_BYTES) as file:
        for part in parts:
            data = repository.read_part(part)
            digest.update(data)
            file.write(data)
        if digest.hexdigest() != row.sha256:
            raise PermanentError(f"{row.key} is not what was backed up: its checksum differs.")
        yield file


class _Differing:
    """The rows of an index whose objects are missing in a bucket or differ there; counts as it goes."""

    def __init__(self, bucket: ObjectStore, selection: Selection) -> None:
        self._bucket = bucket
        self._selection = selection
        self.put = self.same = self.newer = 0

    def of(self, rows: Iterable[IndexedObject]) -> Iterator[IndexedObject]:
        """Those rows, in the order of keys."""
        live = self._bucket.list(self._selection.prefix)
        found = next(live, None)
        for row in _selected(rows, self._selection):
            while found is not None and found.key < row.key:
                self.newer += 1
                found = next(live, None)
            if found is not None and (found.key, found.size, found.etag) == (row.key, row.size, row.etag):
                self.same += 1
            else:
                self.put += 1
                yield row
            if found is not None and found.key == row.key:
                found = next(live, None)
        while found is not None:
            self.newer += 1
            found = next(live, None)


def _selected(rows: Iterable[IndexedObject], selection: Selection) -> Iterator[IndexedObject]:
    groups = frozenset(selection.groups)
    for row in rows:
        if row.key.startswith(selection.prefix) and (not groups or group_of(row.key) in groups):
            yield row


def _missing(repository: Repository, part: Part) -> str:
    found = repository.objects.head(part.key)
    # A sealed content is larger than the plain one.
    whole = found is not None and (found.size == part.size or part.key.endswith(SUFFIX))
    return "" if whole else part.key


def _in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items, from several threads, with at most ``WINDOW`` items under way."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="backup") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= WINDOW:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
