"""What the supervisor must know of a server.

Belongs here: the description that each server's module fills in, and the errors they share.
Does not belong here: any one server's options.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


class ServerError(Exception):
    """A server could not be prepared, started or stopped; the text names it and says what to do."""


class NotReadyError(Exception):
    """A probe's answer: the server does not do its work yet."""


def _nothing() -> None:
    """Nothing to do."""


@dataclass(frozen=True)
class Server:
    """One supervised program."""

    name: str
    """As ``wotr status`` shows it; its log is ``logs/<name>.log``."""
    address: str
    """Where its clients find it."""
    command: tuple[str, ...]
    probe: Callable[[], None]
    """Does real work with the server as its clients would; raises NotReadyError. Never waits over 5 s."""
    ports: tuple[int, ...]
    """Every loopback port it listens on."""
    prepare: Callable[[], None] = _nothing
    """What has to be there before the start (files, formats); safe to repeat. Raises ServerError."""
    complete: Callable[[], None] = _nothing
    """What has to be made once it answers (databases, topics); safe to repeat. Raises ServerError."""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    """Its working directory."""
    user: str | None = None
    """System user to run as; None: whoever started the supervisor."""
    stop_signal: str = "TERM"
    stop_group: bool = False
    """Whether its children get the stop signal too."""
    ready_within: float = 60.0
    """Seconds from start to the first successful probe."""
    stop_within: int = 20
    """Seconds from the stop signal to the kill."""
