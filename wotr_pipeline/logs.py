"""The log of the gateway's process: one JSON object a line on stdout, from this project and from its libraries alike.

Whoever starts the process keeps the lines: supervisord of ``wotr up`` and Docker's json-file both rotate 10 MB.

What a line never holds: a secret of the settings (each is blotted out of the finished line), local values, parameters
of SQL, or the text of an error that may quote what it was given. ``exception`` tells types, places and SQLSTATE.

Belongs here: what every line looks like and what is kept out of it.
Does not belong here: what is logged (whoever does it), the access log (``gateway/request_log.py``). Runs have Dagster's
log: ``dagster.yaml`` hands it the records of ``logging.getLogger("wotr_pipeline…")``.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import Token
from pathlib import Path
from traceback import walk_tb
from typing import Any, TextIO

import orjson
import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor

from wotr_pipeline import telemetry
from wotr_pipeline.config import PROJECT_ROOT, Settings, SettingsError
from wotr_pipeline.stores.errors import StoreError

SHORTEST_SECRET = 8
"""A shorter one would blot out ordinary words; what `wotr up` makes and what docs ask for is longer."""
BLOT = "[secret]"
MOST_FRAMES = 40
MOST_CAUSES = 5

_SAFE_TEXT = (StoreError, SettingsError)
"""Errors whose text is written for operators and quotes no content."""
_SAFE_TEXT_OF_PYTHON = frozenset(
    {AttributeError, ImportError, ModuleNotFoundError, NameError, NotImplementedError, UnboundLocalError}
)
"""Errors of Python whose text names code. Not their subclasses: those may say anything."""
_OURS = ("wotr_pipeline", "wotr", "_granian")
"""Loggers that are heard below a warning. Libraries tell addresses, statements and parameters there."""

GRANIAN_LOGGING: dict[str, Any] = {
    "formatters": {"wotr": {"()": "wotr_pipeline.logs.formatter"}},
    "handlers": {
        "wotr": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "wotr"}
    },
    "loggers": {
        "_granian": {"handlers": ["wotr"], "level": "INFO", "propagate": False},
        "granian.access": {"handlers": ["wotr"], "level": "WARNING", "propagate": False},
    },
}
"""For ``Granian(log_dictconfig=…)``: its own process then writes the same lines as its workers."""


def configure_logging(json: bool = True, settings: Settings | None = None, level: int = logging.INFO) -> None:
    """Make every log line of this process one JSON object on stdout; ``json=False``: for people at a terminal.

    ``settings``: whose secrets are blotted out, wherever they come from. Safe to call twice.
    """
    blot = _blotter(settings)
    for_people = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    render: list[Processor] = [_to_json, blot] if json else [_exception_as_text, for_people, blot]
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.add_logger_name, *render, _to_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(sys.stdout)
    handler.setFormatter(_formatter(render))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    for name in GRANIAN_LOGGING["loggers"]:
        theirs = logging.getLogger(name)
        theirs.handlers[:], theirs.propagate = [], True
    logging.captureWarnings(True)
    # Python's own way would print the error with its text.
    sys.excepthook = lambda _kind, error, _trace: _log_uncaught(error)
    threading.excepthook = lambda told: _log_uncaught(told.exc_value)
    sys.unraisablehook = lambda told: _log_uncaught(told.exc_value)


def formatter() -> logging.Formatter:
    """JSON lines, for libraries that configure their own handlers."""
    return _formatter([_to_json])


def bind_request(**values: str) -> Mapping[str, Token[Any]]:
    """Say on every line of this request: ``request_id``, ``key_id``. Returns what ``unbind_request`` takes."""
    return structlog.contextvars.bind_contextvars(**values)


def unbind_request() -> None:
    """The request is over: nothing of it is said any more."""
    structlog.contextvars.clear_contextvars()


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace_id,
        _tell_exception,
    ]


def _formatter(render: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, _first_line_of_asyncio, *_shared()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )


def _first_line_of_asyncio(_logger: Any, _method: str, event: EventDict) -> EventDict:
    # The lines after it show futures and handles, with the text of their errors.
    if event.get("logger") == "asyncio":
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _add_trace_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    trace_id = telemetry.trace_id()
    if trace_id is not None:
        event["trace_id"] = trace_id
    return event


def _tell_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
    told = event.pop("exc_info", None)
    if not told:
        return event
    error = (
        told if isinstance(told, BaseException) else (told if isinstance(told, tuple) else sys.exc_info())[1]
    )
    if error is not None:
        event["exception"] = exception_told(error)
    return event


def exception_told(error: BaseException) -> list[dict[str, Any]]:
    """The error and what caused it, the latest first: type, text where that is safe, SQLSTATE, stack."""
    return [_told(one) for one in _chain(error)]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen and len(seen) < MOST_CAUSES:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _told(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    told: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")}
    if isinstance(error, _SAFE_TEXT) or kind in _SAFE_TEXT_OF_PYTHON:
        told["message"] = str(error)
    elif isinstance(error, OSError) and error.strerror:
        told["message"] = error.strerror
    sqlstate = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(sqlstate, str):
        told["sqlstate"] = sqlstate
    if isinstance(error, BaseExceptionGroup):
        told["errors"] = [_told(one) for one in error.exceptions[:MOST_CAUSES]]
    frames = [
        f"{_place(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
    ]
    told["stack"] = frames[-MOST_FRAMES:]
    return told


def _place(filename: str) -> str:
    installed = filename.rpartition("/site-packages/")[2]
    path = Path(installed)
    return str(path.relative_to(PROJECT_ROOT)) if path.is_relative_to(PROJECT_ROOT) else installed


def _to_json(_logger: Any, _method: str, event: EventDict) -> str:
    first = {name: event.pop(name, None) for name in ("timestamp", "level", "event")}
    return orjson.dumps({**first, **event}, default=_kind_of, option=orjson.OPT_NON_STR_KEYS).decode()


def _kind_of(value: object) -> str:
    return f"<{type(value).__name__}>"


def _to_bytes(_logger: Any, _method: str, line: Any) -> Any:
    return line.encode()


def _blotter(settings: Settings | None) -> Callable[[Any, str, Any], Any]:
    secrets = () if settings is None else _secrets(settings)

    def blot(_logger: Any, _method: str, line: Any) -> Any:
        for secret in secrets:
            if secret in line:
                line = line.replace(secret, BLOT)
        return line

    return blot


def _secrets(settings: Settings) -> tuple[str, ...]:
    values = (getattr(settings, name) for name in Settings.model_fields)
    texts = {
        text
        for value in values
        if isinstance(value, SecretStr)
        for text in (value.get_secret_value(), *value.get_secret_value().split(","))  # API_KEYS is a list
        if len(text) >= SHORTEST_SECRET
    }
    as_in_json = {orjson.dumps(text).decode()[1:-1] for text in texts}
    return tuple(sorted(texts | as_in_json, key=len, reverse=True))


def _exception_as_text(_logger: Any, _method: str, event: EventDict) -> EventDict:
    told = event.pop("exception", None)
    if told:
        event["exception"] = "\n".join(
            line
            for one in told
            for line in (
                f"{one['type']}: {one.get('message', '')}",
                *(f"  {frame}" for frame in one["stack"]),
            )
        )
    return event


class _Handler(logging.StreamHandler[TextIO]):
    """Does not print the arguments of a line that could not be written, as Python's own does."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - Python's name
        place = f"{_place(record.pathname)}:{record.lineno}"
        sys.stderr.write(f'{{"level":"error","event":"a log line could not be written","place":"{place}"}}\n')


def _log_uncaught(error: BaseException | None) -> None:
    if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
        logging.getLogger("wotr_pipeline").critical("nobody caught an error", exc_info=error)
