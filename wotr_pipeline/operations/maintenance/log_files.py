"""Step ``log_rotation``: log files past their time go. Never data.

supervisord rotates what it writes below ``logs/`` (10 MB, and some older files beside it); what nobody rotates are
Dagster's compute logs, one directory a run, which outlive their run.

HAZARD: deletes files. Only names of these two shapes, only files and directories that are no links, only when old:
``logs/<name>.log.<number>``, and ``$DAGSTER_HOME/storage/<run id>`` of a run that Dagster does not know any more.

Belongs here: those two. Does not belong here: containers' logs (docker-compose.yml rotates them).
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from wotr_pipeline.operations.maintenance.window import Report, Window

KEEP_DAYS = 30
KEEP_COMPUTE_LOGS_DAYS = 1
"""Of a run that is gone: a run that has just begun is not in the storage of another process at once."""
_ROTATED = re.compile(r"[A-Za-z0-9_-]+\.log\.\d+")


def log_rotation(window: Window, knows_run: Callable[[str], bool]) -> Report:
    """Remove old log files, or count them; ``knows_run``: whether Dagster has a run of that id."""
    gone = size = 0
    for path in (*_rotated(window.settings.wotr_data_dir / "logs"), *_compute_logs(knows_run)):
        bytes_ = _size(path)
        if not window.dry_run:
            if not window.go_on():
                break
            _remove(path)
        gone, size = gone + 1, size + bytes_
    verb = "Would remove" if window.dry_run else "Removed"
    line = (
        f"{verb} {gone:,} old log files and directories, {size:,} bytes: rotated logs older than {KEEP_DAYS} days, "
        "compute logs of runs that are gone."
    )
    return Report(
        (line,),
        {"log files": gone, "bytes freed": size},
    )


def _rotated(logs: Path) -> Iterator[Path]:
    if not logs.is_dir():
        return
    for path in sorted(logs.iterdir()):
        if (
            _ROTATED.fullmatch(path.name)
            and path.is_file()
            and not path.is_symlink()
            and _older(path, KEEP_DAYS)
        ):
            yield path


def _compute_logs(knows_run: Callable[[str], bool]) -> Iterator[Path]:
    home = os.environ.get("DAGSTER_HOME")
    storage = Path(home) / "storage" if home else None
    if storage is None or not storage.is_dir():
        return
    for path in sorted(storage.iterdir()):
        if (
            _is_run_id(path.name)
            and path.is_dir()
            and not path.is_symlink()
            and _older(path, KEEP_COMPUTE_LOGS_DAYS)
            and not knows_run(path.name)
        ):
            yield path


def _is_run_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _older(path: Path, days: int) -> bool:
    return path.stat().st_mtime < time.time() - days * 86_400


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
