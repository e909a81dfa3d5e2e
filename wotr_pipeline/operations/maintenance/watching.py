"""Step ``watch``: whether the pipeline does as well after the window as before it.

Error share, lag and time to the table since the mode was ended are held against the hour before the window began. What
is worse is told in Slack at once, once.

Belongs here: those measures and what is too much. Does not belong here: alerts on them at other times (observability/).
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.operations.maintenance.window import Line, Report, Window
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.errors import StoreError
from wotr_pipeline.stores.event_counts import last_hour, time_to_table
from wotr_pipeline.stores.lag import lag
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.slack import Importance
from wotr_pipeline.stores.warehouse import Warehouse

BEFORE = timedelta(hours=1)
FEWEST_EVENTS = 100
"""A share of fewer events than these says nothing."""
SHARE_MORE = 0.02
"""How much the rejected share may rise before it is worse: two of a hundred."""
SLOWER = 3.0
SLOW_SECONDS = 60.0
"""The 95th percentile may be three times what it was, and a minute whatever it was."""
MOST_BATCHES = 500


@dataclass(frozen=True)
class Measure:
    """What was seen of a time. Seconds; None where nothing was loaded in it."""

    at: datetime
    events: int
    rejected: int
    p95: float | None
    waiting: int
    oldest_waits: float

    @property
    def share(self) -> float:
        """Rejected, 0 to 1."""
        return self.rejected / self.events if self.events else 0.0

    def line(self) -> Line:
        """For the table of the run's page; an empty time has 0."""
        return {
            "at": f"{self.at:%H:%M:%S}",
            "events": self.events,
            "rejected, percent": round(100 * self.share, 3),
            "p95 to the table, s": round(self.p95 or 0.0, 1),
            "waiting in Kafka": self.waiting,
            "oldest waits, s": round(self.oldest_waits, 1),
        }


def watch(window: Window, minutes: float, every_seconds: float) -> Report:
    """Measure every ``every_seconds`` for ``minutes``; ``problem`` says what became worse."""
    if window.dry_run:
        return Report((f"Would watch for {minutes:g} minutes, every {every_seconds:g} s.",))
    since = window.mode_ended or datetime.now(UTC)
    before = _measure(window, window.begun - BEFORE, window.begun)
    seen: list[Measure] = []
    worse: list[str] = []

    def look() -> bool:
        try:
            now = _measure(window, since, datetime.now(UTC))
        except StoreError as error:
            found = [str(error)]
        else:
            seen.append(now)
            found = list(_worse(window, before, now, now.at - since))
        worse.extend(one for one in found if one not in worse)
        if found:
            window.tell(
                "maintenance_worse", Importance.INCIDENT, problem=" ".join(found), run=window.page_of_run
            )
        return True  # the watch ends by time alone

    with suppress(RetryError):  # the time is over
        Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_delay(minutes * 60),
            wait=wait_fixed(every_seconds),
        )(look)
    verdict = "worse than before" if worse else "as before"
    lines = [f"Watched for {minutes:g} minutes: {verdict}."]
    numbers: dict[str, int | float] = {"looks": len(seen), "worse": len(worse)}
    if seen:
        lines.append(
            f"Rejected {100 * seen[-1].share:.2f} % of {seen[-1].events:,} events (before: {100 * before.share:.2f} % of "
            f"{before.events:,}), {seen[-1].waiting:,} wait in Kafka."
        )
    return Report(
        (*lines, *worse),
        numbers,
        {
            "measures": [
                {"when": "before", **before.line()},
                *({"when": "after", **one.line()} for one in seen),
            ]
        },
        f"After the window the pipeline does worse: {' '.join(worse)}" if worse else "",
    )


def _measure(window: Window, since: datetime, until: datetime) -> Measure:
    warehouse = Warehouse(window.settings, window.run_id)
    try:
        with Ledger(window.settings) as ledger:
            counts = [
                one
                for one in last_hour(warehouse, until).counts
                if since.replace(second=0, microsecond=0) <= one.start < until
            ]
            batches: list[Batch] = [
                batch
                for batch in ledger.loaded_since(window.settings.kafka_topic, since, MOST_BATCHES)
                if batch.loaded_at is not None and batch.loaded_at <= until
            ]
            times = time_to_table(warehouse, batches, since)
            now = lag(window.settings, ledger)
    finally:
        warehouse.close()
    oldest = (datetime.now(UTC) - now.oldest).total_seconds() if now.oldest else 0.0
    return Measure(
        until,
        sum(one.events for one in counts),
        sum(one.failed for one in counts),
        times.p95,
        now.waiting,
        max(0.0, oldest),
    )


def _worse(window: Window, before: Measure, now: Measure, passed: timedelta) -> Iterator[str]:
    if now.events >= FEWEST_EVENTS and now.share > before.share + SHARE_MORE:
        yield f"{100 * now.share:.1f} % of the events are rejected, before it were {100 * before.share:.1f} %."
    if now.p95 is not None and now.p95 > max(SLOW_SECONDS, SLOWER * (before.p95 or 0.0)):
        yield f"Events take {now.p95:.0f} s to the table (95 of 100), before it were {before.p95 or 0.0:.0f} s."
    # What waited for the window's end is worked off first: only after that a wait means something.
    limit = timedelta(minutes=window.settings.wotr_fresh_minutes)
    if passed > limit and now.oldest_waits > limit.total_seconds():
        yield f"{now.waiting:,} events wait in Kafka, the oldest for {now.oldest_waits / 60:.0f} minutes."
