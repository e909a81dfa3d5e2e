"""The bucket of the backups: what lies where, and that what has no manifest is no backup.

Belongs here: keys, parts of files, manifests and verifications, leftovers.
Does not belong here: what is backed up and how (one module a store), what is kept (``retention.py``).

    <store>/manifests/<backup id>.json       the backup exists from this object on
    <store>/verifications/<backup id>.json   what the last drill found
    <store>/data/<backup id>/…               its files, in parts of at most ``PART_BYTES``
    minio/contents/<2 digits>/<sha256>…      contents of objects, shared by the backups of the bucket
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from ..config import Settings
from ..stores.errors import PermanentError
from ..stores.objects import ObjectStore
from .cipher import Cipher
from .manifest import Manifest, Part, Signer, Store, StoredFile, Verification

PART_BYTES = 32 * 1024**2
"""Most plain bytes of one object: what is held in memory at a time."""
ID_TIME = "%Y%m%dT%H%M%S"


class Readable(Protocol):
    """What gives bytes until there are none."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


def backup_store(settings: Settings) -> ObjectStore:
    """The object store that keeps the backups.

    Raises:
        PermanentError: it is the very bucket that is backed up.
    """
    endpoint = settings.wotr_backup_endpoint or settings.minio_endpoint
    if (endpoint, settings.wotr_backup_bucket) == (settings.minio_endpoint, settings.minio_bucket):
        raise PermanentError(
            "WOTR_BACKUP_BUCKET is MINIO_BUCKET itself: a backup must lie elsewhere. Name another."
        )
    secret = settings.wotr_backup_secret_key
    return ObjectStore(
        settings.model_copy(
            update={
                "minio_endpoint": endpoint,
                "minio_access_key": settings.wotr_backup_access_key or settings.minio_access_key,
                "minio_secret_key": secret if secret.get_secret_value() else settings.minio_secret_key,
                "minio_bucket": settings.wotr_backup_bucket,
            }
        ),
        variables="WOTR_BACKUP",
    )


def new_id(store: Store, taken_at: datetime) -> str:
    """A backup's name: sorts by time within its store."""
    moment = taken_at.astimezone(UTC)
    return f"{store}-{moment:{ID_TIME}}{moment.microsecond // 1000:03d}Z"


class Repository:
    """Raises TransientError and PermanentError as the object store does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.objects = backup_store(settings)
        self.bucket = settings.wotr_backup_bucket
        self.cipher = Cipher(settings)
        self._signer = Signer(settings)

    def prepare(self) -> None:
        """Create the bucket unless it is there."""
        self.objects.ensure_bucket()

    def location(self, manifest: Manifest) -> str:
        """Where a backup's manifest lies."""
        return self.objects.uri(_manifest_key(manifest.store, manifest.backup_id))

    def data_prefix(self, store: Store, backup_id: str) -> str:
        """Below which the data of one backup lies; ends with a slash."""
        return f"{store}/data/{backup_id}/"

    # Files

    def write(self, store: Store, backup_id: str, name: str, source: Readable) -> StoredFile:
        """Store what ``source`` yields, part by part, encrypted if there is a recipient.

        One part is put while the next is read, so that a program that writes into a pipe does not stand still: two
        parts are held in memory.
        """
        putting: list[Future[Part]] = []
        with ThreadPoolExecutor(1, thread_name_prefix="backup") as pool:
            while data := _read_part(source):
                key = f"{self.data_prefix(store, backup_id)}{name}.{len(putting):05d}{self.cipher.suffix}"
                if putting:
                    putting[-1].result()
                putting.append(pool.submit(self._put_part, key, data))
        return StoredFile(name, tuple(part.result() for part in putting))

    def _put_part(self, key: str, data: bytes) -> Part:
        self.objects.put(key, self.cipher.seal(data))
        return Part(key, len(data), hashlib.sha256(data).hexdigest())

    def read(self, file: StoredFile) -> Iterator[bytes]:
        """The plain bytes of a stored file, part by part, each held against its checksum.

        Raises:
            PermanentError: a part is missing, or is not what was written.
        """
        for part in file.parts:
            yield self.read_part(part)

    def read_part(self, part: Part) -> bytes:
        """The plain bytes of one part. Raises as ``read`` does."""
        data = self.cipher.open(self.objects.get(part.key), part.key)
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise PermanentError(
                f"{self.objects.uri(part.key)} is not what was written: its checksum differs. This backup cannot be "
                "trusted; use another one, and look why the store changed an object."
            )
        return data

    # Manifests

    def publish(self, manifest: Manifest) -> None:
        """Make it a backup: everything it names must be written before."""
        self.objects.put(_manifest_key(manifest.store, manifest.backup_id), self._signer.sign(manifest))

    def backup_ids(self, store: Store) -> list[str]:
        """Every backup of a store, oldest first, whether or not its manifest can be trusted."""
        prefix = f"{store}/manifests/"
        return [
            found.key.removeprefix(prefix).removesuffix(".json")
            for found in self.objects.list(prefix)
            if found.key.endswith(".json")
        ]

    def manifest(self, store: Store, backup_id: str) -> Manifest:
        """One manifest.

        Raises:
            PermanentError: there is none, or it is not to be trusted.
        """
        key = _manifest_key(store, backup_id)
        return self._signer.read(self.objects.get(key), Manifest, self.objects.uri(key))

    def manifests(self, store: Store) -> tuple[list[Manifest], list[str]]:
        """Those that can be trusted, oldest first; and a sentence about each one that cannot."""
        good, problems = [], []
        for backup_id in self.backup_ids(store):
            try:
                good.append(self.manifest(store, backup_id))
            except PermanentError as error:
                problems.append(str(error))
        return good, problems

    def newest(self, store: Store, at: datetime | None = None, *, verified: bool = False) -> Manifest:
        """The newest backup whose state is not later than ``at``; of the ``verified`` ones, if so wished.

        Raises:
            PermanentError: there is none.
        """
        for backup_id in reversed(self.backup_ids(store)):
            with suppress(PermanentError):  # one that is not to be trusted: an older one may be
                manifest = self.manifest(store, backup_id)
                if at is not None and manifest.taken_at > at:
                    continue
                seen = self.verification(store, backup_id) if verified else None
                if not verified or (seen is not None and not seen.problem):
                    return manifest
        what = "verified backup" if verified else "backup"
        when = f" of {at:%Y-%m-%d %H:%M} UTC or before" if at else ""
        raise PermanentError(
            f"There is no {what} of {store}{when} in {self.objects.uri('')} that can be trusted. "
            f"Look at what there is: wotr restore list {store}"
        )

    def chain(self, manifest: Manifest) -> list[Manifest]:
        """The backup and those that it builds upon, the full one first.

        Raises:
            PermanentError: one of them is gone, or not to be trusted.
        """
        found = [manifest]
        while found[-1].base_id is not None:
            found.append(self.manifest(manifest.store, found[-1].base_id))
        return found[::-1]

    # Verifications

    def confirm(self, store: Store, found: Verification) -> None:
        """Keep what a drill has found, in place of what an earlier one did."""
        self.objects.put(_verification_key(store, found.backup_id), self._signer.sign(found))

    def verification(self, store: Store, backup_id: str) -> Verification | None:
        """What the last drill of a backup found; None if there was none that can be trusted."""
        key = _verification_key(store, backup_id)
        if self.objects.head(key) is None:
            return None
        with suppress(PermanentError):
            return self._signer.read(self.objects.get(key), Verification, self.objects.uri(key))
        return None

    # What goes

    def forget(self, store: Store, backup_id: str) -> None:
        """Remove a backup: it ceases to count, then to be one, then its data goes. Contents shared with others stay.

        Killed in between, it is forgotten once more, or its data is a leftover.
        """
        self.objects.delete([_verification_key(store, backup_id)])
        self.objects.delete([_manifest_key(store, backup_id)])
        self.clear(self.data_prefix(store, backup_id))

    def clear_leftovers(self, store: Store) -> list[str]:
        """Remove the data of backups that were never finished, or not wholly forgotten; the lease must be held."""
        known = set(self.backup_ids(store))
        prefix, gone = f"{store}/data/", []
        last = ""
        while found := next(iter(self.objects.list(prefix, after=last)), None):
            backup_id = found.key.removeprefix(prefix).split("/")[0]
            if backup_id not in known:
                self.clear(f"{prefix}{backup_id}/")
                gone.append(backup_id)
            last = f"{prefix}{backup_id}/\U0010ffff"
        return gone

    def clear(self, prefix: str) -> None:
        """Remove every object below a prefix."""
        self.objects.delete(found.key for found in self.objects.list(prefix))


def _read_part(source: Readable) -> bytes:
    """``PART_BYTES``, or what is left: a pipe gives what it has."""
    pieces, missing = [], PART_BYTES
    while missing and (piece := source.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _manifest_key(store: Store, backup_id: str) -> str:
    return f"{store}/manifests/{backup_id}.json"


def _verification_key(store: Store, backup_id: str) -> str:
    return f"{store}/verifications/{backup_id}.json"
