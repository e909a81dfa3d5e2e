"""The quality report on a million rows.

Belongs here: timing ``expectations.report``. Does not belong here: the expectations (``checks/``).
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from benchmarks.report import Line
from wotr_pipeline.checks import expectations
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.warehouse import Warehouse

WANTED_SECONDS = 2.0
REPEATS = 5


@dataclass(frozen=True)
class Quality:
    rows: int
    seconds: float


def measure(settings: Settings) -> Quality:
    """The report on everything the place holds (usually one hour), median of several."""
    warehouse = Warehouse(settings)
    expectations.warm()
    with Ledger(settings) as ledger:
        end = datetime.now(UTC) + timedelta(hours=1)
        hours = sorted({batch.hour for batch in ledger.batches_between(settings.wotr_first_hour, end)})
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        reports = [expectations.report(warehouse, hour) for hour in hours]
        taken.append(time.perf_counter() - started)
    warehouse.close()
    return Quality(sum(report.rows for report in reports), median(taken))


def lines(quality: Quality) -> list[Line]:
    return [
        Line(
            f"quality report on {quality.rows:,} rows",
            f"{quality.seconds:.2f} s",
            f"below {WANTED_SECONDS:.0f} s",
            quality.seconds < WANTED_SECONDS,
        )
    ]
