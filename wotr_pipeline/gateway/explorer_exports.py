"""Whole results as files: CSV and Parquet, as the engine writes them.

A file is written to disk first and sent then. So an export is complete or it is a refusal that says why, never half a
file; and a slow download holds a file open, not the engine.

Belongs here: the formats, the limit of a file, the guard of spreadsheet formulas. Does not belong here: the route.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import IO

from ..stores.warehouse_reader import StatementError, Verdict, WarehouseReader

MOST_BYTES = 1024**3
PIECE_BYTES = 256 * 1024


class ExportFormat(StrEnum):
    """What a file may be."""

    CSV = "csv"
    PARQUET = "parquet"

    @property
    def of_engine(self) -> str:
        """Its name in ClickHouse."""
        return "CSVWithNames" if self is ExportFormat.CSV else "Parquet"

    @property
    def media_type(self) -> str:
        """For the answer's header."""
        return "text/csv; charset=utf-8" if self is ExportFormat.CSV else "application/vnd.apache.parquet"


class FormulaGuard:
    """Puts an apostrophe before text cells that a spreadsheet would run: those that begin with = + - @ tab or CR.

    ClickHouse quotes every text, doubles quotes inside, and leaves numbers bare. A quote at the start of a line or
    behind a comma that is not doubled therefore opens a text, wherever the bytes are cut.
    """

    _CELL = re.compile(rb'(?P<before>[,\n]")(?P<sign>[=+\-@\t\r])')

    def __init__(self) -> None:
        self._held = b"\n"
        self._started = False

    def pass_on(self, piece: bytes, *, last: bool = False) -> bytes:
        """What can be written now."""
        text = self._held + piece
        ready = len(text) if last else max(0, len(text) - 2)
        # The last two bytes wait for what follows them; a match that reaches into them waits, too.
        guarded, end = [], 0
        for match in self._CELL.finditer(text):
            if match.start() >= ready:
                break
            guarded += [text[end : match.end("before")], b"'"]
            end = match.start("sign")
        ready = max(ready, end)
        guarded.append(text[end:ready])
        self._held = text[ready:]
        written = b"".join(guarded)
        if not self._started and written:
            self._started = True
            return written[1:]
        return written


async def spooled(
    reader: WarehouseReader, statement: str, person: str, output_format: ExportFormat
) -> IO[bytes]:
    """The whole result in a file without a name, which vanishes when it is closed.

    Raises:
        StatementError, StoreError: as the reader does; LIMIT if the file grows beyond its limit.
    """
    guard = FormulaGuard() if output_format is ExportFormat.CSV else None
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    try:
        size = 0
        async with reader.exported(statement, person, output_format.of_engine) as pieces:
            async for piece in pieces:
                size += len(piece)
                if size > MOST_BYTES:
                    raise StatementError(
                        Verdict.LIMIT,
                        0,
                        "FILE_TOO_LARGE",
                        f"The file would be larger than {MOST_BYTES // 1024**2:,} MiB: ask for fewer rows or columns.",
                    )
                await asyncio.to_thread(file.write, guard.pass_on(piece) if guard else piece)
        if guard:
            await asyncio.to_thread(file.write, guard.pass_on(b"", last=True))
        await asyncio.to_thread(file.seek, 0)
    except BaseException:
        file.close()
        raise
    return file


async def sent(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The file's bytes; it is closed at the end, or when the client leaves."""
    try:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
    finally:
        file.close()
