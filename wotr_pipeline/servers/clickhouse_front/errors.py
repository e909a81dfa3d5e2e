"""Errors as ClickHouse's clients know them: a code, its name, a text, an HTTP status.

Belongs here: the error type, reading the engine's errors, the statuses. Codes are those of
ClickHouse's ``src/Common/ErrorCodes.cpp``, statuses those of its ``exceptionCodeToHTTPStatus``.
Does not belong here: deciding when something is an error.
"""

import re

BAD_ARGUMENTS = (36, "BAD_ARGUMENTS")
NOT_IMPLEMENTED = (48, "NOT_IMPLEMENTED")
SYNTAX_ERROR = (62, "SYNTAX_ERROR")
UNKNOWN_EXCEPTION = (1002, "UNKNOWN_EXCEPTION")
READONLY = (164, "READONLY")
QUERY_IS_TOO_LARGE = (223, "QUERY_IS_TOO_LARGE")
TOO_MANY_SIMULTANEOUS_QUERIES = (202, "TOO_MANY_SIMULTANEOUS_QUERIES")
SOCKET_TIMEOUT = (209, "SOCKET_TIMEOUT")
ACCESS_DENIED = (497, "ACCESS_DENIED")
AUTHENTICATION_FAILED = (516, "AUTHENTICATION_FAILED")
CANNOT_DECOMPRESS = (271, "CANNOT_DECOMPRESS")
UNKNOWN_COMPRESSION_METHOD = (89, "UNKNOWN_COMPRESSION_METHOD")

_BAD_REQUEST = {
    6,
    15,
    25,
    26,
    27,
    36,
    38,
    41,
    44,
    53,
    62,
    69,
    70,
    72,
    89,
    117,
    167,
    168,
    271,
    321,
    376,
    457,
    675,
    676,
}
_NOT_FOUND = {16, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115}
_STATUS = (
    dict.fromkeys(_BAD_REQUEST, 400)
    | dict.fromkeys(_NOT_FOUND, 404)
    | {159: 408, 192: 403, 193: 403, 194: 401, 202: 503, 209: 408, 223: 413, 48: 501, 497: 403, 516: 403}
)

_REPEATED = re.compile(r"^(?:Code: (\d+)\. DB::Exception: )+")
_TRAILER = re.compile(r"(?:\s*\(version [^()]*\)|\.(?= \([A-Z0-9_]+\)$)|\s*\(([A-Z][A-Z0-9_]+)\))+\.?\s*$")
_SPOOL = re.compile(
    r"(?:: )?\(in file/uri (?:/dev/fd/\d+|[^)]*http_bodies/[^)]*)\)"
    r"|(?:: )?(?:While executing File: )?data for INSERT was parsed from file"
)


class FrontError(Exception):
    """What the client is told. ``text`` may quote the client's own statement or data: never log it."""

    def __init__(self, kind: tuple[int, str], text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.code, self.name = kind
        self.text = text
        self.status = status or _STATUS.get(self.code, 500)

    def body(self, version: str) -> str:
        """The answer's text, in the words of a server."""
        return f"Code: {self.code}. DB::Exception: {self.text} ({self.name}) (version {version} (chDB))\n"


def from_engine(message: str) -> FrontError:
    """Read an exception's text, ``Code: 60. DB::Exception: … (UNKNOWN_TABLE)``, repeated or not."""
    start = message.find("Code: ")
    head = _REPEATED.match(message[start:]) if start >= 0 else None
    if head is None:
        return FrontError(UNKNOWN_EXCEPTION, message.strip() or "The engine failed without a word.")
    text = message[start + head.end() :].strip()
    names = re.findall(r"\(([A-Z][A-Z0-9_]+)\)", text[-200:])
    text = _SPOOL.sub("", _TRAILER.sub("", text)).strip()
    return FrontError((int(head.group(1)), names[-1] if names else "UNKNOWN_EXCEPTION"), text)
