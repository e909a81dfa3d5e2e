"""The manifest of a backup: what it holds and what a restore must bring back, signed.

Belongs here: its types, its bytes, its signature. Does not belong here: where it is kept (``repository.py``).

Format: JSON ``{"version": 1, "signature": "<hex>", "manifest": {…}}``; the signature is HMAC-SHA256 (RFC 2104) under
WOTR_BACKUP_SIGNING_KEY over the exact bytes of the member ``manifest``, prefixed by what kind of document it is.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

import msgspec

from ..config import Settings
from ..stores.errors import PermanentError

FORMAT_VERSION = 1


class Store(StrEnum):
    """Whose state a backup holds."""

    MINIO = "minio"
    POSTGRES = "postgres"
    CLICKHOUSE = "clickhouse"


@dataclass(frozen=True)
class Part:
    """A piece of a stored file, an object of its own: ``size`` and ``sha256`` are those of the plain bytes."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class StoredFile:
    """A file that lies in the bucket of the backups: its parts, one after another."""

    name: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Plain bytes."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True)
class Fact:
    """What a restored place must hold: ``items`` rows or objects, and a checksum over everything in them."""

    name: str
    """Table (``database.table``), or prefix of keys."""
    partition: str
    items: int
    checksum: str


@dataclass(frozen=True)
class Manifest:
    """One backup."""

    backup_id: str
    store: Store
    taken_at: datetime
    """The moment whose state it holds."""
    finished_at: datetime
    source: str
    """What was backed up: a bucket or a database."""
    bytes: int
    """What this backup added to the bucket."""
    base_id: str | None
    """The backup that it builds upon; None: it stands alone."""
    recipient: str
    """For whom it is encrypted; empty: it is not."""
    files: tuple[StoredFile, ...]
    facts: tuple[Fact, ...]
    details: dict[str, str] = field(default_factory=dict)
    """What the store's own module needs for a restore."""

    @property
    def items(self) -> int:
        """Rows or objects."""
        return sum(fact.items for fact in self.facts)

    def file(self, name: str) -> StoredFile:
        """The file of that name.

        Raises:
            PermanentError: there is none.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise PermanentError(f"The backup {self.backup_id} has no file {name}. Choose another one.")


@dataclass(frozen=True)
class Verification:
    """What a drill found: ``problem`` is empty when it brought back everything."""

    backup_id: str
    at: datetime
    restore_seconds: float
    items: int
    bytes: int
    problem: str


Document = TypeVar("Document", Manifest, Verification)


class _Envelope(msgspec.Struct):
    version: int
    signature: str
    manifest: msgspec.Raw


class Signer:
    """Signs documents and knows its own signature."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.wotr_backup_signing_key.get_secret_value().encode()

    def sign(self, document: Manifest | Verification) -> bytes:
        """The document's bytes, signature included.

        Raises:
            PermanentError: there is no key.
        """
        if not self._key:
            raise PermanentError(
                "Backups are signed, and WOTR_BACKUP_SIGNING_KEY is empty. Set it to 32 random characters or more "
                "(openssl rand -hex 24), and keep a copy outside the platform."
            )
        body = msgspec.json.encode(document)
        envelope = _Envelope(FORMAT_VERSION, self._signature(type(document), body), msgspec.Raw(body))
        return msgspec.json.encode(envelope) + b"\n"

    def read(self, data: bytes, kind: type[Document], where: str) -> Document:
        """The document, if it is one and has been signed with the key of the settings.

        Raises:
            PermanentError: it is damaged, of a newer version, or signed by somebody else.
        """
        try:
            envelope = msgspec.json.decode(data, type=_Envelope)
        except msgspec.MsgspecError:
            raise PermanentError(f"{where} is damaged: it is no manifest. Use another backup.") from None
        if envelope.version != FORMAT_VERSION:
            raise PermanentError(
                f"{where} has version {envelope.version}; this program reads {FORMAT_VERSION}."
            )
        body = bytes(envelope.manifest)
        if not self._key or not hmac.compare_digest(envelope.signature, self._signature(kind, body)):
            raise PermanentError(
                f"{where} is not signed with this WOTR_BACKUP_SIGNING_KEY: it was changed, or the key is another one. "
                "Set the key that it was signed with; if that is this one, do not trust the backup."
            )
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError:
            raise PermanentError(f"{where} is signed, but this program cannot read it.") from None

    def _signature(self, kind: type, body: bytes) -> str:
        return hmac.new(self._key, kind.__name__.encode() + b"\0" + body, hashlib.sha256).hexdigest()
