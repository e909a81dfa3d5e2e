"""As much of SQL's surface as the protocol needs: where a statement ends and its data begins.

Belongs here: finding INSERT's data, a SELECT's FORMAT clause, what to refuse by its first words.
Does not belong here: security. The engine's own parser decides what a reader may run (``access.py``).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise, zip_longest

from wotr_pipeline.servers.clickhouse_front.errors import BAD_ARGUMENTS, NOT_IMPLEMENTED, FrontError

# Bytes are read as Latin-1, so that an offset in the text is an offset in the bytes.
_TOKEN = re.compile(
    r"""(?P<blank>\s++|--[^\n]*+|\#[\ !][^\n]*+|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]++|\\.|'')*+'|`(?:[^`\\]++|\\.|``)*+`|"(?:[^"\\]++|\\.|"")*+"
        |\xe2\x80\x98.*?\xe2\x80\x99|\xe2\x80\x9c.*?\xe2\x80\x9d|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<word>[A-Za-z_]\w*+)
    |(?P<other>\d\w*+|.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_STREAMED = {"SELECT", "WITH", "FROM", "("}
_ANSWERING = {"SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "KILL", "BACKUP", "RESTORE"}
_NAMES_FOLLOW = {"INTO", "TABLE", "FUNCTION", "."}


class Kind(Enum):
    SELECT = auto()
    """Rows that are streamed."""
    INSERT_DATA = auto()
    """INSERT … FORMAT …, the data follows."""
    OTHER = auto()
    """All else; the answer, if any, is small."""


@dataclass(frozen=True)
class Statement:
    """One statement, taken apart."""

    kind: Kind
    text: bytes
    """Up to FORMAT, which is left out; of an INSERT without data in the body, all of it."""
    tail: bytes = b""
    """What follows the format's name: a SETTINGS clause, or nothing."""
    format: str | None = None
    data_start: int = 0
    """Where an INSERT's data begin in the bytes that were read."""
    settings_start: int | None = None
    """Where an INSERT's SETTINGS clause begins in ``text``."""
    first_word: str = ""

    @property
    def bare(self) -> bytes:
        """The statement without the clause that names its format (for INSERT's data: with it)."""
        if self.kind is Kind.INSERT_DATA:
            return self.text + f" FORMAT {self.format}".encode()
        return self.text + self.tail

    @property
    def answers(self) -> bool:
        """Whether a server would name a format in its answer even when the result is empty."""
        return self.kind is Kind.SELECT or self.first_word in _ANSWERING


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int
    is_word: bool


def read_statement(raw: bytes, *, complete: bool) -> Statement | None:
    """Take ``raw`` apart; None when more bytes are needed, which only happens if not ``complete``.

    Raises:
        FrontError: the statement is empty, or is one that this front refuses.
    """
    outer = _outer_tokens(raw)
    first = next(outer, None)
    if first is None:
        if complete:
            raise FrontError((62, "SYNTAX_ERROR"), "Empty query.")
        return None
    word = first.text.upper()
    if word == "INSERT":
        found = _insert(raw, outer)
        if found is not None and (complete or found.kind is Kind.INSERT_DATA):
            return found
    if not complete:
        return None
    tokens = [first, *outer]
    _refuse(tokens)
    if word not in _STREAMED:
        # VALUES are not searched for a FORMAT clause.
        return _without_format(Kind.OTHER, raw, tokens) if word != "INSERT" else Statement(Kind.OTHER, raw)
    return _without_format(Kind.SELECT, raw, tokens)


def with_output(statement: Statement, path: str, default_format: str) -> bytes:
    """A SELECT that writes its answer to ``path``."""
    name = statement.format or default_format
    clause = f"\nINTO OUTFILE '{path}' APPEND FORMAT {name} ".encode()
    return statement.text + clause + statement.tail


def with_input(statement: Statement, path: str) -> bytes:
    """An INSERT that reads its data from ``path``."""
    at = len(statement.text) if statement.settings_start is None else statement.settings_start
    clause = f"\nFROM INFILE '{path}' COMPRESSION 'none' ".encode()
    return statement.text[:at] + clause + statement.text[at:] + f"\nFORMAT {statement.format}".encode()


def names(canonical: bytes) -> Iterator[tuple[str, bool]]:
    """The names in a statement of the engine's own spelling; whether an argument list follows."""
    tokens = _without_blanks(canonical)
    for token, after in zip_longest(tokens, tokens[1:]):
        if _is_name(token):
            yield token.group().strip("`"), after is not None and after.group() == "("


def qualified_names(canonical: bytes) -> Iterator[tuple[str, str]]:
    """Each name that stands before a dot, with what follows it; a name with a dot inside counts as two."""
    tokens = _without_blanks(canonical)
    for token in tokens:
        before, dot, after = token.group().strip("`").partition(".")
        if dot and _is_name(token):
            yield before, after
    for token, dot_token, following in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if dot_token.group() == "." and _is_name(token):
            yield token.group().strip("`"), following.group().strip("`")


def _without_blanks(text: bytes) -> list[re.Match[str]]:
    return [match for match in _TOKEN.finditer(text.decode("latin-1")) if match.group("blank") is None]


def _is_name(token: re.Match[str]) -> bool:
    return token.group("word") is not None or token.group().startswith("`")


def _outer_tokens(raw: bytes) -> Iterator[_Token]:
    """Tokens outside of parentheses (those themselves included), without blanks and comments."""
    depth = 0
    for match in _TOKEN.finditer(raw.decode("latin-1")):
        if match.group("blank") is not None:
            continue
        text = match.group()
        if text in (")", "]", "}"):
            depth = max(0, depth - 1)
        if depth == 0:
            yield _Token(text, match.start(), match.end(), match.group("word") is not None)
        if text in ("(", "[", "{"):
            depth += 1


def _insert(raw: bytes, outer: Iterator[_Token]) -> Statement | None:
    previous, settings_start = "INSERT", None
    for token in outer:
        word = token.text.upper() if token.is_word else ""
        if previous in _NAMES_FOLLOW and word not in ("TABLE", "FUNCTION"):
            word = ""
        if word in ("SELECT", "WITH", "VALUES"):
            return Statement(Kind.OTHER, raw, first_word="INSERT")
        if word == "INFILE":
            raise FrontError(NOT_IMPLEMENTED, "FROM INFILE is refused: send the data in the request's body.")
        if word == "SETTINGS":
            settings_start = token.start
        if word == "FORMAT":
            name = next(outer, None)
            data = re.compile(rb"[ \t\f]*;?[ \t\f]*(?:\r?\n)?").match(raw, name.end) if name else None
            if name is None or data is None or not name.is_word or name.end == len(raw):
                return None if name is None or name.end == len(raw) else Statement(Kind.OTHER, raw)
            return Statement(
                Kind.INSERT_DATA,
                raw[: token.start],
                format=name.text,
                data_start=data.end(),
                settings_start=settings_start,
                first_word="INSERT",
            )
        previous = token.text.upper()
    return None


def _without_format(kind: Kind, raw: bytes, tokens: list[_Token]) -> Statement:
    word = tokens[0].text.upper()
    while tokens[-1].text == ";":
        tokens.pop()
    end = tokens[-1].end
    for at in range(len(tokens) - 2, 0, -1):
        clause, name, after = tokens[at], tokens[at + 1], tokens[at + 2 : at + 3]
        is_last = not after or after[0].text.upper() == "SETTINGS"
        if clause.is_word and clause.text.upper() == "FORMAT" and name.is_word and is_last:
            return Statement(kind, raw[: clause.start], raw[name.end : end], name.text, first_word=word)
    return Statement(kind, raw[:end], first_word=word)


def _refuse(tokens: list[_Token]) -> None:
    words = [token.text.upper() if token.is_word else token.text for token in tokens]
    pairs = set(pairwise(words))
    if ("INTO", "OUTFILE") in pairs:
        raise FrontError(NOT_IMPLEMENTED, "INTO OUTFILE is refused: the answer is the result.")
    if words[0] in ("SET", "USE") or (words[0] == "CREATE" and "TEMPORARY" in words[1:4]):
        raise FrontError(
            NOT_IMPLEMENTED,
            f"{words[0]} needs a session, and this server keeps none: every request stands alone. "
            "Send settings and the database with each request.",
        )
    if words[0] == "SYSTEM" and {"SHUTDOWN", "KILL"} & set(words[1:2]):
        raise FrontError(BAD_ARGUMENTS, "The server is stopped by whoever started it, with SIGTERM.")
