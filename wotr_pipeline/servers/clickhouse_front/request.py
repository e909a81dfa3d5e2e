"""A request's address and headers, taken apart.

Belongs here: which query parameters steer the protocol, which are bound values, which are settings.
Does not belong here: the body, and what the engine makes of the settings.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from urllib.parse import parse_qsl

from wotr_pipeline.servers.clickhouse_front.errors import BAD_ARGUMENTS, NOT_IMPLEMENTED, FrontError

_PROTOCOL = {
    "buffer_size", "cancel_http_readonly_queries_on_client_close", "client_protocol_version", "compress",
    "database", "decompress", "default_format", "enable_http_compression", "http_headers_progress_interval_ms",
    "http_response_buffer_size", "http_zlib_compression_level", "log_comment", "password", "query", "query_id",
    "quota_key", "role", "send_progress_in_http_headers", "session_check", "session_id", "session_timeout",
    "stacktrace", "user", "wait_end_of_query",
}  # fmt: skip
_FORMAT = re.compile(r"[A-Za-z]\w{0,63}", re.ASCII)
_TRUE = {"1", "true", "on", "yes"}


@dataclass(frozen=True)
class Request:
    """What the address and the headers ask for."""

    query: str
    query_id: str
    log_comment: str
    database: str
    default_format: str
    wait_for_end: bool
    compress: bool
    settings: Mapping[str, str]
    parameters: Mapping[str, str]


def parse_parameters(query_string: bytes) -> dict[str, str]:
    """The address's parameters; of a repeated one, the last.

    Raises:
        FrontError: they are not UTF-8, or too many.
    """
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000
        )
    except ValueError:
        raise FrontError(BAD_ARGUMENTS, "The address's parameters are malformed or too many.") from None
    return dict(pairs)


def parse_form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a multipart form.

    Raises:
        FrontError: it holds files (external tables) or is no form.
    """
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = message_from_bytes(head + body)
    parts = form.get_payload()
    if not isinstance(parts, list):
        raise FrontError(BAD_ARGUMENTS, "The body is not a multipart form.")
    fields = {}
    for part in parts:
        if not isinstance(part, Message):
            continue
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None:
            raise FrontError(NOT_IMPLEMENTED, "External tables are refused: insert the data into a table.")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields


def read_request(parameters: Mapping[str, str], headers: Mapping[str, str]) -> Request:
    """Sort the parameters.

    Raises:
        FrontError: something is asked for that this front refuses.
    """
    _refuse(parameters)
    # A name of this front's own, unless the client gives one: by it the query is found.
    query_id = parameters.get("query_id") or str(uuid.uuid4())
    if len(query_id) > 256 or not query_id.isprintable():
        raise FrontError(BAD_ARGUMENTS, "query_id must be at most 256 printable characters.")
    default_format = parameters.get("default_format") or headers.get("x-clickhouse-format") or "TabSeparated"
    if not _FORMAT.fullmatch(default_format):
        raise FrontError(BAD_ARGUMENTS, "The default format is not the name of a format.")
    return Request(
        query=parameters.get("query", ""),
        query_id=query_id,
        log_comment=parameters.get("log_comment") or query_id,
        database=parameters.get("database") or headers.get("x-clickhouse-database", ""),
        default_format=default_format,
        wait_for_end=_is_true(parameters.get("wait_end_of_query")),
        compress=_is_true(parameters.get("enable_http_compression")),
        settings=_others(parameters),
        parameters={
            name.removeprefix("param_"): value
            for name, value in parameters.items()
            if name.startswith("param_")
        },
    )


def _others(parameters: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in parameters.items()
        if name not in _PROTOCOL and not name.startswith("param_")
    }


def _refuse(parameters: Mapping[str, str]) -> None:
    session = parameters.get("session_id", "")
    if (session and not _is_random_uuid(session)) or _is_true(parameters.get("session_check")):
        raise FrontError(
            NOT_IMPLEMENTED,
            "Sessions are not kept by this server: every request stands alone. "
            "With clickhouse-connect, use get_client(..., autogenerate_session_id=False).",
        )
    for name in ("compress", "decompress"):
        if _is_true(parameters.get(name)):
            raise FrontError(
                NOT_IMPLEMENTED, f"{name}=1 is refused: use Content-Encoding and Accept-Encoding."
            )
    if parameters.get("role"):
        raise FrontError(NOT_IMPLEMENTED, "There are no roles on this server.")


def _is_true(value: str | None) -> bool:
    return (value or "").lower() in _TRUE


def _is_random_uuid(text: str) -> bool:
    try:
        return uuid.UUID(text).version == 4
    except ValueError:
        return False


def decode_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; of a repeated one, the last. Values are UTF-8, as a password may be, or else Latin-1."""
    return {name.decode("latin-1").lower(): _text(value) for name, value in raw}


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
