"""The index of a bucket's backup: which objects there were, and of which contents they are made.

Belongs here: its rows, its file (Parquet, sorted by key), reading several of them side by side.
Does not belong here: copying (``minio.py``).

A content is a piece of an object of at most ``PART_BYTES``, named by its SHA-256 and shared by all backups: an object
that did not change costs a row, and equal pieces are kept once. Rows and pages are streamed: a bucket of any number
of objects takes the same memory. Local files have no name: whoever is killed leaves none, and no keys to be read.
"""

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from .manifest import Fact, Part, StoredFile
from .repository import PART_BYTES, Repository

INDEX_NAME = "objects.parquet"
ROWS_AT_ONCE = 10_000
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("modified", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("contents", pa.list_(pa.string()), nullable=False),
        pa.field("suffix", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("content_type", pa.string(), nullable=False),
    ]
)
_MODULUS = 1 << 256


@dataclass(frozen=True)
class IndexedObject:
    """One object of a backup. ``size`` in bytes; ``contents`` are SHA-256 sums, ``suffix`` says how they are sealed."""

    key: str
    size: int
    etag: str
    modified: datetime
    sha256: str
    contents: tuple[str, ...]
    suffix: str
    metadata: Mapping[str, str]
    content_type: str

    def same_as(self, size: int, etag: str, modified: datetime) -> bool:
        """Whether a listing shows the very version that was copied."""
        return (self.size, self.etag, self.modified) == (size, etag, modified)

    def parts(self) -> Iterator[Part]:
        """Its pieces in the bucket of the backups, in order."""
        left = self.size
        for content in self.contents:
            size = min(left, PART_BYTES)
            left -= size
            yield Part(content_key(content, self.suffix), size, content)


def content_key(sha256: str, suffix: str) -> str:
    """Where a content lies."""
    return f"minio/contents/{sha256[:2]}/{sha256}{suffix}"


def group_of(key: str) -> str:
    """The facts are told by this: the first two levels of the key, such as ``raw/date=2026-11-25``."""
    return "/".join(key.split("/")[:-1][:2])


class FactsOfObjects:
    """Counts and sums objects by group, in whatever order they come.

    The checksum is the sum, modulo 2^256, of SHA-256(key, content's SHA-256, metadata, content type): an object that is
    missing, changed, doubled or renamed changes it.
    """

    def __init__(self) -> None:
        self._groups: dict[str, list[int]] = {}

    def add(self, key: str, sha256: str, metadata: Mapping[str, str], content_type: str) -> None:
        """One object."""
        told = json.dumps([key, sha256, sorted(metadata.items()), content_type]).encode()
        group = self._groups.setdefault(group_of(key), [0, 0])
        group[0] += 1
        group[1] = (group[1] + int.from_bytes(hashlib.sha256(told).digest())) % _MODULUS

    def facts(self) -> tuple[Fact, ...]:
        """One a group."""
        return tuple(
            Fact(name, "", count, f"{checksum:064x}")
            for name, (count, checksum) in sorted(self._groups.items())
        )


class IndexWriter:
    """Writes rows, in the order of keys, to a local file that goes with it."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        self._writer = pq.ParquetWriter(self._file, SCHEMA, compression="zstd")
        self._rows: list[IndexedObject] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._file.close()

    def add(self, row: IndexedObject) -> None:
        """One more object."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def finished(self) -> IO[bytes]:
        """The whole file, at its beginning; there is nothing more to add."""
        self._flush()
        self._writer.close()
        self._file.seek(0)
        return self._file

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(table_of(self._rows))
            self._rows.clear()


def table_of(rows: Iterable[IndexedObject]) -> pa.Table:
    """Rows as Arrow."""
    values = [
        {
            "key": row.key,
            "size": row.size,
            "etag": row.etag,
            "modified": row.modified,
            "sha256": row.sha256,
            "contents": list(row.contents),
            "suffix": row.suffix,
            "metadata": json.dumps(dict(row.metadata), sort_keys=True),
            "content_type": row.content_type,
        }
        for row in rows
    ]
    return pa.Table.from_pylist(values, schema=SCHEMA)


def rows_of(file: IO[bytes]) -> Iterator[IndexedObject]:
    """The rows of an index, in the order of keys."""
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield IndexedObject(
                    row["key"],
                    row["size"],
                    row["etag"],
                    row["modified"].astimezone(UTC),
                    row["sha256"],
                    tuple(row["contents"]),
                    row["suffix"],
                    json.loads(row["metadata"]),
                    row["content_type"],
                )


@contextmanager
def open_index(repository: Repository, file: StoredFile) -> Iterator[Iterator[IndexedObject]]:
    """The rows of a stored index, from a local copy that goes afterwards."""
    with TemporaryFile() as local:
        for data in repository.read(file):
            local.write(data)
        yield rows_of(local)


class Known:
    """What earlier copies tell of objects, asked in the order of keys."""

    def __init__(self, sources: Iterable[Iterator[IndexedObject]]) -> None:
        self._rows = heapq.merge(*sources, key=lambda row: row.key)
        self._next = next(self._rows, None)

    def of(self, key: str) -> list[IndexedObject]:
        """Every row of ``key``; a key must not be smaller than the one that was asked for before."""
        found = []
        while self._next is not None and self._next.key <= key:
            if self._next.key == key:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found
