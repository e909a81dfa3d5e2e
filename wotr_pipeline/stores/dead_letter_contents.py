"""Dead letters as they lie in the object store: envelopes, repaired versions, what others put there.

Belongs here: from objects to found letters and their bytes, and repaired versions into objects.
Does not belong here: what is known of a letter's repair (``dead_letter_register.py``), the envelope
(``events/envelope.py``).

An object is read whole, once for all letters of it that are asked for one after the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from ..events import repaired
from ..events.contract import RULES_VERSION
from ..events.envelope import DeadLetter, EnvelopeError, dead_letter, from_line, to_line
from ..events.reasons import Reason
from ..events.rules import Accepted, Rejected, judge
from .batch import Batch
from .dead_letter import Found, Letter
from .errors import PermanentError
from .objects import ObjectStore

LETTER_HEADER = "wotr-dead-letter"
"""Header of a retry: the name of its dead letter."""
ATTEMPT_HEADER = "wotr-attempt"
"""Header of a retry: the number of the attempt."""
PUBLISHED_HEADER = "wotr-published"
"""Header of an envelope that this pipeline put into the dead-letter topic: it is not read back."""

TOO_LARGE = "object_too_large"
"""Reason of an object of others that is not read; it has no code of the rules because nothing judged it."""
MOST_TEXT = 1_000
MOST_OBJECT_BYTES = 256 * 1024**2
LINES = (".jsonl", ".ndjson")
OBJECTS_HELD = 4


@dataclass(frozen=True)
class ReceivedRecord:
    """A record of the dead-letter topic. ``arrived_at`` is aware."""

    offset: int
    arrived_at: datetime
    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Content:
    """A letter's newest version, and what came with the original record."""

    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class LetterContents:
    """Reads and writes the objects of dead letters. Raises TransientError and PermanentError as the store does."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lines = lru_cache(OBJECTS_HELD)(self._read_lines)

    def of_batch(self, batch: Batch) -> list[Found]:
        """The letters of a batch.

        Raises:
            PermanentError: its object is gone, or is not what the batch wrote.
        """
        if not batch.dead_letters_key:
            return []
        found = []
        for number, line in enumerate(self._read_lines(batch.dead_letters_key)):
            try:
                letter = from_line(line)
            except EnvelopeError as error:
                raise PermanentError(
                    f"Line {number + 1} of {self._objects.uri(batch.dead_letters_key)} is {error}. The object was "
                    "changed: reprocess the hour, which writes it anew."
                ) from None
            found.append(_found(letter, f"{letter.topic}:{letter.partition}:{letter.offset}", number))
        return found

    def of_others(self, key: str, size: int, modified: datetime) -> list[Found]:
        """The letters of an object that no batch wrote: envelopes, events line by line, or any file."""
        if size > MOST_OBJECT_BYTES:
            message = f"{size:,} bytes, at most {MOST_OBJECT_BYTES:,} are read"
            return [
                Found(
                    name=f"{key}#0",
                    line=0,
                    reason=TOO_LARGE,
                    field="",
                    message=message,
                    rules_version=RULES_VERSION,
                    source="",
                    event_type="",
                    version="",
                    event_id="",
                    size=size,
                    arrived_at=modified,
                )
            ]
        found = []
        for number, line in enumerate(self._read_lines(key)):
            name = f"{key}#{number}"
            try:
                found.append(_found(from_line(line), name, number))
            except EnvelopeError:
                found.append(_judged(line, name, number, modified))
        return found

    def keep_received(
        self, key: str, topic: str, partition: int, records: Sequence[ReceivedRecord]
    ) -> list[Found]:
        """Write what the dead-letter topic held as envelopes to ``key``; returns the letters."""
        letters = [_received(record, topic, partition) for record in records]
        self._objects.put(key, b"".join(map(to_line, letters)), {"records": str(len(letters))})
        return [
            _found(letter, f"{letter.topic}:{letter.partition}:{letter.offset}", number)
            for number, letter in enumerate(letters)
        ]

    def keep_repaired(self, key: str, versions: Sequence[repaired.RepairedLetter]) -> None:
        """Write repaired versions to ``key``, a line each."""
        data = b"".join(map(repaired.to_line, versions))
        self._objects.put(key, data, {"records": str(len(versions))}, if_absent=True)

    def of_letters(
        self, letters: Iterable[Letter], unreadable: list[str]
    ) -> Iterator[tuple[Letter, Content]]:
        """Letters with their newest versions; quick when letters of one object follow each other.

        One whose content cannot be had is left out, with a sentence about it added to ``unreadable``.
        """
        for letter in letters:
            try:
                yield letter, self.content(letter)
            except PermanentError as error:
                unreadable.append(f"{letter.name}: {error}")

    def content(self, letter: Letter) -> Content:
        """A letter's newest version.

        Raises:
            PermanentError: its object was pruned or is gone.
        """
        if letter.pruned_at is not None:
            raise PermanentError(f"The content of {letter.name} was pruned on {letter.pruned_at:%Y-%m-%d}.")
        line = self._line(letter.object_key, letter.line, letter.name)
        try:
            envelope = from_line(line)
            original = Content(envelope.value, envelope.key, envelope.headers)
        except EnvelopeError:
            original = Content(line, None, ())
        if letter.fix_key is None or letter.fix_line is None:
            return original
        fixed = repaired.from_line(self._line(letter.fix_key, letter.fix_line, letter.name))
        return Content(fixed.value, original.key, original.headers)

    def envelope(self, letter: Letter) -> DeadLetter | None:
        """The letter's envelope, or None if others put it there without one."""
        try:
            return from_line(self._line(letter.object_key, letter.line, letter.name))
        except EnvelopeError:
            return None

    def _line(self, key: str, number: int, name: str) -> bytes:
        lines = self._lines(key)
        if number >= len(lines):
            raise PermanentError(
                f"{self._objects.uri(key)} has no line {number + 1}, where {name} should lie."
            )
        return lines[number]

    def _read_lines(self, key: str) -> list[bytes]:
        data = self._objects.get(key)
        if not key.endswith(LINES):
            return [data]
        return [line for line in data.split(b"\n") if line]


def _found(letter: DeadLetter, name: str, line: int) -> Found:
    headers = dict(letter.headers)
    attempt = (headers.get(ATTEMPT_HEADER) or b"").decode(errors="replace")
    is_retry = attempt.isdecimal() and len(attempt) < 10
    return Found(
        name=name,
        line=line,
        reason=letter.reason.value,
        field=_clean(letter.field),
        message=_clean(letter.message),
        rules_version=_clean(letter.rules_version),
        source=_clean(letter.source),
        event_type=_clean(letter.event_type),
        version=_clean(letter.event_version),
        event_id=_clean(letter.event_id),
        size=len(letter.value or b""),
        arrived_at=letter.kafka_timestamp,
        retry_of=_clean((headers.get(LETTER_HEADER) or b"").decode(errors="replace")) if is_retry else "",
        retry_attempt=int(attempt) if is_retry else 0,
    )


def _clean(text: str | None) -> str:
    # Others write envelopes too, and PostgreSQL's texts hold no NUL.
    return (text or "")[:MOST_TEXT].replace("\0", "\ufffd")


def _judged(line: bytes, name: str, number: int, modified: datetime) -> Found:
    """A line that is no envelope, judged as an event."""
    reason, field, message, verdict = _verdict(line)
    return Found(
        name=name,
        line=number,
        reason=reason.value,
        field=field,
        message=message,
        rules_version=RULES_VERSION,
        source=verdict.source or "",
        event_type=verdict.event_type or "",
        version=verdict.version or "",
        event_id=verdict.id or "",
        size=len(line),
        arrived_at=modified,
    )


def _received(record: ReceivedRecord, topic: str, partition: int) -> DeadLetter:
    """What a service put into the dead-letter topic: its envelope, or its event with today's verdict."""
    place: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "kafka_timestamp": record.arrived_at,
        "batch_id": f"{topic}:{partition}",
    }
    try:
        return replace(from_line(record.value or b""), **place)
    except EnvelopeError:
        reason, field, message, verdict = _verdict(record.value)
    rejected = Rejected(
        reason,
        field,
        message,
        verdict.id,
        verdict.event_type,
        verdict.source,
        verdict.timestamp,
        verdict.version,
    )
    return dead_letter(rejected, value=record.value, key=record.key, headers=record.headers, **place)


def _verdict(value: bytes | None) -> tuple[Reason, str, str, Accepted | Rejected]:
    verdict = judge(value)
    if isinstance(verdict, Rejected):
        return verdict.reason, verdict.field, verdict.message, verdict
    return Reason.REFUSED_ELSEWHERE, "", Reason.REFUSED_ELSEWHERE.description, verdict
