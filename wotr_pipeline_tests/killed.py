"""A process that is killed, as ``kill -9`` does, at the very call or as soon as something is to be seen.

Belongs here: running it. Does not belong here: what must hold afterwards.
"""

import operator
import os
import pkgutil
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.config import Settings
from wotr_pipeline_tests.forked import FORKING, Forked

Moment = Literal["before", "after"]


def named(call_or_moment: object) -> str:
    """How a test's name says at which call it kills, and when."""
    return getattr(call_or_moment, "__qualname__", str(call_or_moment))


def killed(
    work: Callable[..., object],
    settings: Settings,
    *arguments: Any,
    at: Callable[..., object],
    moment: Moment = "before",
    call: int = 1,
) -> None:
    """Run ``work(settings, *arguments)`` in a process that kills itself at one call of ``at``; see it die there.

    ``work``: a function of a module. ``at``: a function of a module or of a class, for whoever looks it up there
    when it is called.
    """
    reached, telling = FORKING.Pipe(duplex=False)
    with Forked(_doomed, settings, telling, work, arguments, at, moment, call) as process:
        telling.close()
        code, complaint = process.ended()
    where = f"{moment} call {call} of {at.__qualname__}"
    assert code == -signal.SIGKILL, f"It was not killed {where}, but ended with {code}. {complaint[-2000:]}"
    assert reached.poll(), f"It was killed, but not {where}."
    reached.close()


def killed_once(
    seen: Callable[[], object], work: Callable[..., object], settings: Settings, *arguments: Any
) -> None:
    """Run ``work(settings, *arguments)`` in a process and kill it as soon as ``seen`` is true."""
    with Forked(work, settings, *arguments) as running:
        waiting = Retrying(
            stop=stop_after_delay(60), wait=wait_fixed(0.005), retry=retry_if_result(operator.not_)
        )
        waiting(lambda: running.process.exitcode is not None or seen())
        running.process.kill()
        code, complaint = running.ended()
    assert code == -signal.SIGKILL, f"It was not killed, but ended with {code}. {complaint[-2000:]}"


def _doomed(
    settings: Settings,
    telling: Connection,
    work: Callable[..., object],
    arguments: tuple[Any, ...],
    at: Callable[..., object],
    moment: Moment,
    call: int,
) -> None:
    owner, _, name = at.__qualname__.rpartition(".")
    holder = pkgutil.resolve_name(f"{at.__module__}:{owner}")
    calls = 0

    def die() -> None:
        telling.send(name)
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(*given: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        here = calls == call
        if here and moment == "before":
            die()
        result = at(*given, **named)
        if here:
            die()
        return result

    setattr(holder, name, dying)
    work(settings, *arguments)
