"""Files of events: NDJSON, JSON and CSV, read one event at a time in bounded memory.

Belongs here: the formats, and the mapping of a CSV's columns to an event.
Does not belong here: sending (``ingest_file.py``) or judging events. Whatever can be read is an event's
bytes; the pipeline says what is wrong with them, as it does for every producer.

- **NDJSON**: one event a line; its bytes stay as they are. Empty lines are left out.
- **JSON**: an array of events, or events one after the other. White space is not kept; numbers,
  repeated keys and their order are.
- **CSV**: a header names the columns: ``id, timestamp, event_type, source`` and, if there are,
  ``user_id, session_id, ip_address, version, tags, data``. An empty cell is an absent field. ``data``
  holds JSON; ``tags`` are separated by ``;``, ``|``, commas or spaces.
"""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import ijson
import orjson

from wotr_pipeline.stores.errors import PermanentError

LONGEST_EVENT = 10 * 1024**2
"""Bytes of one event that are read at all; what the topic takes is usually less."""
_MARK = b"\xef\xbb\xbf"
"""What some programs write before UTF-8."""
PAYLOAD_TEXTS = ("event_type", "source", "user_id", "session_id", "ip_address", "version")
CSV_REQUIRED = ("id", "timestamp", "event_type", "source")
CSV_COLUMNS = {"id", "timestamp", "tags", "data", *PAYLOAD_TEXTS}


class FileFormat(StrEnum):
    """How the events lie in a file."""

    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"


class FileError(PermanentError):
    """The file cannot be read on; the text names the place."""


@dataclass(frozen=True)
class FileEvent:
    """An event's bytes as they go to Kafka, and its place: a line's number, or an event's in JSON."""

    place: int
    value: bytes
    id: str | None


def read_events(file: IO[bytes], format_: FileFormat) -> Iterator[FileEvent]:
    """The events of a file, in order.

    Raises:
        FileError: what follows cannot be read; the events before it were yielded.
    """
    if file.read(len(_MARK)) != _MARK:
        file.seek(0)
    return _READERS[format_](file)


def format_of(path: Path) -> FileFormat:
    """The format by the file's name; in doubt by its beginning.

    Raises:
        FileError: the file cannot be opened.
    """
    by_name = {".ndjson": FileFormat.NDJSON, ".jsonl": FileFormat.NDJSON, ".csv": FileFormat.CSV}
    if path.suffix.lower() in by_name:
        return by_name[path.suffix.lower()]
    try:
        with path.open("rb") as file:
            first = file.readline(LONGEST_EVENT).removeprefix(_MARK).strip()
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}.") from error
    if first.startswith(b"["):
        return FileFormat.JSON
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        # An event that is spread over lines begins with a line that is not an event.
        return FileFormat.JSON if first in (b"", b"{") else FileFormat.NDJSON
    return FileFormat.NDJSON


def _ndjson(file: IO[bytes]) -> Iterator[FileEvent]:
    for number, line in _lines(file):
        value = line.rstrip(b"\r\n")
        if value.strip():
            yield FileEvent(number, value, _id_of(value))


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    for number in itertools.count(1):
        line = file.readline(LONGEST_EVENT + 1)
        if not line:
            return
        if len(line) > LONGEST_EVENT:
            raise FileError(f"line {number} has more than {LONGEST_EVENT} bytes.")
        yield number, line


def _id_of(value: bytes) -> str | None:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    found = event.get("id") if isinstance(event, dict) else None
    return found if isinstance(found, str) and found.isprintable() else None


def _json(file: IO[bytes]) -> Iterator[FileEvent]:
    number = 0
    tokens = ijson.basic_parse(file, multiple_values=True, buf_size=64 * 1024)
    try:
        for kind, token in tokens:
            if kind == "start_array" and number == 0:
                break
            number += 1
            yield _json_event(number, kind, token, tokens)
        for kind, token in tokens:
            if kind == "end_array":
                break
            number += 1
            yield _json_event(number, kind, token, tokens)
        if next(tokens, None) is not None:
            raise FileError(f"there is something after the end of the array, after event {number}.")
    except (ijson.JSONError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise FileError(
            f"not JSON after event {number} ({type(error).__name__}); nothing after it can be read."
        ) from None


def _json_event(number: int, kind: str, token: Any, tokens: Iterator[tuple[str, Any]]) -> FileEvent:
    """The bytes of the value that begins with ``token``, written again token by token."""
    text: list[str] = []
    depth = 0
    after_value = False
    size = 0
    while True:
        if kind in ("end_map", "end_array"):
            depth -= 1
            text.append("}" if kind == "end_map" else "]")
            after_value = True
        else:
            if after_value:
                text.append(",")
            after_value = False
            if kind == "map_key":
                text.append(f"{json.dumps(token, ensure_ascii=False)}:")
            elif kind in ("start_map", "start_array"):
                depth += 1
                text.append("{" if kind == "start_map" else "[")
            else:
                text.append(
                    str(token) if isinstance(token, Decimal) else json.dumps(token, ensure_ascii=False)
                )
                after_value = True
        size += len(text[-1])
        if size > LONGEST_EVENT:
            raise FileError(f"event {number} has more than {LONGEST_EVENT} bytes.")
        if depth == 0 and kind != "map_key":
            break
        kind, token = next(tokens)
    value = "".join(text).encode("utf-8", "surrogatepass")
    return FileEvent(number, value, _id_of(value))


def _csv(file: IO[bytes]) -> Iterator[FileEvent]:
    csv.field_size_limit(LONGEST_EVENT)
    # Bytes that are not UTF-8 go through as they are: the pipeline says what is wrong with them.
    lines = (line.decode("utf-8", "surrogateescape") for _, line in _lines(file))
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        unknown = [name for name in header if name not in CSV_COLUMNS]
        missing = [name for name in CSV_REQUIRED if name not in header]
        if unknown or missing or len(set(header)) < len(header):
            raise FileError(
                f"line 1: the header must name each of {', '.join(CSV_REQUIRED)} once, and may name "
                f"{', '.join(sorted(CSV_COLUMNS - set(CSV_REQUIRED)))}; missing: {', '.join(missing) or 'none'}; "
                f"unknown: {len(unknown)}."
            )
        line = reader.line_num + 1
        for row in reader:
            if row:
                if len(row) != len(header):
                    raise FileError(f"line {line}: {len(row)} cells, but the header has {len(header)}.")
                yield _csv_event(line, {name: cell for name, cell in zip(header, row, strict=True) if cell})
            line = reader.line_num + 1
    except csv.Error as error:
        raise FileError(f"line {line}: {error}.") from None


def _csv_event(line: int, cells: dict[str, str]) -> FileEvent:
    payload: dict[str, object] = {name: cells[name] for name in PAYLOAD_TEXTS if name in cells}
    if "tags" in cells:
        payload["tags"] = [tag for tag in re.split(r"[;|,\s]+", cells["tags"]) if tag]
    event: dict[str, object] = {name: cells[name] for name in ("id", "timestamp") if name in cells}
    text = json.dumps(event | {"payload": payload}, ensure_ascii=False)
    if "data" in cells:
        # The cell's own text: no number of it is changed by being read and written.
        data = cells["data"] if _is_json(cells["data"]) else json.dumps(cells["data"], ensure_ascii=False)
        comma = "," if payload else ""
        text = f'{text[:-2]}{comma}"data":{data}}}}}'
    value = text.encode("utf-8", "surrogateescape")
    return FileEvent(line, value, _id_of(value))


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text.encode("utf-8", "surrogateescape"))
    except orjson.JSONDecodeError:
        return False
    return True


_READERS: dict[FileFormat, Callable[[IO[bytes]], Iterator[FileEvent]]] = {
    FileFormat.NDJSON: _ndjson,
    FileFormat.JSON: _json,
    FileFormat.CSV: _csv,
}
