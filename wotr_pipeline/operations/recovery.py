"""Recovery from raw objects: ClickHouse is rebuilt for some hours, or all, while ingestion goes on.

The hazard, and why the order is safe:

1. The tables are made where they are missing. Nothing that is there is changed.
2. Raw objects that the ledger lacks are entered as LANDED batches, all in one transaction.
3. Hour by hour, each LOADED batch whose rows are not what the ledger counts is reopened (its raw object
   was read and has the noted sum), then the hour is run like any other. Rows that are right are not touched.
4. The aggregates of the hour, and then of its day, are rebuilt where their counts differ.

A kill leaves unfinished batches, which the sensor's next run or the next recovery brings to the end:
what is to be done is always read from the ledger, the bucket and the table, never remembered.

Exactness: a reopened batch leaves out the duplicates that its load left out before, so the same copy of
a repeated id comes back, in whatever order the batches do. Where that is not known (a batch whose row in
the ledger was lost), one copy comes back: the one in the older hour, or of the smaller offset.

Belongs here: what is to be rebuilt, in which order, and the report.
Does not belong here: the steps of a batch (``assets/hour_run.py``), entering objects (``adoption.py``),
the command and the job (``recover_from_raw.py``).
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wotr_pipeline.assets.curated import HOURLY, refresh
from wotr_pipeline.assets.hour_run import HourRun
from wotr_pipeline.checks import expectations
from wotr_pipeline.config import Settings
from wotr_pipeline.events.contract import RULES_VERSION
from wotr_pipeline.operations.adoption import Adoption, missing_from_ledger, what_is_wrong
from wotr_pipeline.operations.recovery_report import HourReport, Recovered
from wotr_pipeline.stores.batch import RECOVERY, Batch, BatchState
from wotr_pipeline.stores.errors import StoreError, TransientError
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

WITHOUT_TABLE = ("(UNKNOWN_TABLE)", "(UNKNOWN_DATABASE)")
"""In the error of a batch that was quarantined because the table was gone when its turn came."""
ATTEMPTS = 3
RETRY_SECONDS = 5.0
"""How often, and after how long, an hour is tried again when a store was away."""


@dataclass(frozen=True)
class Hours:
    """The arrival hours from ``first`` to ``last``, both included."""

    first: datetime
    last: datetime

    def __contains__(self, hour: datetime) -> bool:
        return self.first <= hour <= self.last


@dataclass(frozen=True)
class Stores:
    """What a recovery works on."""

    settings: Settings
    ledger: Ledger
    objects: ObjectStore
    warehouse: Warehouse


class Recovery:
    """One recovery of ``hours`` (None: all), to be used once: ``survey`` only looks, ``apply`` rebuilds.

    Both yield a report for each hour; ``result`` has the whole when they have ended.
    """

    def __init__(self, stores: Stores, hours: Hours | None, run_id: str, log: logging.Logger) -> None:
        self._settings = stores.settings
        self._ledger = stores.ledger
        self._objects = stores.objects
        self._warehouse = stores.warehouse.for_run(run_id)
        self._hours = hours
        self._run_id = run_id
        self._log = log
        self._missing_tables: list[str] = []
        self._adoption = Adoption()
        self._reports: list[HourReport] = []
        self._stopped: str | None = None
        self._applied = False
        self._started = time.monotonic()

    def survey(self) -> Iterator[HourReport]:
        """What ``apply`` would do, hour by hour. Of raw objects only what the store says is looked at.

        Raises:
            TransientError, PermanentError: a store is away or refuses.
        """
        self._missing_tables = self._warehouse.missing_tables()
        self._adoption = self._compared(read_bytes=False)
        for hour in self._hours_concerned():
            report, _ = self._look_at(hour, read_bytes=False)
            yield self._noted(report)

    def apply(self) -> Iterator[HourReport]:
        """Rebuild, hour by hour, oldest first. Safe to repeat, to kill, and beside the sensor's runs.

        Raises:
            TransientError, PermanentError: a store is away or refuses; running it again goes on.
        """
        self._missing_tables = self._warehouse.missing_tables()
        self._warehouse.migrate()
        self._applied = True
        found = self._adoption = self._compared(read_bytes=True)
        if not found.empty:
            self._ledger.adopt(self._settings.kafka_topic, found.objects, found.planned, found.lost)
        expectations.warm_in_background()
        hours = self._hours_concerned()
        for hour in hours:
            yield self._noted(self._rebuild(hour))
            if self._stopped:
                return
        for day in sorted({hour.replace(hour=0) for hour in hours}):
            self._refresh_day(day)

    @property
    def result(self) -> Recovered:
        """The whole, once ``survey`` or ``apply`` has ended."""
        return Recovered(
            applied=self._applied,
            missing_tables=tuple(self._missing_tables),
            adoption=self._adoption,
            hours=tuple(self._reports),
            seconds=time.monotonic() - self._started,
            stopped=self._stopped,
        )

    def _noted(self, report: HourReport) -> HourReport:
        self._reports.append(report)
        return report

    def _compared(self, *, read_bytes: bool) -> Adoption:
        now = datetime.now(UTC)
        return missing_from_ledger(self._settings, self._ledger, self._objects, now, read_bytes=read_bytes)

    def _hours_concerned(self) -> list[datetime]:
        hours = {*self._ledger.hours(self._settings.kafka_topic), *self._adoption.hours}
        return sorted(hour for hour in hours if self._hours is None or hour in self._hours)

    # One hour

    def _rebuild(self, hour: datetime) -> HourReport:
        report, to_reopen = self._look_at(hour, read_bytes=True)
        problems = list(report.problems)
        for batch in to_reopen:
            try:
                self._ledger.reopen([batch.batch_id], RECOVERY)
            except StoreError as error:
                problems.append(f"{batch.batch_id} was not reopened: {error}")
        if to_reopen or report.unfinished:
            problems += self._run(hour)
        self._refresh_hour(hour)
        after, lacking = self._look_at(hour, read_bytes=False)
        if not problems:
            problems += [f"{batch.batch_id} still lacks rows; see wotr check" for batch in lacking]
            mine = {batch.batch_id for batch in to_reopen}
            mine |= {found.range.batch_id for found in self._adoption.objects if found.range.hour == hour}
            problems += [
                f"{batch.batch_id} is in another run's hands; run this again when that has ended"
                for batch in self._batches(hour)
                if batch.state.unfinished and batch.batch_id in mine
            ]
        return replace(report, problems=tuple(problems), unfinished=after.unfinished)

    def _run(self, hour: datetime) -> list[str]:
        """Bring the hour's unfinished batches to LOADED; returns what went wrong."""
        for attempt in range(1, ATTEMPTS + 1):
            # A run tries each batch once: for another attempt there is another run.
            run = HourRun(
                self._settings,
                self._ledger,
                self._objects,
                self._warehouse,
                expectations.gate,
                self._run_id,
                self._log,
            )
            failed = [outcome for outcome in run.catch_up(hour) if outcome.error is not None]
            transient = [outcome for outcome in failed if isinstance(outcome.error, TransientError)]
            if not transient:
                break
            if attempt < ATTEMPTS:
                time.sleep(RETRY_SECONDS)
        else:
            self._stopped = f"{transient[0].batch.batch_id}: {transient[0].error}"
        return [f"{outcome.batch.batch_id}: {outcome.error}" for outcome in failed]

    def _look_at(self, hour: datetime, *, read_bytes: bool) -> tuple[HourReport, list[Batch]]:
        """The hour as it is, and the batches that are to be reopened."""
        # The ledger first: what it calls LOADED then is in the table by now, also beside a run at work.
        batches = self._batches(hour)
        rows = self._rows(hour)
        to_reopen: list[Batch] = []
        problems: list[str] = []
        for batch in batches:
            if _lacks_rows(batch, rows.get(batch.batch_id)) or _met_no_table(batch):
                wrong = self._what_is_wrong(batch, read_bytes=read_bytes)
                if wrong:
                    problems.append(f"{batch.batch_id} cannot be rebuilt: {wrong}")
                else:
                    to_reopen.append(batch)
        names = {batch.batch_id for batch in batches}
        adopted = [found for found in self._adoption.objects if found.range.hour == hour]
        to_enter = [found for found in adopted if found.range.batch_id not in names]
        problems += self._strays(hour, rows, names)
        report = HourReport(
            hour,
            batches=len(batches) + len(to_enter),
            adopted=len(adopted),
            rebuilt=len(to_reopen) + len(adopted),
            records=sum(batch.records or 0 for batch in to_reopen) + sum(found.records for found in adopted),
            bytes=sum(batch.raw_bytes or 0 for batch in to_reopen) + sum(found.size for found in adopted),
            unfinished=sum(batch.state.unfinished for batch in batches),
            quarantined=sum(
                batch.state is BatchState.QUARANTINED and not _met_no_table(batch) for batch in batches
            ),
            other_rules=sum(batch.rules_version not in (None, RULES_VERSION) for batch in to_reopen),
            problems=tuple(problems),
        )
        return report, to_reopen

    def _batches(self, hour: datetime) -> list[Batch]:
        return [batch for batch in self._ledger.batches(hour) if batch.topic == self._settings.kafka_topic]

    def _rows(self, hour: datetime) -> dict[str, tuple[int, int, int]]:
        """Rows, failed rows and distinct offsets in the table, by batch."""
        if "ingested_data" in self._missing_tables and not self._applied:
            return {}
        table = self._warehouse.select("check_batch_rows", {"arrival_hour": int(hour.timestamp())})
        return {row["batch_id"]: (row["rows"], row["failed"], row["offsets"]) for row in table.to_pylist()}

    def _what_is_wrong(self, batch: Batch, *, read_bytes: bool) -> str | None:
        if not (batch.raw_key and batch.raw_sha256 and batch.raw_bytes is not None):
            return None  # it was never landed, and is read from Kafka again
        return what_is_wrong(
            self._objects, batch.raw_key, batch.raw_sha256, batch.raw_bytes, read_bytes=read_bytes
        )

    def _strays(
        self, hour: datetime, rows: dict[str, tuple[int, int, int]], names: set[str]
    ) -> Iterator[str]:
        """Rows that no batch has brought, by batch."""
        adopted = {found.range.batch_id for found in self._adoption.objects}
        unknown = {name for name in rows if name.startswith(f"{self._settings.kafka_topic}:")}
        unknown -= names | adopted
        if unknown:
            # A run may have split or planned batches, and loaded them, since the ledger was read.
            unknown -= {batch.batch_id for batch in self._batches(hour)}
        for name in sorted(unknown):
            yield (
                f"{rows[name][0]} rows are of {name}, which neither the ledger nor a raw object has; they are "
                "left alone"
            )

    # Aggregates

    def _refresh_hour(self, hour: datetime) -> None:
        moment = {"hour": int(hour.timestamp())}
        sums = self._warehouse.select("recovery_hour_sums", moment).to_pylist()[0]
        for table in HOURLY:
            counted = sums["failed"] if table == "dead_letters_hourly" else sums["rows"]
            if sums[table] != counted:
                self._refresh(table, hour.strftime("%Y%m%d"), moment)

    def _refresh_day(self, day: datetime) -> None:
        moment = {"day": int(day.timestamp())}
        sums = self._warehouse.select("recovery_day_sums", moment).to_pylist()[0]
        if sums["events_daily"] != sums["events_hourly"]:
            self._refresh("events_daily", day.strftime("%Y%m"), moment)

    def _refresh(self, table: str, partition: str, moment: dict[str, int]) -> None:
        refresh(self._warehouse, self._ledger, self._run_id, table, partition, moment)


def _lacks_rows(batch: Batch, rows: tuple[int, int, int] | None) -> bool:
    """Whether the table does not hold what the ledger counts of a LOADED batch."""
    if batch.state is not BatchState.LOADED:
        return False
    rejected = batch.rejected or 0
    expected = (batch.valid or 0) - (batch.duplicate or 0) + rejected
    return (rows or (0, 0, 0)) != (expected, rejected, expected)


def _met_no_table(batch: Batch) -> bool:
    """Whether it is quarantined for no other reason than that the table was gone."""
    return batch.state is BatchState.QUARANTINED and any(
        sign in (batch.last_error or "") for sign in WITHOUT_TABLE
    )
