"""The engine: one data directory, a connection of its own for every request.

Belongs here: everything that touches chDB. A connection opens in half a millisecond and carries its own
settings and database, so no request can leave anything behind for the next.
Does not belong here: HTTP, users. All calls block and are made from worker threads; the engine works outside
of the GIL, so as many run side by side as there are threads.
"""

import importlib
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wotr_pipeline.servers.clickhouse_front.errors import BAD_ARGUMENTS, SYNTAX_ERROR, FrontError, from_engine

DEFAULT_SETTINGS = {
    "s3_retry_attempts": "4",
    "s3_connect_timeout_ms": "2000",
    "s3_request_timeout_ms": "30000",
    "log_queries": "0",  # until a request's own settings are in place: SET is not worth a line in the log
}
"""The engine's own defaults retry an object store that is away for ten minutes and more."""

# What chdb.connect() wraps: it alone tells a statement's class. It comes without annotations.
_chdb: Any = importlib.import_module("chdb._chdb")
_NAME = re.compile(r"[A-Za-z_]\w{0,127}", re.ASCII)


@dataclass(frozen=True)
class Call:
    """What a statement is run with."""

    mark: str
    """Unique; found in ``system.processes`` as ``Settings['query_cache_tag']``."""
    log_comment: str
    base_settings: Mapping[str, str]
    """Set first: where they contain ``readonly=1``, the client's can change nothing."""
    settings: Mapping[str, str]
    """The client's."""
    parameters: Mapping[str, str]
    """Values of ``{name:Type}``, escaped as in ``param_name``."""
    database: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a statement did, in the engine's own counts."""

    body: bytes
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    result_rows: int
    seconds: float


class Engine:
    """chDB on one data directory. Raises FrontError wherever the engine fails."""

    def __init__(self, path: Path, config: Path | None = None, memory_limit: int = 0) -> None:
        options = dict(DEFAULT_SETTINGS)
        if config is not None:
            options["config-file"] = str(config)
        if memory_limit:
            options["max_server_memory_usage"] = str(memory_limit)
        self._address = f"{path}?" + "&".join(f"{name}={value}" for name, value in options.items())
        self._root: Any = _chdb.connect(self._address)
        self._parser: Any = _chdb.connect(self._address)  # runs nothing, so it is always free at once
        self._parsing = threading.Lock()
        self.version, self.timezone = self._texts("SELECT version(), timezone()")
        self.table_functions = set(self._texts("SELECT name FROM system.table_functions"))
        self.functions = set(self._texts("SELECT name FROM system.functions"))

    def close(self) -> None:
        """Shut the engine down; no call may be running."""
        self._parser.close()
        self._root.close()

    def check(self) -> None:
        """Do a little real work."""
        connection = _chdb.connect(self._address)
        try:
            connection.query("SELECT count() FROM system.databases", "Null")
        except RuntimeError as error:
            raise from_engine(str(error)) from None
        finally:
            connection.close()

    def classify(self, text: bytes) -> str:
        """READ_ONLY, MUTATING, MUTATING_GLOBAL, CONTROL or UNKNOWN; more than one statement is an error."""
        with self._parsing:
            try:
                found = self._parser.classify_query(text)
            except RuntimeError as error:
                raise from_engine(str(error)) from None
        if found["statement_count"] > 1:
            raise FrontError(SYNTAX_ERROR, "Multi-statements are not allowed: send one at a time.")
        return str(found["query_class"].name)

    def canonical(self, text: bytes) -> bytes:
        """``text`` as the engine writes it: no comments, names quoted only where they must be, one spelling."""
        literal = b"'" + text.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
        connection = _chdb.connect(self._address)
        try:
            return bytes(
                connection.query(b"SELECT formatQuerySingleLine(" + literal + b")", "TSVRaw").bytes()
            ).strip()
        except RuntimeError as error:
            raise from_engine(str(error)) from None
        finally:
            connection.close()

    def run(self, text: bytes, output_format: str, call: Call) -> Outcome:
        """Run one statement to its end."""
        started = time.monotonic()
        connection = _chdb.connect(self._address)
        try:
            self._prepare(connection, call)
            result = connection.query(text, output_format, params=dict(call.parameters))
            return Outcome(
                body=result.bytes(),
                read_rows=result.storage_rows_read(),
                read_bytes=result.storage_bytes_read(),
                written_rows=result.rows_written(),
                written_bytes=result.bytes_written(),
                result_rows=result.rows_read(),
                seconds=time.monotonic() - started,
            )
        except RuntimeError as error:
            raise from_engine(str(error)) from None
        finally:
            connection.close()

    def kill(self, mark: str) -> bool:
        """Ask the query of that mark to end; False if there is none."""
        connection = _chdb.connect(self._address)
        try:
            # A result's bytes are the killed queries: none of them, no bytes.
            statement = f"KILL QUERY WHERE Settings['query_cache_tag'] = '{mark}' ASYNC"
            return bool(connection.query(statement, "TSV").bytes())
        except RuntimeError as error:
            raise from_engine(str(error)) from None
        finally:
            connection.close()

    def _prepare(self, connection: Any, call: Call) -> None:
        if call.database:
            connection.query(f"USE {_quoted(call.database, '`')}")
        own = {"log_comment": call.log_comment, "query_cache_tag": call.mark, "log_queries": "1"}
        if not call.base_settings:
            connection.query(_set({**own, **call.settings}))
            return
        connection.query(_set({**own, **call.base_settings}))
        if call.settings:
            connection.query(_set(call.settings))

    def _texts(self, query: str) -> list[str]:
        return str(self._root.query(query, "TSV").bytes().decode()).split()


def _set(settings: Mapping[str, str]) -> str:
    for name in settings:
        if not _NAME.fullmatch(name):
            raise FrontError(BAD_ARGUMENTS, f"{quote(name)[:64]} is not the name of a setting.")
    return "SET " + ", ".join(f"{name} = {_quoted(value, chr(39))}" for name, value in settings.items())


def _quoted(text: str, mark: str) -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark
