"""/admin/dead-letters/retry: dead letters go through the pipeline again, by a run that everyone can see.

Two steps. The first changes nothing: it judges the chosen letters by today's rules, here and now, and says how many
would pass. The second asks Dagster for a run of ``retry_dead_letters``, which judges each letter again before it
sends it, once, in waves, and stops by itself when too few pass. So a look that is a minute old does no harm, and
the operator need not wait for a run to see that nothing would pass. Of a large class the first letters are judged
here; Dagster judges all of them in a dry run, for which there is a button too.

Belongs here: those two steps and the page of a run. Does not belong here: sending (``operations/dead_letters/``).
"""

import asyncio
import re
import shlex
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from ..events.rules import Rejected, judge
from ..stores.api_keys import Scope
from ..stores.dagster_runs import RunStatus
from ..stores.dead_letter import LetterFilter, LetterState
from ..stores.dead_letter_contents import LetterContents
from ..stores.errors import StoreError, TransientError
from . import acting
from .access import Caller
from .dead_letters import WHOLE_MESSAGE, Choice, choice_of
from .pages import person_with, render
from .problems import Problem
from .services import Services, services_of

JOB = "retry_dead_letters"
JUDGED_LETTERS = 2_000
JUDGED_SECONDS = 3.0
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

router = APIRouter(prefix="/admin", include_in_schema=False)


@dataclass
class Preview:
    """What a retry would do, as far as it was looked at."""

    chosen: int
    """NEW letters that the choice names: only those are sent."""
    others: Mapping[LetterState, int]
    """Letters that it names and that are in another state."""
    judged: int = 0
    passing: int = 0
    failing: Counter[str] = field(default_factory=Counter)
    """Letters that would be rejected again, by reason: they are not sent."""
    unreadable: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every letter was judged."""
        return self.judged + len(self.unreadable) >= self.chosen


@router.get("/dead-letters/retry")
async def preview_page(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.OPERATE))],
    choice: Annotated[Choice, Depends(choice_of)],
) -> Response:
    """What a retry would do. Nothing is changed."""
    if not choice.anything:
        raise Problem(422, "Choose some letters: by name, reason, field, source or kind of event.")
    services = services_of(request)
    store = (await services.probes.health()).of("minio")
    if not store.up:
        raise Problem(
            503, f"The object store, which holds the letters, is down. {store.reason}", retry_after=5
        )
    found = await asyncio.to_thread(_preview, services, choice.wanted())
    return render(
        request,
        "admin/retry.html",
        caller=caller,
        choice=choice,
        preview=found,
        commands=_commands(choice, ""),
        described=choice.wanted().describe(),
        failed="",
        why="",
    )


@router.post("/dead-letters/retry")
async def retry(
    request: Request,
    caller: Annotated[Caller, Depends(person_with(Scope.OPERATE))],
    name: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    field: Annotated[str, Form()] = "",
    source: Annotated[str, Form()] = "",
    event_type: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
    dry: Annotated[str, Form()] = "",
) -> Response:
    """Ask Dagster for the run, and show it."""
    choice = Choice(name, "", reason, field, source, event_type)
    if not choice.anything:
        raise Problem(422, "Choose some letters: by name, reason, field, source or kind of event.")
    why = acting.reason(why)
    services = services_of(request)
    wanted = choice.wanted()
    action = "dry run of a retry" if dry else "retry dead letters"
    await acting.note(request, caller, action, replace(wanted, states=()).describe(), why)
    config = _run_config(wanted, acting.signature(caller), why, dry=bool(dry))
    tags = {"wotr/asked_by": caller.key_id, "wotr/page": "admin"}
    try:
        run_id = await asyncio.to_thread(services.runs.launch, JOB, config, tags)
    except StoreError as error:
        return render(
            request,
            "admin/retry.html",
            status=503,
            headers={"Retry-After": "30"} if isinstance(error, TransientError) else {},
            caller=caller,
            choice=choice,
            preview=None,
            commands=_commands(choice, why),
            described=replace(wanted, states=()).describe(),
            failed=str(error),
            why=why,
        )
    return RedirectResponse(f"/admin/runs/{run_id}", 303)


@router.get("/runs/{run_id}")
async def run_page(
    request: Request, caller: Annotated[Caller, Depends(person_with(Scope.READ))], run_id: str
) -> Response:
    """How far a run has come; everything else about it is in Dagster."""
    if not RUN_ID.fullmatch(run_id):
        raise Problem(404, "There is no such run.")
    services = services_of(request)
    run: RunStatus | None = None
    away = ""
    try:
        run = await asyncio.to_thread(services.runs.status, run_id)
    except StoreError as error:
        away = str(error)
    return render(
        request,
        "admin/run.html",
        caller=caller,
        run_id=run_id,
        run=run,
        away=away,
        link=services.runs.page_of(run_id),
    )


def _preview(services: Services, wanted: LetterFilter) -> Preview:
    register = services.letters
    states = register.by_state(replace(wanted, states=()))
    chosen = states.pop(LetterState.NEW)
    found = Preview(chosen, {state: count for state, count in states.items() if count})
    ids = register.ids(replace(wanted, states=(LetterState.NEW,)), JUDGED_LETTERS)
    contents = LetterContents(services.objects)
    until = time.monotonic() + JUDGED_SECONDS
    for _, content in contents.of_letters(register.of_ids(ids), found.unreadable):
        verdict = judge(content.value)
        found.judged += 1
        if isinstance(verdict, Rejected):
            found.failing[verdict.reason.value] += 1
        else:
            found.passing += 1
        if time.monotonic() > until:
            break
    return found


def _run_config(wanted: LetterFilter, who: str, why: str, *, dry: bool) -> Mapping[str, object]:
    """For the job's launchpad; its fields are those of ``operations/dead_letters/jobs.py``."""
    config = {
        "names": list(wanted.names),
        "reasons": list(wanted.reasons),
        "fields": list(wanted.fields),
        "sources": list(wanted.sources),
        "event_types": list(wanted.event_types),
        "who": who,
        "why": why,
        "dry_run": dry,
    }
    return {"ops": {"retry": {"config": config}}}


def _commands(choice: Choice, why: str) -> list[str]:
    """What to type when Dagster is away: a look first, then the deed."""
    words = ["wotr", "dlq", "retry"]
    options = {
        "--reason": choice.reason,
        "--field": "" if choice.field == WHOLE_MESSAGE else choice.field,
        "--source": choice.source,
        "--event-type": choice.event_type,
    }
    for option, value in options.items():
        if value or (option == "--field" and choice.field == WHOLE_MESSAGE):
            words.append(f"{option}={value}")
    words += [choice.name] if choice.name else []
    return [shlex.join(words), shlex.join([*words, "--apply", f"--why={why or '…'}"])]
