"""Pieces of bytes read like a file.

Belongs here: that adapter. Does not belong here: where the pieces come from (``objects.py``).
"""

from collections.abc import Iterable, Iterator

from .objects import Piece


class PieceReader:
    """Reads pieces one after another; holds one at a time."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces: Iterator[Piece] = iter(pieces)
        self._left = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece.file.getbuffer()
        data, self._left = bytes(self._left[:size]), self._left[size:]
        return data
