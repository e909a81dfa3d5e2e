"""What is expected of judged rows, before a batch is loaded and afterwards in the table.

A BLOCKING expectation repeats what the rules guarantee: it can only fail when the rules, the engine
or a store is wrong, never because of what a producer sent, and it keeps the batch out of the table.
A WARNING looks at what producers send; it keeps nothing out.

Belongs here: the expectations, evaluating them for a batch (``gate``) or an hour (``report``), and
adding up a run's batches (``merge``).
Does not belong here: how Great Expectations is driven (``suites.py``), how a result looks in Dagster
(``quality.py``), the rules themselves (``events/``).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from threading import Thread

import pyarrow as pa

from wotr_pipeline.checks.suites import Bound, Suite, suite_of
from wotr_pipeline.events import contract
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.errors import PermanentError
from wotr_pipeline.stores.warehouse import Parameter, Warehouse

FEW_ROWS = 10
"""A share of a handful of rows says nothing: up to this many never warn."""
SAMPLE = 10
"""Ids kept of the rows that break an expectation; as in sql/check_rows.sql."""


class Severity(StrEnum):
    """What a failed expectation does."""

    BLOCKING = "blocking"
    WARNING = "warning"


@dataclass(frozen=True)
class Expectation:
    """One expectation. ``name``: of the rule in ``sql/check_rows.sql``. ``check``: the asset check that
    shows it (``quality.py``). ``allowed_share``: of all rows, 0 to 1, that may break it."""

    name: str
    check: str
    description: str
    allowed_share: float | None = None

    @property
    def severity(self) -> Severity:
        """Only what has a share to compare with is a warning."""
        return Severity.BLOCKING if self.allowed_share is None else Severity.WARNING

    def allowed(self, rows: int) -> int:
        """How many of ``rows`` may break it."""
        return 0 if self.allowed_share is None else max(FEW_ROWS, int(self.allowed_share * rows))


CONTRACT = "valid_rows_keep_the_contract"
REASONS = "every_rejection_says_why"
REJECTED = "few_rows_are_rejected"
ODD = "few_rows_are_odd"
COMPLETE = "every_record_is_judged_once"

ROWS = (
    Expectation("id", CONTRACT, f"a valid row has an id of 1 to {contract.MAX_ID_LENGTH} characters"),
    Expectation("event_type", CONTRACT, "a valid row has an event type of the contract"),
    Expectation(
        "source", CONTRACT, f"a valid row has a source of 1 to {contract.MAX_SOURCE_LENGTH} characters"
    ),
    Expectation(
        "timestamp", CONTRACT, f"a valid row's year is {contract.FIRST_YEAR} to {contract.LAST_YEAR}"
    ),
    Expectation("optional_fields", CONTRACT, "a valid row's user_id, session_id and tags keep their bounds"),
    Expectation("version", CONTRACT, "a valid row's version is MAJOR.MINOR"),
    Expectation("size", CONTRACT, "a valid row has a size above 0 bytes"),
    Expectation("status", REASONS, "a row is valid or failed"),
    Expectation("reason", REASONS, "a failed row has a code and a message"),
    Expectation("no_reason", REASONS, "a valid row has no error"),
    Expectation("rejected", REJECTED, "at most 5 % of the rows are rejected", 0.05),
    Expectation("warned", ODD, "at most 50 % of the rows carry a warning", 0.50),
    Expectation("late", ODD, "at most 10 % of the events are dated over a day before their arrival", 0.10),
    Expectation("future", ODD, "at most 1 % of the events are dated over an hour after their arrival", 0.01),
    Expectation("misfiled", ODD, "at most 1 % of the rows arrived over a day off their hour", 0.01),
)
"""Expectations on rows, wherever they are."""

BATCH = (
    Expectation("records", COMPLETE, "there are as many rows as the ledger counts records"),
    Expectation("repeated_offsets", COMPLETE, "no Kafka offset is there twice"),
    Expectation("offset", COMPLETE, "every offset lies in the batch's range"),
    Expectation("batch", COMPLETE, "every row belongs to the batch"),
)
"""Expectations on one batch as a whole."""


@dataclass(frozen=True)
class ExpectationResult:
    """How many of ``total`` rows break an expectation (``observed``), and what was made of it.

    ``sample_ids``: at most ten, each cut at 100 characters; ``offset <partition>:<offset>`` for a row
    without id. Empty for counts that no row stands for.
    """

    name: str
    check: str
    severity: Severity
    description: str
    success: bool
    observed: int
    total: int
    allowed: int
    sample_ids: tuple[str, ...] = ()

    @property
    def percent(self) -> float:
        """``observed`` of ``total``, 0 to 100."""
        return 100.0 * self.observed / self.total if self.total else 0.0


@dataclass(frozen=True)
class GateResult:
    """What became of all expectations for one batch, one hour's rows, or (merged) a run's batches.

    ``subject``: the batch id or hour. ``failed_in``: of a merged result, per expectation the subjects
    in which it failed on its own.
    """

    subject: str
    rows: int
    results: tuple[ExpectationResult, ...]
    subjects: int = 1
    failed_in: Mapping[str, tuple[str, ...]] | None = None

    @property
    def blocking_failures(self) -> tuple[ExpectationResult, ...]:
        """Failed expectations that keep the batch out of the table."""
        return tuple(r for r in self.results if not r.success and r.severity is Severity.BLOCKING)

    def of(self, check: str) -> tuple[ExpectationResult, ...]:
        """The results that one asset check shows."""
        return tuple(result for result in self.results if result.check == check)


def warm() -> None:
    """Import Great Expectations and build the suites: seconds the first time, nothing afterwards."""
    _suite(ROWS)
    _suite(BATCH + ROWS)


def warm_in_background() -> None:
    """As ``warm``, in a thread of its own; ``gate`` waits for it.

    Great Expectations imports SQLAlchemy's ORM and pandas, which others that are loaded already look
    into: half imported, they fail. So those two are imported whole, here, before the thread starts.
    """
    import pandas  # noqa: F401
    import sqlalchemy.orm  # noqa: F401

    Thread(target=warm, name="warm expectations", daemon=True).start()


def gate(warehouse: Warehouse, staging_table: str, batch: Batch) -> GateResult:
    """Evaluate all expectations on the judged rows (``ok``) of a landed batch's staging table.

    Raises:
        TransientError: the engine is away.
        PermanentError: the batch is not landed, or an expectation could not be evaluated.
    """
    if batch.records is None:
        raise PermanentError(f"{batch.batch_id} is not landed: there is nothing to compare its rows with.")
    parameters: dict[str, Parameter] = {
        "batch_id": batch.batch_id,
        "partition": batch.partition,
        "first_offset": batch.first_offset,
        "last_offset": batch.last_offset,
        "records": batch.records,
    }
    return _evaluate(warehouse, staging_table, batch.hour, batch.batch_id, parameters, BATCH + ROWS)


def report(warehouse: Warehouse, hour: datetime) -> GateResult:
    """Evaluate the expectations on rows over what ``ingested_data`` holds of an arrival hour.

    Raises:
        TransientError, PermanentError: as ``gate``.
    """
    anywhere: dict[str, Parameter] = {
        "batch_id": "",
        "partition": 0,
        "first_offset": 0,
        "last_offset": 0,
        "records": 0,
    }
    return _evaluate(warehouse, "ingested_data", hour, f"{hour:%Y-%m-%d %H}h", anywhere, ROWS)


def merge(results: Iterable[GateResult]) -> GateResult:
    """Add up the gates of several batches. A warning is judged anew, by its share of all rows."""
    gates = list(results)
    rows = sum(gate.rows for gate in gates)
    added: dict[str, ExpectationResult] = {}
    failed_in: dict[str, tuple[str, ...]] = {}
    for gated in gates:
        for result in gated.results:
            sofar = added.get(result.name)
            added[result.name] = result if sofar is None else _add(sofar, result)
            if not result.success:
                failed_in[result.name] = (*failed_in.get(result.name, ()), gated.subject)
    by_name = {expectation.name: expectation for expectation in BATCH + ROWS}
    results_of_all = tuple(
        replace(result, total=rows, allowed=allowed, success=result.observed <= allowed)
        for result in added.values()
        for allowed in [by_name[result.name].allowed(rows)]
    )
    return GateResult(f"{len(gates)} batches", rows, results_of_all, len(gates), failed_in)


def _add(left: ExpectationResult, right: ExpectationResult) -> ExpectationResult:
    ids = (*left.sample_ids, *right.sample_ids)[:SAMPLE]
    return replace(left, observed=left.observed + right.observed, sample_ids=ids)


def _evaluate(
    warehouse: Warehouse,
    table: str,
    hour: datetime,
    subject: str,
    batch: Mapping[str, Parameter],
    expectations: tuple[Expectation, ...],
) -> GateResult:
    profile = warehouse.select(
        "check_rows",
        {
            "table": table,
            "arrival_hour": int(hour.timestamp()),
            "event_types": sorted(contract.EVENT_TYPES),
            "first_year": contract.FIRST_YEAR,
            "last_year": contract.LAST_YEAR,
            "max_id": contract.MAX_ID_LENGTH,
            "max_source": contract.MAX_SOURCE_LENGTH,
            "max_user_id": contract.MAX_USER_ID_LENGTH,
            "max_session_id": contract.MAX_SESSION_ID_LENGTH,
            "max_tags": contract.MAX_TAGS,
            **batch,
        },
    )
    counts, samples = _counts_and_samples(profile)
    rows = counts.pop("rows")
    allowed = {expectation.name: expectation.allowed(rows) for expectation in expectations}
    verdicts = _suite(expectations).decide(counts, allowed)
    results = tuple(
        ExpectationResult(
            name=expectation.name,
            check=expectation.check,
            severity=expectation.severity,
            description=expectation.description,
            success=verdicts[expectation.name],
            observed=counts[expectation.name],
            total=rows,
            allowed=allowed[expectation.name],
            sample_ids=samples.get(expectation.name, ()),
        )
        for expectation in expectations
    )
    return GateResult(subject, rows, results)


def _suite(expectations: tuple[Expectation, ...]) -> Suite:
    bounds = [Bound(e.name, e.description, critical=e.severity is Severity.BLOCKING) for e in expectations]
    return suite_of("judged rows", bounds)


def _counts_and_samples(profile: pa.Table) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Counts by rule, and sample ids by rule. The samples are the last columns, in the counts' order."""
    if profile.num_rows != 1:
        raise PermanentError("sql/check_rows.sql must return one row: report this as a bug.")
    # The engine names the columns that APPLY makes: sum(rule_id).
    names = [re.sub(r"^sum\(rule_(\w+)\)$", r"\1", column) for column in profile.column_names]
    values = [column[0].as_py() for column in profile.columns]
    counts = {name: value for name, value in zip(names, values, strict=True) if isinstance(value, int)}
    rules = [name for name, column in zip(names, profile.column_names, strict=True) if name != column]
    samples = {name: tuple(ids) for name, ids in zip(rules, values[-len(rules) :], strict=True)}
    return counts, samples
