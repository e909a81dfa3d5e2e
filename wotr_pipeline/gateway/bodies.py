"""Bodies of requests: their type, their size, and how long a client may take to send them.

Belongs here: from a request to bytes, and from a batch's bytes to those of its events. Does not belong here: rules.
"""

import asyncio
from typing import Annotated

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from ..events.document import BRACKET
from .problems import FieldProblem, Problem

JSON = "application/json"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
EVENT_BYTES = 256 * 1024
"""Of one event's request: twice what the contract lets ``data`` have."""
MOST_EVENTS = 10_000
MOST_COMMAS = 1_000_000
"""Up to so many a body goes to the parser at once: it may hold one element a comma, of some 70 bytes each."""

_elements = msgspec.json.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_EVENTS)])


async def read_body(request: Request, seconds: float, limit: int, *types: str) -> bytes:
    """The body of a request of one of these media types, at most ``limit`` bytes of it, within ``seconds``.

    Raises:
        Problem: 415 another type, charset or encoding; 413 too long; 408 too slow; 400 the client went away.
    """
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    _check_type(headers, types)
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise _too_long(limit)
    chunks: list[bytes] = []
    length = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                length += len(chunk)
                if length > limit:
                    raise _too_long(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(
            408, f"The body took longer than {seconds:.0f} s.", headers={"Connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Problem(400, "The client went away before its body was there.") from None
    return b"".join(chunks) if len(chunks) != 1 else chunks[0]


def media_type(request: Request) -> str:
    """The type of the body without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def split(body: bytes, kind: str) -> list[bytes]:
    """The events of a batch, each as it was written; of NDJSON the lines that are not blank.

    Raises:
        Problem: 422 the body is no array or none at all; 413 more than MOST_EVENTS.
    """
    events = _lines(body) if kind in NDJSON else _array(body)
    if not events:
        raise Problem(422, "The batch has no events.")
    if len(events) > MOST_EVENTS:
        raise _too_many()
    return events


def _lines(body: bytes) -> list[bytes]:
    if body.count(b"\n") > 2 * MOST_EVENTS:
        raise _too_many()
    return [line for line in body.split(b"\n") if line.strip(b" \t\r")]


def _array(body: bytes) -> list[bytes]:
    if body.count(b",") > MOST_COMMAS and _has_too_many(body):
        raise _too_many()
    try:
        return [bytes(element) for element in _elements.decode(body)]
    except msgspec.ValidationError as error:
        if "length" in str(error):
            raise _too_many() from None
        problem = FieldProblem(
            "", "wrong_type", "must be an array of events, or NDJSON with its own Content-Type"
        )
    except (msgspec.DecodeError, RecursionError) as error:
        where = str(error) if isinstance(error, msgspec.DecodeError) else "it is nested too deep"
        problem = FieldProblem("", "malformed_json", f"the array cannot be read: {where}")
    raise Problem(422, "The batch cannot be read. Nothing of it was taken.", errors=(problem,))


def _has_too_many(body: bytes) -> bool:
    """Whether the array has more elements than a batch may have, found out without holding them."""
    depth = elements = position = 0
    for bracket in BRACKET.finditer(body):
        if depth == 1:
            elements += body.count(b",", position, bracket.start(1))
            if elements >= MOST_EVENTS:
                return True
        depth += 1 if bracket[1] in b"{[" else -1
        position = bracket.end()
    return False


def _check_type(headers: dict[bytes, bytes], types: tuple[str, ...]) -> None:
    kind, _, parameters = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    if kind.strip().lower() not in types:
        raise Problem(415, f"The Content-Type must be {' or '.join(types)}.")
    if parameters.replace(" ", "").lower() not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise Problem(415, "The charset must be UTF-8.")
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
        raise Problem(415, "The body must be sent without Content-Encoding.")


def _too_long(limit: int) -> Problem:
    return Problem(
        413, f"At most {limit:,} bytes are taken here. Nothing was taken.", headers={"Connection": "close"}
    )


def _too_many() -> Problem:
    return Problem(
        413, f"At most {MOST_EVENTS:,} events are taken in one batch. Nothing was taken; send it in parts."
    )
