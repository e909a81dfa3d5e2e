"""Time of the path's steps, taken by wrapping their functions. For profiling, not for promises.

Belongs here: which functions are timed. Does not belong here: any of them.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any


def timed_stages() -> dict[str, tuple[float, float]]:
    """Wrap the steps; the returned mapping grows while they run: wall and own CPU seconds, by name."""
    from wotr_pipeline.assets import raw_objects, validated_batches
    from wotr_pipeline.stores.kafka_records import RecordReader
    from wotr_pipeline.stores.loading import Loader
    from wotr_pipeline.stores.objects import ObjectStore

    seconds: dict[str, tuple[float, float]] = {}
    lock = Lock()

    def timed(owner: Any, attribute: str, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, attribute)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            started, cpu = time.perf_counter(), time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                taken, spent = time.perf_counter() - started, time.thread_time() - cpu
                with lock:
                    before = seconds.get(name, (0.0, 0.0))
                    seconds[name] = (before[0] + taken, before[1] + spent)

        setattr(owner, attribute, wrapper)

    timed(RecordReader, "read", "land: read Kafka")
    timed(raw_objects, "encode", "land: Parquet")
    timed(ObjectStore, "put", "land and dead letters: PUT")
    timed(Loader, "stage", "judge: SQL rules")
    timed(validated_batches, "judge", "judge: SQL and Python rules")
    timed(Loader, "staged_counts", "judge: counts")
    timed(validated_batches, "bury", "judge: dead letters")
    timed(Loader, "write_validated", "judge: validated objects")
    timed(Loader, "_find_duplicates", "load: find duplicates")
    timed(Loader, "_insert", "load: insert")
    timed(Loader, "_checksum", "load: rows there already?")
    timed(Loader, "drop_staging", "load: drop staging")
    return seconds
