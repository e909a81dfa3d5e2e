"""Who works off the steps of a run: the run's own process, or Celery workers.

A run has few steps (``ingest`` is one), so Celery does not make a run quicker. It takes the work to other
machines: the process of the run only waits. docs/scaling.md says when that pays.

Belongs here: the choice, and what runs and workers must agree on to talk to each other.
Does not belong here: how many workers there are (docker-compose.celery.yml, deploy/helm/).
Concept: https://docs.dagster.io/deployment/execution/celery
"""

from importlib.util import find_spec

import dagster as dg

from wotr_pipeline.config import Settings, SettingsError

VISIBILITY_SECONDS = 3600
"""How long Redis waits for a worker to end a step before it gives the step to another one. A step that takes
longer is worked on twice at once: safe (batch locks), but the second worker only waits."""

CELERY = {
    "broker": {"env": "WOTR_CELERY_BROKER"},
    "backend": {"env": "WOTR_CELERY_BROKER"},
    "config_source": {
        # A step is acknowledged when it has ended: with its whole worker gone, another one takes it.
        "task_acks_late": True,
        # One long step at a time for each process: what waits, waits where any free worker can take it.
        "worker_prefetch_multiplier": 1,
        "broker_transport_options": {"visibility_timeout": VISIBILITY_SECONDS},
        "broker_connection_retry_on_startup": True,
        "result_expires": 24 * 3600,
    },
}
"""The executor's config, and that of deploy/celery/celery.yaml for the workers: a test holds them equal.

The address comes from the environment on both sides, so that a password is in no file and no run config.
"""


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """The executor of every job, by ``WOTR_EXECUTOR``.

    Raises:
        SettingsError: Celery is asked for, and the package for it is not installed.
    """
    if settings.wotr_executor == "in_process":
        return dg.in_process_executor
    if find_spec("dagster_celery") is None:
        raise SettingsError(
            "WOTR_EXECUTOR is celery, but dagster-celery is not installed. Install the extra: "
            "pip install 'wotr_pipeline[celery]', or an image built with --build-arg EXTRAS=celery."
        )
    from dagster_celery import celery_executor

    executor: dg.ExecutorDefinition = celery_executor.configured(CELERY, name="celery")
    return executor
