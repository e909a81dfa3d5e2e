"""Taking events: judged, looked up, published, acknowledged, entered; in this order, for one or ten thousand.

What becomes of an event, and what its sender is told:

===========  =======================================================================================================
accepted     Kafka has it on record (acks=all). Its id was entered; if PostgreSQL went away just then it was not, and a
             repeat is published again, for the pipeline to leave out as a duplicate: told as accepted all the same
repeated     the id was accepted before, or is under way in another request: told where that event lies, published not
rejected     it breaks the contract: told every broken rule, published not
failed       Kafka did not acknowledge it in time. It may be there all the same: to be sent again with the same id
===========  =======================================================================================================

A gateway that is killed at any point has told nobody anything yet: the sender repeats. An id that the gateway made
itself is lost with the answer, so a sender who leaves ids out sends an ``Idempotency-Key``, from which the ids are
derived.

Belongs here: that order. Does not belong here: HTTP (``ingest.py``), rules, drivers.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

import structlog

from ..events.completion import completed
from ..events.explain import problems
from ..events.reasons import EventWarning
from ..events.rules import Rejected
from ..stores.errors import StoreError
from ..stores.kafka_publisher import Header, KafkaPublisher, Position, Record
from ..stores.seen_ids import Seen, SeenIds, Taken

JUDGED_AT_ONCE = 100
"""Events between two moments in which other requests get their turn."""

_log = structlog.get_logger(__name__)
_NAMESPACE = uuid.UUID("9d1c2f7e-0f5b-4a53-8a56-6a1b9a4c7f10")
"""Of the ids derived from Idempotency-Keys; arbitrary, and fixed for ever."""


class ReusedKeyError(Exception):
    """One Idempotency-Key for two requests that differ."""


class Outcome(StrEnum):
    """What became of one event."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one event's sender is told."""

    outcome: Outcome
    id: str | None
    position: Position | None = None
    object_key: str | None = None
    warnings: tuple[EventWarning, ...] = ()
    problems: tuple[Rejected, ...] = ()
    same_content: bool = True
    """False: the id was accepted before, with other bytes."""


@dataclass(slots=True)
class _Event:
    """One event that keeps the contract, on its way."""

    id: str
    text: bytes
    payload_size: int
    content_hash: int
    warnings: tuple[EventWarning, ...]
    is_new: bool
    """Whether the gateway has just made the id: then nobody can know it."""


class Intake:
    """Takes events for the routes; one to a process, on its loop."""

    def __init__(self, publisher: KafkaPublisher, seen: SeenIds) -> None:
        self._publisher = publisher
        self._seen = seen
        self._under_way: dict[str, asyncio.Future[Verdict]] = {}

    async def take(
        self, bodies: Sequence[bytes], idempotency: str | None = None, headers: tuple[Header, ...] = ()
    ) -> list[Verdict]:
        """What became of each event, in their order.

        ``idempotency`` names this very request, for the ids of events that have none; ``headers`` go with each record.

        Raises:
            TransientError, PermanentError: PostgreSQL cannot say which ids are known; nothing was published.
            ReusedKeyError: an event was accepted under this ``idempotency`` with other bytes; nothing was published.
        """
        judged = await self.judge(bodies, idempotency)
        mine: dict[str, _Event] = {}
        others: dict[str, asyncio.Future[Verdict]] = {}
        for event in judged:
            if isinstance(event, Verdict) or event.id in mine or event.id in others:
                continue
            if (running := self._under_way.get(event.id)) is not None:
                others[event.id] = running
            else:
                mine[event.id] = event
        told = await self._take_mine(mine, headers, strictly=idempotency is not None) if mine else {}
        for event_id, running in others.items():
            told[event_id] = await asyncio.shield(running)
        first_told: set[str] = {*others}
        verdicts = []
        for event in judged:
            if isinstance(event, Verdict):
                verdicts.append(event)
                continue
            verdict = told[event.id]
            verdicts.append(
                _repeated(verdict, mine.get(event.id), event) if event.id in first_told else verdict
            )
            first_told.add(event.id)
        return verdicts

    async def judge(
        self, bodies: Sequence[bytes], idempotency: str | None = None
    ) -> list["_Event | Verdict"]:
        """Each event ready to be published, or its rejection."""
        made = _ids(idempotency)
        now = datetime.now(UTC)
        judged: list[_Event | Verdict] = []
        for number, body in enumerate(bodies):
            if number and number % JUDGED_AT_ONCE == 0:
                await asyncio.sleep(0)
            judged.append(_judge(body, partial(made, number), now, is_known=idempotency is not None))
        return judged

    async def _take_mine(
        self, mine: dict[str, _Event], headers: tuple[Header, ...], *, strictly: bool
    ) -> dict[str, Verdict]:
        loop = asyncio.get_running_loop()
        running = {event_id: loop.create_future() for event_id in mine}
        self._under_way |= running
        told: dict[str, Verdict] = {}
        try:
            known = await self._seen.find([event.id for event in mine.values() if not event.is_new])
            told = {
                seen_id: _seen_before(mine[seen_id], seen)
                for seen_id, seen in known.items()
                if seen_id in mine
            }
            if strictly and not all(verdict.same_content for verdict in told.values()):
                raise ReusedKeyError
            fresh = [event for event in mine.values() if event.id not in told]
            told |= await self._publish(fresh, headers)
            return told
        finally:
            for event_id, future in running.items():
                del self._under_way[event_id]
                # Whoever waits for this very event is told to send it again, if this one came to nothing.
                future.set_result(told.get(event_id, Verdict(Outcome.FAILED, event_id)))

    async def _publish(self, events: Sequence[_Event], headers: tuple[Header, ...]) -> dict[str, Verdict]:
        results = await self._publisher.publish([Record(event.id, event.text, headers) for event in events])
        told, taken = {}, []
        for event, result in zip(events, results, strict=True):
            if isinstance(result, Position):
                taken.append(Taken(event.id, event.payload_size, result, event.content_hash))
                told[event.id] = Verdict(Outcome.ACCEPTED, event.id, result, warnings=event.warnings)
            else:
                told[event.id] = Verdict(Outcome.FAILED, event.id)
        failed = len(events) - len(taken)
        if failed:
            reasons = sorted({str(result) for result in results if not isinstance(result, Position)})
            _log.warning("not acknowledged", events=failed, errors=reasons[:3])
        try:
            await self._seen.note(taken)
        except StoreError as error:
            _log.warning("ids not entered", events=len(taken), error=str(error))
        return told


def _ids(idempotency: str | None) -> Callable[[int], str]:
    if idempotency is None:
        return lambda _number: str(uuid.uuid4())
    return lambda number: str(uuid.uuid5(_NAMESPACE, f"{idempotency}\0{number}"))


def _judge(body: bytes, new_id: Callable[[], str], now: datetime, *, is_known: bool) -> _Event | Verdict:
    """``is_known``: a new id is one that may have been made before."""
    made = completed(body, new_id, now)
    verdict = made.verdict
    if isinstance(verdict, Rejected):
        return Verdict(Outcome.REJECTED, verdict.id, problems=problems(made.text, verdict))
    return _Event(
        id=verdict.id,
        text=made.text,
        payload_size=len(verdict.payload.encode()),
        content_hash=_content_hash(body),
        warnings=verdict.warnings,
        is_new=made.has_new_id and not is_known,
    )


def _content_hash(body: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest(), "big", signed=True)


def _seen_before(event: _Event, seen: Seen) -> Verdict:
    same = seen.content_hash in (None, event.content_hash)
    return Verdict(
        Outcome.REPEATED, event.id, seen.position, seen.object_key, event.warnings, same_content=same
    )


def _repeated(first: Verdict, leader: _Event | None, event: _Event) -> Verdict:
    """What is told of an id that another event, here or under way elsewhere, has brought."""
    if first.outcome is Outcome.FAILED:
        return first
    same = leader is None or leader.content_hash == event.content_hash
    return Verdict(
        Outcome.REPEATED, event.id, first.position, first.object_key, event.warnings, same_content=same
    )
