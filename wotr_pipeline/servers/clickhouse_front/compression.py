"""Content codings of the protocol, both ways, in steps of bounded size.

Belongs here: decoders that read every frame of a body, encoders, the choice between them.
Does not belong here: ClickHouse's own block framing (``compress=1``), which is refused.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lz4.frame
from backports import zstd

from wotr_pipeline.servers.clickhouse_front.errors import (
    CANNOT_DECOMPRESS,
    UNKNOWN_COMPRESSION_METHOD,
    FrontError,
)

STEP = 1 << 20
"""Most bytes that one step of a decoder yields: a small body may unpack to a very large one."""


class Encoder(Protocol):
    """Compresses one stream."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor(auto_flush=False)
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        begin = b"" if self._begun else self._frame.begin()
        self._begun = True
        return bytes(begin + self._frame.compress(data))

    def flush(self) -> bytes:
        begin = b"" if self._begun else self._frame.begin()
        return bytes(begin + self._frame.flush())


class _ZlibDecoder:
    """zlib's decompressor with the face of lz4's and zstd's."""

    def __init__(self, window: int) -> None:
        self._stream = zlib.decompressobj(window)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail and not self._stream.eof

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data


_DECODERS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: _ZlibDecoder(zlib.MAX_WBITS | 16),
    "deflate": lambda: _ZlibDecoder(zlib.MAX_WBITS),
}
_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "lz4": _Lz4Encoder,
    "zstd": lambda: zstd.ZstdCompressor(level=1),
    "gzip": lambda: zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16),
    "deflate": lambda: zlib.compressobj(1),
}


class BodyDecoder:
    """Decodes a request's body, however many frames it holds.

    Raises:
        FrontError: the coding is unknown, the bytes are not of it, or the last frame is cut short.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding.strip().lower()
        self._frame: Any = None
        if self._coding in ("", "identity"):
            self._new = None
        elif self._coding in _DECODERS:
            self._new = _DECODERS[self._coding]
        else:
            known = ", ".join(_DECODERS)
            raise FrontError(
                UNKNOWN_COMPRESSION_METHOD, f"Content-Encoding must be one of {known}.", status=415
            )

    def decode(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes of ``data``, in pieces of at most ``STEP``."""
        if self._new is None:
            yield data
            return
        while data or (self._frame is not None and not self._frame.needs_input):
            if self._frame is None:
                self._frame = self._new()
            try:
                piece = self._frame.decompress(data, STEP)
            except (RuntimeError, zlib.error, zstd.ZstdError, EOFError) as error:
                raise FrontError(
                    CANNOT_DECOMPRESS, f"The body is not valid {self._coding}: {type(error).__name__}."
                ) from None
            data = b""
            if self._frame.eof:
                data, self._frame = self._frame.unused_data or b"", None
            if piece:
                yield piece

    def finish(self) -> None:
        """Called at the body's end."""
        if self._frame is not None:
            raise FrontError(CANNOT_DECOMPRESS, f"The body ends within a frame of {self._coding}.")


def choose_encoding(accepted: str) -> str | None:
    """The first of ``Accept-Encoding``'s codings that is spoken here."""
    for item in accepted.split(","):
        coding, _, parameters = item.partition(";")
        if coding.strip().lower() in _ENCODERS and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            return coding.strip().lower()
    return None


def new_encoder(coding: str) -> Encoder:
    return _ENCODERS[coding]()
