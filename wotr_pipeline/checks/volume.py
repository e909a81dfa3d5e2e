"""Did an hour bring about as many events as usual?

Usual is the median of the same hour on the days before; while there are fewer than MIN_DAYS of them,
the median of the last day's hours; with too few of those as well nothing is claimed.

Belongs here: that comparison and its check. It warns: producers may well stop on purpose.
Does not belong here: whether what came is complete (``reconciliation.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import dagster as dg

from wotr_pipeline.assets.partitions import arrival_hours, hour_of
from wotr_pipeline.checks.presentation import moment, runbook
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.warehouse import Warehouse

DAYS, MIN_DAYS = 7, 3
HOURS, MIN_HOURS = 24, 6
LEAST, MOST = 1 / 3, 3.0
"""Shares of the usual count between which an hour is unremarkable."""

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Volume:
    """Rows of an hour, and what is usual. ``usual`` is None if nothing can be claimed; ``basis`` says
    what it comes from, or why there is none."""

    hour: datetime
    rows: int
    usual: float | None
    basis: str

    @property
    def ratio(self) -> float | None:
        """``rows`` as a share of ``usual``."""
        return self.rows / self.usual if self.usual else None

    @property
    def unusual(self) -> bool:
        """Whether it is far from usual."""
        return self.ratio is not None and not LEAST <= self.ratio <= MOST


def volume(warehouse: Warehouse, hour: datetime, now: datetime) -> Volume:
    """Compare the rows of ``hour`` with the hours before it.

    Raises:
        TransientError, PermanentError: the engine is away or refuses.
    """
    first = hour - timedelta(days=DAYS)
    found = warehouse.select(
        "check_events_by_hour", {"first_hour": int(first.timestamp()), "last_hour": int(hour.timestamp())}
    )
    rows = {datetime.fromtimestamp(row["hour"], UTC): row["rows"] for row in found.to_pylist()}
    return compare(rows, hour, now)


def compare(rows: Mapping[datetime, int], hour: datetime, now: datetime) -> Volume:
    """``rows`` by hour, of the DAYS before ``hour`` and of itself; hours without rows may be absent."""
    count = rows.get(hour, 0)
    earlier = [when for when in rows if when < hour]
    if now < hour + HOUR:
        return Volume(hour, count, None, "the hour is not over")
    if not earlier:
        return Volume(hour, count, None, f"there are no rows in the {DAYS} days before")
    # From the first row on, an hour without rows is a fact; before it, it is no history.
    start = min(earlier)
    same = [when for n in range(1, DAYS + 1) if (when := hour - n * 24 * HOUR) >= start]
    if len(same) >= MIN_DAYS:
        basis = f"the median of this hour on {len(same)} days before"
        return Volume(hour, count, float(median(rows.get(when, 0) for when in same)), basis)
    last = [when for n in range(1, HOURS + 1) if (when := hour - n * HOUR) >= start]
    if len(last) >= MIN_HOURS:
        basis = f"the median of the {len(last)} hours before"
        return Volume(hour, count, float(median(rows.get(when, 0) for when in last)), basis)
    return Volume(hour, count, None, f"there are only {len(last)} hours of history, {MIN_HOURS} are needed")


def volume_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Asset check ``volume_is_usual`` of ``ingested_data``, per hour."""

    @dg.asset_check(
        asset="ingested_data",
        partitions_def=arrival_hours(settings),
        description=f"A finished hour has between {LEAST:.0%} and {MOST:.0%} of the usual number of rows: the "
        f"median of the same hour in the {DAYS} days before. Warns.",
    )
    def volume_is_usual(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        hour = hour_of(context.partition_key)
        found = volume(warehouse.for_run(context.run.run_id), hour, datetime.now(UTC))
        return _result(settings, found)

    return volume_is_usual


def _result(settings: Settings, found: Volume) -> dg.AssetCheckResult:
    text = f"{moment(found.hour)}: {found.rows:,} rows"
    if found.usual is None:
        text += f". Not compared: {found.basis}."
    else:
        text += f"; usual are {found.usual:,.0f} ({found.basis})."
    if found.unusual:
        text += (
            " Nothing is held back. Fewer: look at source_stats for the source that stopped. More: look "
            "there for the one that repeats itself."
        )
    metadata: dict[str, int | float | str | dg.MetadataValue] = {
        "rows": found.rows,
        "compared with": found.basis,
        "what to do": dg.MetadataValue.url(runbook(settings, "volume_is_usual")),
    }
    if found.usual is not None:
        metadata["usual rows"] = found.usual
    if found.ratio is not None:
        metadata["percent of usual"] = 100 * found.ratio
    return dg.AssetCheckResult(
        passed=not found.unusual,
        severity=dg.AssetCheckSeverity.WARN,
        description=text,
        metadata=metadata,
    )
