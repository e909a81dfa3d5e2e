"""Takes a JSON message apart without losing a byte of it, and without trusting it.

Belongs here: parsing, the byte ranges of payload and data, repeated keys, nesting.
Does not belong here: what an event may contain (``rules.py``).

Parsers give values, not the text they stood for (``1.0`` and ``1e2`` come back as other digits), and none tells
which keys were repeated. So orjson, which is strict, decides what is JSON, and for a message that is JSON a
tokenizer finds where payload and data begin and end and which keys there are.
"""

import re
from dataclasses import dataclass, field

import orjson

from . import contract
from .reasons import Reason

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
BRACKET = re.compile(rb'[^"{}\[\]]*+(?:' + STRING + rb'[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
_KEY = re.compile(rb"(" + STRING + rb")[ \t\n\r]*+:[ \t\n\r]*+(?:" + STRING + rb")?", re.DOTALL)
"""With the value, if that is a string: no key is looked for inside one."""
_END_OF_KEY = re.compile(rb'"[ \t\n\r]*+:')
_HUGE_INTEGER = re.compile(rb"(?<![0-9.eE+])(?<![eE]-)[1-9][0-9]{299,}(?![0-9.eE])")

Path = tuple[str, ...]
_ROOT: Path = ()
_PAYLOAD: Path = ("payload",)
_DATA: Path = ("payload", "data")


class DocumentError(Exception):
    """The message is not a document that rules can be applied to."""

    def __init__(self, reason: Reason, path: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.path, self.message = reason, path, message


@dataclass(slots=True)
class Layout:
    """Where the parts of a message lie in its bytes. Only right if the message is JSON."""

    payload: tuple[int, int] | None = None
    """First byte of the payload object and the one after its last."""
    data: tuple[int, int] | None = None
    depth: int = 0
    repeated_key: str | None = None
    """Path of the first key that is there twice; of its object, if the contract does not know the key."""
    _keys: dict[Path, set[bytes]] = field(default_factory=dict)

    def note_keys(self, parent: Path, text: bytes) -> str:
        """Record the keys in a bracket-free piece of an object; gives the last one, or ''."""
        tokens = _KEY.findall(text)
        if not tokens:
            return ""
        if b"\\" in text:
            tokens = [b'"%s"' % key_text(token).encode("utf-8", "surrogatepass") for token in tokens]
        seen = self._keys.setdefault(parent, set())
        expected = len(seen) + len(tokens)
        earlier = seen.copy() if seen else ()
        seen.update(tokens)
        if len(seen) != expected and self.repeated_key is None:
            self._note_repeated(parent, tokens, set(earlier))
        key: bytes = tokens[-1]
        return key[1:-1].decode("utf-8", "replace")

    def _note_repeated(self, parent: Path, tokens: list[bytes], seen: set[bytes]) -> None:
        for token in tokens:
            path = (*parent, token[1:-1].decode("utf-8", "replace"))
            is_known = path in contract.KNOWN_PATHS
            if token in seen and (is_known or parent != _DATA):
                self.repeated_key = ".".join(path if is_known else parent)
                return
            seen.add(token)


@dataclass(frozen=True, slots=True)
class Document:
    """A message that is JSON: its bytes and its value."""

    text: bytes
    root: object


def read_document(value: bytes) -> Document:
    """Parse one message.

    Raises:
        DocumentError: EMPTY_MESSAGE, INVALID_ENCODING, NESTING_TOO_DEEP or MALFORMED_JSON. Nothing else,
            whatever the bytes.
    """
    if not value:
        raise DocumentError(Reason.EMPTY_MESSAGE, "", "the message has no value")
    try:
        return Document(value, orjson.loads(value))
    except orjson.JSONDecodeError as error:
        problem = error
    try:
        value.decode()
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of {len(value)} is not UTF-8"
        raise DocumentError(Reason.INVALID_ENCODING, "", message) from None
    layout = lay_out(value)
    if layout.data is not None:
        # orjson stops where the engine's parser does not: at the last level of nesting that the contract
        # allows, and at integers beyond a double. Data that is valid by itself, in a document that is valid
        # with null in its place, makes a valid document, even if the tokenizer had cut in the wrong place.
        start, end = layout.data
        try:
            root = orjson.loads(value[:start] + b"null" + value[end:])
            root["payload"]["data"] = _parse_data(value[start:end])
            return Document(value, root)
        except (orjson.JSONDecodeError, TypeError, KeyError):
            pass
    if layout.depth > contract.MAX_NESTING - 2:
        raise DocumentError(Reason.NESTING_TOO_DEEP, "", f"nested {layout.depth} levels deep")
    raise DocumentError(Reason.MALFORMED_JSON, "", f"{problem.msg}, near character {problem.pos + 1}")


def plain_payload(document: Document) -> tuple[int, int] | None:
    """The place of the payload object, if no key of the message is there twice and finding both is easy; else None.

    Without escapes no string holds a quote, so that every quote before a colon ends a key: there are as many as the
    values have keys, or one is there twice. If the payload is the last member, its end is the last bracket but one.
    Most messages are like that, and this takes a tenth of the time of ``lay_out``, which knows the others.
    """
    text, root = document.text, document.root
    if b"\\" in text or not isinstance(root, dict) or next(reversed(root), None) != "payload":
        return None
    if not isinstance(root["payload"], dict) or text.count(b'"payload"') != 1:
        return None
    if len(_END_OF_KEY.findall(text)) != _number_of_keys(root):
        return None
    start = text.index(b"{", text.index(b'"payload"'))
    return start, text.rindex(b"}", start, text.rindex(b"}")) + 1


def _number_of_keys(value: object) -> int:
    """Of all objects in it, also nested ones."""
    keys, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            keys += len(one)
            waiting.extend(one.values())
        elif type(one) is list:
            waiting.extend(one)
    return keys


def lay_out(text: bytes) -> Layout:
    """Where payload and data lie, and the first repeated key of the document, the payload or the data.

    Raises:
        DocumentError: NESTING_TOO_DEEP, at the first bracket beyond the limit.
    """
    layout = Layout()
    open_brackets: list[tuple[Path | None, int]] = []
    position = 0
    for bracket in BRACKET.finditer(text):
        path = open_brackets[-1][0] if open_brackets else None
        start, end = bracket.span(1)
        key = layout.note_keys(path, text[position:start]) if path is not None else ""
        position = end
        kind = bracket[1]
        if kind in b"{[":
            inner = None
            if kind == b"{":
                inner = _watched(path, key) if open_brackets else _ROOT
            open_brackets.append((inner, start))
            layout.depth = max(layout.depth, len(open_brackets))
            if layout.depth > contract.MAX_NESTING:
                message = f"nested deeper than {contract.MAX_NESTING} levels"
                raise DocumentError(Reason.NESTING_TOO_DEEP, "", message)
        elif open_brackets:
            _, opened = open_brackets.pop()
            if path == _PAYLOAD:
                layout.payload = (opened, end)
            elif path == _DATA:
                layout.data = (opened, end)
    return layout


def _watched(parent: Path | None, key: str) -> Path | None:
    """The path of an object below ``parent`` if its keys and its place matter, else None."""
    if parent is None:
        return None
    path = (*parent, key)
    return path if path in (_PAYLOAD, _DATA) else None


def key_text(token: bytes) -> str:
    """The name that a key's token, with its quotes, stands for."""
    if b"\\" not in token:
        return token[1:-1].decode()
    try:
        return str(orjson.loads(token))
    except orjson.JSONDecodeError:
        return ""  # Then the message is not JSON, and nobody asks for its keys.


def _parse_data(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # Integers may have any number of digits. Shortening them also shortens digits inside strings, which
        # does no harm: only presence is read from this value, and the stored text is the original.
        return orjson.loads(_HUGE_INTEGER.sub(b"1", text))
