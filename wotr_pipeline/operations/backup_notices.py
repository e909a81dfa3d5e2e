"""What people are told in Slack about backups: only what went wrong, each once.

Belongs here: those two notices. Does not belong here: sending (``stores/slack.py``), alerts on absence
(``observability/alerts.yml``).
"""

from contextlib import closing

from wotr_pipeline.backups.taking import Taken
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.errors import StoreError
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.slack import Importance, Slack


def tell_of_failure(settings: Settings, store: str, run_id: str, problem: BaseException) -> None:
    """A backup was not taken."""
    with closing(Slack(settings)) as slack:
        slack.tell(
            "backup_failed",
            f"backup failed {run_id}",
            Importance.INCIDENT,
            store=store,
            newest=_newest(settings, store),
            problem=str(problem),
            run=_run(settings, run_id),
        )


def tell_of_drill(settings: Settings, taken: Taken, run_id: str) -> None:
    """A backup was taken, and could not be restored; nothing is said of one that could."""
    if not taken.verification.problem:
        return
    with closing(Slack(settings)) as slack:
        slack.tell(
            "drill_failed",
            f"drill failed {taken.manifest.backup_id} {run_id}",
            Importance.INCIDENT,
            store=taken.manifest.store,
            backup=taken.manifest.backup_id,
            problem=taken.verification.problem,
            run=_run(settings, run_id),
        )


def _newest(settings: Settings, store: str) -> str:
    try:
        with closing(OperationsLog(settings)) as log:
            found = log.newest_verified_backups().get(store)
    except StoreError:
        return "not known, for PostgreSQL is away"
    return f"of {found.taken_at:%Y-%m-%d %H:%M} UTC" if found else "does not exist"


def _run(settings: Settings, run_id: str) -> str:
    return f"{settings.wotr_dagster_url}/runs/{run_id}"
