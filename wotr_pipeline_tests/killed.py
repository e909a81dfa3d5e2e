"""A process that is killed, as ``kill -9`` does, at the very call that a test names.

Belongs here: running it. Does not belong here: what must hold afterwards.
"""

import os
import pkgutil
import signal
import subprocess
import sys

from wotr_pipeline.config import Settings


def die_at(where: str, call: int, *, after: bool) -> None:
    """Let this process kill itself before or after the given call of ``package.module:Class.method``."""
    module, _, inside = where.partition(":")
    owner, _, name = inside.rpartition(".")
    holder = pkgutil.resolve_name(f"{module}:{owner}")
    real = getattr(holder, name)
    calls = 0

    def dying(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, dying)


def killed(settings: Settings, statements: str, where: str, call: int = 1, *, after: bool = False) -> None:
    """Run statements in a process that kills itself as ``die_at`` does."""
    # Here, for the process that dies imports this module too, and needs neither pytest nor the fixtures.
    from wotr_pipeline_tests.conftest import environment_of

    script = f"from wotr_pipeline_tests.killed import die_at\ndie_at({where!r}, {call}, after={after})\n{statements}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, f"It was not killed. {done.stderr[-2000:]}"
