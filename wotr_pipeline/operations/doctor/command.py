"""What ``wotr doctor`` does: look, judge, tell.

Belongs here: the order of that, and what a service's name means. Does not belong here: options (``cli.py``).
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values

from wotr_pipeline.config import ENVIRONMENT_FILE, load_settings

from .diagnosis import diagnose
from .looking import look
from .report import as_json, lines
from .service import details, service_named


def examine(data_dir: Path, only: str | None, json_wanted: bool, tell: Callable[[str], None]) -> int:
    """Examine the platform, or one service more closely; returns the exit code.

    Raises:
        SettingsError: the settings cannot be used, or there is no service of that name.
    """
    service = service_named(only)[0] if only else ""
    file = data_dir / ENVIRONMENT_FILE
    if file.exists():
        # dagster.yaml reads its variables itself.
        left = dotenv_values(file, interpolate=False).items()
        os.environ.update({name: value or "" for name, value in left if name not in os.environ})
    settings = load_settings(wotr_data_dir=data_dir)
    with _quiet():  # what is away is told once, below
        diagnosis = diagnose(look(settings, data_dir), settings, service)
        closer = details(settings, data_dir, only) if only else None
    if json_wanted:
        tell(json.dumps(as_json(diagnosis, settings, closer)))
    else:
        tell("\n".join(lines(diagnosis, settings, closer)))
    return diagnosis.verdict.exit_code


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("wotr_pipeline")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
