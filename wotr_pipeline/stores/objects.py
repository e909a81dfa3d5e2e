"""The object store, by the S3 protocol.

Belongs here: putting, reading, listing and deleting whole objects of the settings' bucket, with
checksums on the way in, bounded waiting and typed errors.
Does not belong here: what objects are called (``object_keys.py``) or hold (``raw_parquet.py``).
Protocol: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from itertools import islice
from typing import IO, Any

import s3fs
from aiobotocore.session import AioSession
from aiohttp import ClientError as TransportError
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync

from ..config import Settings
from .errors import PermanentError, TransientError

CONNECT_SECONDS = 3
READ_SECONDS = 30
CALL_SECONDS = 120
"""Backstop over the library's own time-outs and retries, for one request of any size."""
ATTEMPTS = 3
READ_BYTES = 1024**2
PAGE_KEYS = 1000
"""What S3 allows for one page of a listing and for one request to delete."""

# One for all: to read the description of S3 takes each new one a fifth of a second of a processor. It knows no
# credentials, those are a client's; and only s3fs' own thread makes clients of it.
SESSION = AioSession()
_ACCESS = ("ENDPOINT", "ACCESS_KEY", "SECRET_KEY", "BUCKET")
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_EXISTS = {"412", "PreconditionFailed"}
_OURS_ALREADY = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}
_REFUSED = {
    "403": "the credentials may not do this",
    "AccessDenied": "the credentials may not do this",
    "InvalidAccessKeyId": "the access key is unknown",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "NoSuchBucket": "there is no such bucket; create it, or mend the bucket's setting",
    "InvalidBucketName": "the bucket's name is not allowed; mend the bucket's setting",
    "EntityTooLarge": "the object is larger than the store takes",
    "MethodNotAllowed": "the server at that address does not speak S3",
    "501": "the server at that address cannot do this",
    "NotImplemented": "the server at that address cannot do this",
}


@dataclass(frozen=True)
class ObjectInfo:
    """An object without its bytes. A listing does not tell ``metadata``; ``head`` does. ``size`` in bytes."""

    key: str
    size: int
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    """Changes when the object does."""


@dataclass(frozen=True)
class Piece:
    """Some bytes of an object, and what is known of the whole."""

    file: BytesIO
    """They, to be put elsewhere as they are: to take them out of the file would be a second copy."""
    metadata: Mapping[str, str]
    content_type: str


class ObjectStore:
    """Objects of the settings' bucket. Safe to share between threads, but not with a forked child.

    Every method raises TransientError when the store is away, slow or failing, and PermanentError when
    it refuses.
    """

    def __init__(self, settings: Settings, variables: str = "MINIO") -> None:
        """``variables``: how the names of the settings begin, for what errors say."""
        self._settings = settings
        self._variables = variables
        self._bucket = settings.minio_bucket
        self._filesystem = s3fs.S3FileSystem(
            session=SESSION,
            key=settings.minio_access_key,
            secret=settings.minio_secret_key.get_secret_value(),
            endpoint_url=settings.minio_endpoint,
            client_kwargs={"region_name": "us-east-1"},
            config_kwargs={
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": READ_SECONDS,
                "retries": {"mode": "standard", "max_attempts": ATTEMPTS},
                "s3": {"addressing_style": "path"},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        # The driver below retries already, with back-off; twice the same would multiply the waiting.
        self._filesystem.retries = 1

    def in_bucket(self, name: str) -> "ObjectStore":
        """Another bucket of the same store, through the same connections."""
        other = copy(self)
        other._bucket = name
        return other

    def uri(self, key: str) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self._bucket}/{key}"

    def ensure_bucket(self) -> None:
        """Create the bucket unless it is there."""
        try:
            self._call("head_bucket")
        except FileNotFoundError:
            # It may appear meanwhile: somebody else was quicker.
            with suppress(FileExistsError):
                self._call("create_bucket")

    def bucket_names(self) -> list[str]:
        """Every bucket of the store that the credentials may see."""
        answer = self._waited(
            lambda: self._filesystem.call_s3("list_buckets", timeout=CALL_SECONDS), "list the buckets"
        )
        return [bucket["Name"] for bucket in answer.get("Buckets", ())]

    def remove_bucket(self) -> None:
        """Delete every object of the bucket, and the bucket; fine if there is none."""
        with suppress(FileNotFoundError):
            self._call("head_bucket")
            self.delete(found.key for found in self.list(""))
            self._call("delete_bucket")

    def put(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str] | None = None,
        *,
        if_absent: bool = False,
        content_type: str = "application/octet-stream",
    ) -> bool:
        """Write an object whole; the store verifies its MD5 before it appears.

        Returns whether it was written: False if ``if_absent`` and there is one of that name. That may be
        this very call's, if the answer to a first attempt was lost: compare its metadata.
        """
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        try:
            self._call(
                "put_object",
                key,
                Body=data,
                ContentMD5=digest,
                ContentType=content_type,
                Metadata=dict(metadata or {}),
                **condition,
            )
        except FileExistsError:
            return False
        return True

    def put_file(
        self,
        key: str,
        file: IO[bytes],
        metadata: Mapping[str, str] | None = None,
        *,
        content_type: str = "",
    ) -> None:
        """Write the whole of a seekable file as an object, as ``put`` does, without holding it in memory."""
        digest = hashlib.md5(usedforsecurity=False)
        file.seek(0)
        while data := file.read(READ_BYTES):
            digest.update(data)
        file.seek(0)
        checksum = base64.b64encode(digest.digest()).decode()
        kind = {"ContentType": content_type} if content_type else {}
        self._call("put_object", key, Body=file, ContentMD5=checksum, Metadata=dict(metadata or {}), **kind)

    def head(self, key: str) -> ObjectInfo | None:
        """Size, time and metadata of an object, or None if there is none."""
        try:
            answer = self._call("head_object", key)
        except FileNotFoundError:
            return None
        return ObjectInfo(
            key, answer["ContentLength"], answer["LastModified"], answer["Metadata"], answer["ETag"]
        )

    def get(self, key: str) -> bytes:
        """All bytes of an object.

        Raises:
            PermanentError: there is none of that name.
        """
        try:
            return self._read(key).file.getvalue()
        except FileNotFoundError:
            raise PermanentError(f"There is no object {self.uri(key)}.") from None

    def pieces(self, version: ObjectInfo, size: int) -> Iterator[Piece]:
        """The bytes of that very version of an object, at most ``size`` at a time, at least one piece.

        Raises:
            FileNotFoundError: that version is not there any more.
        """
        if not version.size:
            try:
                found = self._call("head_object", version.key, IfMatch=version.etag)
            except FileExistsError:
                raise FileNotFoundError(version.key) from None
            yield Piece(BytesIO(), found["Metadata"], found.get("ContentType", ""))
        for start in range(0, version.size, size):
            last = min(start + size, version.size) - 1
            try:
                yield self._read(version.key, Range=f"bytes={start}-{last}", IfMatch=version.etag)
            except FileExistsError:  # the code of a condition that does not hold
                raise FileNotFoundError(version.key) from None

    def _read(self, key: str, **conditions: str) -> Piece:
        async def read() -> Piece:
            answer = await self._filesystem._call_s3("get_object", Bucket=self._bucket, Key=key, **conditions)
            # As large as it will be: one that grows is copied, and leaves holes in the memory.
            file = BytesIO(bytes(answer["ContentLength"]))
            async with answer["Body"] as body:
                while data := await body.read(READ_BYTES):
                    file.write(data)
            return Piece(file, answer["Metadata"], answer.get("ContentType", ""))

        piece: Piece = self._waited(
            lambda: sync(self._filesystem.loop, read, timeout=CALL_SECONDS), f"read {self.uri(key)}"
        )
        return piece

    def list(self, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        """Objects whose keys begin with ``prefix`` and come after ``after``, in the order of keys; page by page."""
        following: dict[str, str] = {"StartAfter": after} if after else {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, MaxKeys=PAGE_KEYS, **following)
            for entry in page.get("Contents", ()):
                yield ObjectInfo(entry["Key"], entry["Size"], entry["LastModified"], etag=entry["ETag"])
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, page by page as the keys come; one that is not there is fine."""
        coming = iter(keys)
        while page := list(islice(coming, PAGE_KEYS)):
            answer = self._call(
                "delete_objects", Delete={"Objects": [{"Key": key} for key in page], "Quiet": True}
            )
            kept = [error for error in answer.get("Errors", ()) if error.get("Code") not in _ABSENT]
            if kept:
                raise TransientError(
                    f"{len(kept)} of {len(page)} objects were not deleted, the first of them "
                    f"{self.uri(kept[0]['Key'])} ({kept[0].get('Code')}). Deleting again is safe."
                )

    def _call(self, method: str, key: str | None = None, **arguments: Any) -> Any:
        if key is not None:
            arguments["Key"] = key
        return self._waited(
            lambda: self._filesystem.call_s3(method, Bucket=self._bucket, timeout=CALL_SECONDS, **arguments),
            f"{method} {self.uri(key or arguments.get('Prefix', ''))}",
        )

    def _waited(self, call: Callable[[], Any], what: str) -> Any:
        """The answer; FileNotFoundError and FileExistsError for what is no failure to every caller."""
        try:
            return call()
        except (OSError, BotoCoreError, ClientError, TransportError) as error:
            code = _code(error)
            absent = code in _ABSENT or (isinstance(error, FileNotFoundError) and code not in _REFUSED)
            if absent or code in _EXISTS or code in _OURS_ALREADY:
                # The library's frame keeps the error, which keeps the frames of all callers and what they hold:
                # without this, megabytes that only the next garbage collection would find.
                error.__traceback__ = None
                raise (FileNotFoundError if absent else FileExistsError)(what) from None
            where = f"The object store at {self._settings.minio_endpoint}"
            if code in _REFUSED or isinstance(error, PermissionError):
                reason = _REFUSED.get(code, "the credentials may not do this")
                raise PermanentError(
                    f"{where} refused to {what}: {reason} ({code or type(error).__name__}). Check "
                    f"{', '.join(f'{self._variables}_{name}' for name in _ACCESS)}."
                ) from error
            raise TransientError(
                f"{where} did not {what}: {code or type(error.__cause__ or error).__name__}. "
                "Trying again is safe."
            ) from error


def _code(error: BaseException) -> str:
    for candidate in (error, error.__cause__):
        if isinstance(candidate, ClientError):
            return str(candidate.response.get("Error", {}).get("Code", ""))
    return ""
