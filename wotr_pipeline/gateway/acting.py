"""What every action of a person has in common: a reason, and an entry in the log before it is done.

Belongs here: reading texts of forms and addresses, noting. Does not belong here: the actions.
"""

import asyncio

from fastapi import Request

from .access import Caller
from .problems import FieldProblem, Problem
from .services import services_of

MOST_REASON = 500


def plain(text: str, field: str, most: int, *, needed: bool = True) -> str:
    """A text of a form or an address, without blanks around it.

    Raises:
        Problem: 422; it is missing, longer than ``most``, or holds control characters.
    """
    text = text.strip()
    if needed and not text:
        raise _wrong(field, "missing", "is missing")
    if len(text) > most:
        raise _wrong(field, "too_long", f"has more than {most} characters")
    # PostgreSQL's texts hold no NUL, and no log and no page is the better for the others.
    if not text.isprintable():
        raise _wrong(field, "control_character", "holds a line break or another control character")
    return text


def reason(text: str) -> str:
    """Why someone does something; kept for ever.

    Raises:
        Problem: 422; none was given.
    """
    return plain(text, "why", MOST_REASON)


async def note(request: Request, caller: Caller, action: str, target: str, why: str) -> None:
    """Write down what is about to be done; when that fails, it must not be done.

    Raises:
        TransientError, PermanentError: it could not be written.
    """
    await asyncio.to_thread(
        services_of(request).operations.note,
        caller.name,
        action,
        target,
        why,
        key_id=caller.key_id,
        request_id=request.scope.get("request_id"),
    )


def signature(caller: Caller) -> str:
    """Who acts, as histories keep it."""
    return f"{caller.name} (key {caller.key_id})"


def _wrong(field: str, code: str, message: str) -> Problem:
    detail = f"{'The reason' if field == 'why' else field.replace('_', ' ').capitalize()} {message}."
    return Problem(422, detail, errors=(FieldProblem(field, code, detail),))
