"""/admin/dead-letters/: the letters, and one of them.

Content is masked. Who needs to see it says why, has the scope operate, and is written down before it is shown.

Belongs here: looking. Does not belong here: sending letters again (``retries.py``), repairing them (``wotr dlq``).
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from ..events.masking import masked
from ..events.reasons import Reason
from ..events.rules import Accepted, Rejected, judge
from ..events.transformations import NamedTransformation, for_reason
from ..stores.api_keys import Scope
from ..stores.dead_letter import OPEN, Letter, LetterFilter, LetterState
from ..stores.dead_letter_contents import LetterContents
from ..stores.dead_letter_pages import Place
from ..stores.errors import PermanentError, StoreError
from . import acting
from .access import Caller
from .pages import person_with, render
from .problems import Problem
from .services import Services, services_of

LETTERS_A_PAGE = 50
SHOWN_BYTES = 128 * 1024
WHOLE_MESSAGE = "-"
"""In a filter: letters in which no field but the message itself is wrong."""

router = APIRouter(prefix="/admin/dead-letters", include_in_schema=False)


@dataclass(frozen=True)
class Choice:
    """Which letters an address names; '' is any."""

    name: str = ""
    state: str = ""
    reason: str = ""
    field: str = ""
    source: str = ""
    event_type: str = ""

    def __post_init__(self) -> None:
        """Refuse what no letter can have.

        Raises:
            Problem: 422.
        """
        for field, value in self.__dict__.items():
            acting.plain(value, field, 2_000 if field == "name" else 1_000, needed=False)
        if self.state and self.state not in LetterState.__members__:
            raise Problem(422, f"State is one of {', '.join(LetterState)}.")

    @property
    def anything(self) -> bool:
        """Whether it chooses some of the letters, and not all."""
        return any((self.name, self.reason, self.field, self.source, self.event_type))

    def wanted(self) -> LetterFilter:
        """As the register takes it; open letters unless a state or a name is given."""
        states: tuple[LetterState, ...] = () if self.name else OPEN
        return LetterFilter(
            names=(self.name,) if self.name else (),
            states=(LetterState(self.state),) if self.state else states,
            reasons=(self.reason,) if self.reason else (),
            fields=("" if self.field == WHOLE_MESSAGE else self.field,) if self.field else (),
            sources=(self.source,) if self.source else (),
            event_types=(self.event_type,) if self.event_type else (),
        )

    def query(self, **more: str) -> str:
        """For an address."""
        return urlencode({name: value for name, value in {**self.__dict__, **more}.items() if value})


def choice_of(
    name: str = "", state: str = "", reason: str = "", field: str = "", source: str = "", event_type: str = ""
) -> Choice:
    """A dependency: the choice in the address."""
    return Choice(name, state, reason, field, source, event_type)


@dataclass(frozen=True)
class Shown:
    """A letter's newest version: masked or whole, and today's verdict on it. Or why it cannot be shown."""

    text: str = ""
    verdict: Accepted | Rejected | None = None
    away: str = ""


@router.get("/")
async def letters(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.READ))],
    choice: Annotated[Choice, Depends(choice_of)],
    before: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    """The newest first, page by page."""
    register = services_of(request).letters
    wanted = choice.wanted()
    place = _place(before) if before else None
    found, chosen, reasons = await asyncio.gather(
        asyncio.to_thread(register.newest, wanted, LETTERS_A_PAGE + 1, place),
        asyncio.to_thread(register.by_state, replace(wanted, states=())),
        asyncio.to_thread(register.by_reason),
    )
    shown = found[:LETTERS_A_PAGE]
    older = ""
    if len(found) > LETTERS_A_PAGE:
        last = shown[-1]
        older = choice.query(before=f"{last.arrived_at.isoformat()}~{last.id}")
    return render(
        request,
        "admin/letters.html",
        caller=caller,
        choice=choice,
        letters=shown,
        states=chosen,
        older=older,
        first_page=not before,
        reasons=sorted({count.reason for count in reasons} | ({choice.reason} if choice.reason else set())),
        LetterState=LetterState,
        may=caller.may(Scope.OPERATE),
    )


@router.get("/letter")
async def letter_page(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.READ))],
    name: Annotated[str, Query(max_length=2_000)],
) -> Response:
    """One letter, its content masked."""
    return await _page(request, caller, name, whole=False)


@router.post("/content")
async def content_page(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.OPERATE))],
    name: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
) -> Response:
    """One letter with its content: who looks, and why, is on record before it is shown."""
    why = acting.reason(why)
    register = services_of(request).letters
    letter = await _letter(services_of(request), name)
    await acting.note(request, caller, "see a dead letter's content", letter.name, why)
    await asyncio.to_thread(register.note_access, acting.signature(caller), "show", why, [letter.name])
    return await _page(request, caller, letter.name, whole=True)


async def _page(request: Request, caller: Caller, name: str, *, whole: bool) -> Response:
    services = services_of(request)
    letter = await _letter(services, name)
    history, attempts, shown = await asyncio.gather(
        asyncio.to_thread(services.letters.history, letter),
        asyncio.to_thread(services.letters.attempts, letter),
        _shown(services, letter, whole=whole),
    )
    return render(
        request,
        "admin/letter.html",
        caller=caller,
        letter=letter,
        history=history,
        attempts=attempts,
        shown=shown,
        passes=isinstance(shown.verdict, Accepted),
        whole=whole,
        described=_described(letter.reason),
        offered=_offered(letter),
        may=caller.may(Scope.OPERATE),
        is_open=letter.state in OPEN,
        LetterState=LetterState,
        as_one=Choice(name=letter.name),
    )


async def _letter(services: Services, name: str) -> Letter:
    name = acting.plain(name, "name", 2_000)
    try:
        return await asyncio.to_thread(services.letters.letter, name)
    except PermanentError:
        raise Problem(
            404, "There is no such dead letter. One that was rejected a moment ago is here within a minute."
        ) from None


async def _shown(services: Services, letter: Letter, *, whole: bool) -> Shown:
    store = (await services.probes.health()).of("minio")
    if not store.up:
        return Shown(away=f"The object store, which holds it, is down. {store.reason}")
    try:
        content = await asyncio.to_thread(LetterContents(services.objects).content, letter)
    except StoreError as error:
        return Shown(away=str(error))
    value = content.value
    if not whole:
        return Shown(masked(value), judge(value))
    text = (value or b"")[:SHOWN_BYTES].decode("utf-8", "replace")
    cut = len(value or b"") - SHOWN_BYTES
    return Shown(text + (f"\n… and {cut:,} bytes more: wotr dlq export" if cut > 0 else ""), judge(value))


def _described(reason: str) -> str:
    return Reason(reason).description if reason in set(Reason) else ""


def _offered(letter: Letter) -> tuple[NamedTransformation, ...]:
    return for_reason(Reason(letter.reason), letter.field) if letter.reason in set(Reason) else ()


def _place(text: str) -> Place:
    at, _, number = text.partition("~")
    try:
        arrived_at, row = datetime.fromisoformat(at), int(number)
    except ValueError:
        raise Problem(422, "This page's address is not whole. Begin with the first page.") from None
    if arrived_at.tzinfo is None or not 0 <= row < 2**63:
        raise Problem(422, "This page's address is not whole. Begin with the first page.")
    return Place(arrived_at, row)
