"""A run of one hour in a process of its own, which can kill itself at a named boundary of the path.

``python -m wotr_pipeline_tests.chaos.killed_run HOUR [CLASS.METHOD before|after TIMES [reprocess]]``

With ``announce`` it says on stderr when its first batch is loaded, and goes on.
"""

import logging
import sys
from datetime import datetime

from wotr_pipeline.assets.hour_run import HourRun
from wotr_pipeline.checks.expectations import GateResult
from wotr_pipeline.config import load_settings
from wotr_pipeline.stores.kafka_records import RecordReader
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.ledger_writer import LedgerWriter
from wotr_pipeline.stores.loading import Loader, Replacement
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.killed import die_at

CLASSES = {cls.__name__: cls for cls in (RecordReader, ObjectStore, LedgerWriter, Loader, Replacement)}


def arm(boundary: str, moment: str, times: str) -> None:
    """Kill this process before or after the ``times``-th call of ``CLASS.METHOD``."""
    module = CLASSES[boundary.partition(".")[0]].__module__
    die_at(f"{module}:{boundary}", int(times), after=moment == "after")


def main() -> None:
    hour, *killed_at = sys.argv[1:]
    announce = killed_at == ["announce"]
    if killed_at and not announce:
        arm(*killed_at[:3])
    settings = load_settings()
    run = HourRun(
        settings,
        Ledger(settings),
        ObjectStore(settings),
        Warehouse(settings),
        lambda warehouse, staging, batch: GateResult(batch.batch_id, 0, ()),
        f"{' '.join(killed_at[:2]) or 'whole'}",
        logging.getLogger("killed"),
    )
    start = datetime.fromisoformat(hour)
    for outcome in run.reprocess(start) if killed_at[3:] else run.catch_up(start):
        if outcome.error is not None:
            raise outcome.error
        if announce:
            print("loaded one", file=sys.stderr, flush=True)
    if killed_at and not announce:
        raise SystemExit("the boundary was not reached")


if __name__ == "__main__":
    main()
