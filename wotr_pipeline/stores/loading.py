"""What a batch goes through inside the engine: staging, duplicates, load, replacement.

The steps of one batch, each safe to repeat after a kill at any point:

=================  ====================================================================================
stage              the raw object's rows, judged by ``judge.sql``, in a Memory table of the batch's own
add_judged         the verdicts of ``events/rules.py`` on the rows that the SQL left doubtful
write_validated    the typed columns of the valid rows as a Parquet object
load               the rows that are no duplicates into ``ingested_data``, in one INSERT
drop_staging       the batch's tables are gone
=================  ====================================================================================

``load`` and ``Replacement`` decide by what the table holds, never by what someone remembers, and
must run under the ledger's load lock: two of them at once could both miss an id that both bring.
A load whose run was killed may still be at work in the engine; ``wait_for_running_loads`` is called
with the lock held, before anything is looked up, so that its rows are seen.

``left_out``: what a batch's load left out before. A recovery leaves out the same and looks up the rest
all the same, so it brings back the same copy of a repeated id in whatever order batches come back.

Belongs here: the order and the names of these steps.
Does not belong here: which batches, when, and what is recorded of it (``assets/``).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.warehouse import Parameter, Warehouse

Origin = tuple[bytes | None, tuple[tuple[str, bytes | None], ...]]
"""A record's key and headers."""

INGESTED_DATA = "ingested_data"
REPLACEMENT = "ingested_data_replacement"

ONE_PART = {
    # A batch becomes visible as a whole: one block, hence one part, a month.
    "max_insert_threads": 1,
    "min_insert_block_size_rows": 4_000_000,
    "min_insert_block_size_bytes": 0,
}
VALIDATED_FILE = {
    "s3_truncate_on_insert": 1,
    "output_format_parquet_compression_method": "zstd",
    "output_format_parquet_use_custom_encoder": 1,
    "output_format_parquet_write_bloom_filter": 0,
    "output_format_compression_level": 1,
}


@dataclass(frozen=True)
class StagedCounts:
    """Rows in staging: all judged ones, and by verdict, and their arrival (aware)."""

    rows: int
    valid: int
    rejected: int
    first_created_at: datetime
    last_created_at: datetime


@dataclass(frozen=True)
class VerdictChange:
    """Rows of a batch whose verdict differs between the table and today's rules."""

    old_status: str
    old_error_code: str
    new_status: str
    new_error_code: str
    rows: int
    sample_ids: list[str]


class IdsTakenError(Exception):
    """Other batches hold ids that the batch held before its rows were lost. Nothing was loaded.

    They were loaded while the rows were missing. Replace the rows of the batch and of ``batch_ids``
    together, the batch first.
    """

    def __init__(self, batch: Batch, batch_ids: list[str]) -> None:
        super().__init__(f"Ids of {batch.batch_id} are held by {', '.join(batch_ids[:3])}.")
        self.batch_ids = batch_ids


class Loader:
    """The steps of batches in one engine. One instance serves the threads of one run."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._settings = warehouse.settings

    def stage(self, batch: Batch, staging: str) -> list[tuple[int, datetime, bytes | None]]:
        """Judge the batch's raw object into the table ``staging``.

        Returns the doubtful records: offset in Kafka, arrival (aware), bytes (None is a tombstone).
        """
        self._warehouse.fill(
            staging,
            "create_staging",
            "judge",
            {
                "key": self._raw_object(batch),
                "batch_id": batch.batch_id,
                "arrival_hour": _seconds(batch.hour),
                "partition": batch.partition,
            },
            over="raw_rows",
        )
        doubtful = self._warehouse.select("doubtful_rows", {"staging": staging}, strings=False)
        columns = (doubtful[name].to_pylist() for name in ("kafka_offset", "created_at", "value"))
        return list(zip(*columns, strict=True))

    def add_judged(self, rows: pa.Table, staging: str) -> None:
        """Add rows that the precise rules judged (schema of ``events.columns``, ok = 1)."""
        self._warehouse.insert(staging, rows)

    def origins(self, batch: Batch) -> dict[int, Origin]:
        """Key and headers of the staged batch's rejected records, by offset, from the raw object."""
        parameters = {"key": self._raw_object(batch), "staging": staging_table(batch)}
        table = self._warehouse.select("origins", parameters, strings=False)
        return {
            row["kafka_offset"]: (
                row["key"],
                tuple((header["name"].decode(), header["value"]) for header in row["headers"] or ()),
            )
            for row in table.to_pylist()
        }

    def staged_counts(self, batch: Batch) -> StagedCounts:
        """Count the judged rows by verdict."""
        return StagedCounts(
            **_only_row(self._warehouse.select("staged_counts", {"staging": staging_table(batch)}))
        )

    def write_validated(self, batch: Batch, key: str) -> None:
        """Write the valid rows' typed columns to ``key``; an object of that name is replaced."""
        self._warehouse.execute(
            "write_validated",
            {"key": f"{self._settings.minio_bucket}/{key}", "staging": staging_table(batch)},
            **VALIDATED_FILE,
        )

    def wait_for_running_loads(self, timeout: float = 300.0) -> None:
        """Wait until no load is at work in the engine. Raises TransientError after ``timeout`` s."""
        try:
            Retrying(
                stop=stop_after_delay(timeout), wait=wait_fixed(0.2), retry=retry_if_result(lambda n: n > 0)
            )(lambda: int(_only_row(self._warehouse.select("running_loads"))["running"]))
        except RetryError:
            raise TransientError(
                f"A load of another run has been at work in ClickHouse for more than {timeout:.0f} s. "
                "Look at system.processes; the batch is tried again later."
            ) from None

    def load(self, batch: Batch, left_out: Sequence[int] | None = None) -> list[int]:
        """Bring the staged batch into ``ingested_data``; returns the offsets of the duplicates left out.

        Rows of the batch that are there already (a run was killed before the ledger knew) are kept
        when they carry today's verdicts, and replaced atomically when they do not.

        Raises:
            IdsTakenError: another batch holds an id that is not in ``left_out``, if that is given.
        """
        duplicates = self._find_duplicates(batch, INGESTED_DATA, left_out)
        there = self._checksum("loaded_checksum", batch)
        if there["rows"] == 0:
            self._insert(batch, INGESTED_DATA)
        elif there != self._checksum("staged_checksum", batch):
            with Replacement(self, [batch]) as replacement:
                duplicates = replacement.add(batch, left_out)
                replacement.swap()
        return duplicates

    def changes(self, batch: Batch, staging: str) -> list[VerdictChange]:
        """Rows whose verdict in ``staging`` differs from the one in the table, grouped."""
        table = self._warehouse.select("verdict_changes", {"staging": staging, **_batch_filter(batch)})
        return [VerdictChange(**row) for row in table.to_pylist()]

    def drop_staging(self, batch: Batch, staging: str | None = None) -> None:
        """Drop the batch's tables; nothing happens where they are missing."""
        tables = [staging or staging_table(batch), duplicates_table(batch)]
        if batch.recovering:
            tables.append(left_out_table(batch))
        for table in tables:
            self._warehouse.execute("drop_table", {"table": table})

    def _raw_object(self, batch: Batch) -> str:
        return f"{self._settings.minio_bucket}/{batch.raw_key}"

    def _find_duplicates(self, batch: Batch, target: str, left_out: Sequence[int] | None) -> list[int]:
        counts = self.staged_counts(batch)
        window = timedelta(hours=self._settings.wotr_duplicate_window_hours)
        where: dict[str, Parameter] = {
            "staging": staging_table(batch),
            "target": target,
            "batch_id": batch.batch_id,
            "window_start": max(0, _seconds(counts.first_created_at - window)),
            "window_end": _seconds(counts.last_created_at + window) + 1,
        }
        self._warehouse.fill(duplicates_table(batch), "create_offsets", "find_duplicates", where)
        offsets = self._duplicate_offsets(batch)
        if left_out is None or offsets == left_out:
            return offsets
        table = left_out_table(batch)
        self._warehouse.execute("drop_table", {"table": table})
        self._warehouse.execute("create_offsets", {"table": table})
        self._warehouse.insert(table, pa.table({"kafka_offset": pa.array(left_out, pa.int64())}))
        tables = {**where, "duplicates": duplicates_table(batch), "left_out": table}
        # In a replacement the batches whose ids are in question are added one after the other, in order.
        if target == INGESTED_DATA and not set(offsets).issubset(left_out):
            takers = self._warehouse.select("find_takers", tables)["batch_id"].to_pylist()
            if takers:
                raise IdsTakenError(batch, takers)
        self._warehouse.execute("add_left_out", tables)
        return self._duplicate_offsets(batch)

    def _duplicate_offsets(self, batch: Batch) -> list[int]:
        found = self._warehouse.select("duplicate_offsets", {"table": duplicates_table(batch)})
        offsets: list[int] = found["kafka_offset"].to_pylist()
        return offsets

    def _insert(self, batch: Batch, target: str) -> None:
        self._warehouse.execute(
            "load_batch",
            {
                "target": target,
                "staging": staging_table(batch),
                "duplicates": duplicates_table(batch),
            },
            # With the time of the plan: to the engine, a ledger that was lost and made anew is not a replay.
            insert_deduplication_token=f"{batch.batch_id}.{batch.generation}.{batch.planned_at}",
            **ONE_PART,
        )

    def _checksum(self, name: str, batch: Batch) -> dict[str, Any]:
        tables = {"staging": staging_table(batch), "duplicates": duplicates_table(batch)}
        return _only_row(self._warehouse.select(name, {**tables, **_batch_filter(batch)}))


class Replacement:
    """Replace all rows of some batches at once: readers see the old rows, then the new ones.

    Hazard: between ``__enter__`` and ``swap`` a load into ``ingested_data`` would be lost, so the
    load lock is held throughout. The months concerned are cloned by hard links (no copy), the
    batches' rows are deleted in the clone (only parts that hold some are rewritten), the new rows
    are added, and each month is swapped by one REPLACE PARTITION. A kill before the swap leaves the
    table as it was; the next replacement starts with a fresh clone.
    """

    def __init__(self, loader: Loader, batches: list[Batch]) -> None:
        self._loader = loader
        self._warehouse = loader._warehouse
        self._batches = [batch.batch_id for batch in batches]
        self._months: set[str] = set()

    def __enter__(self) -> Self:
        self._warehouse.execute("drop_table", {"table": REPLACEMENT})
        self._warehouse.execute("create_replacement")
        months = self._warehouse.select("months_of_batches", {"batches": self._batches})
        self._clone(months["month"].to_pylist())
        return self

    def add(self, batch: Batch, left_out: Sequence[int] | None = None) -> list[int]:
        """Add the staged rows of one of the batches; returns the offsets of its duplicates.

        ``left_out``: as ``Loader.load``. Whoever took ids of it must be among the batches that come later.
        """
        staged = self._warehouse.select("months_of_staging", {"staging": staging_table(batch)})
        self._clone(staged["month"].to_pylist())
        duplicates = self._loader._find_duplicates(batch, REPLACEMENT, left_out)
        self._loader._insert(batch, REPLACEMENT)
        return duplicates

    def swap(self) -> None:
        """Make the new rows the table's rows, one atomic step a month."""
        for month in sorted(self._months):
            self._warehouse.execute("swap_month", {"month": month})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._warehouse.execute("drop_table", {"table": REPLACEMENT})

    def _clone(self, months: list[str]) -> None:
        new = set(months) - self._months
        for month in sorted(new):
            self._warehouse.execute("clone_month", {"month": month})
        if new:
            self._warehouse.execute("delete_batches", {"batches": self._batches}, mutations_sync=2)
        self._months |= new


def staging_table(batch: Batch) -> str:
    """Name of the batch's staging table: the same for whichever run works on it."""
    return f"staging_{_digest(batch)}"


def preview_table(batch: Batch) -> str:
    """Name of the table into which a dry run judges the batch."""
    return f"preview_{_digest(batch)}"


def duplicates_table(batch: Batch) -> str:
    """Name of the table of the batch's duplicate offsets."""
    return f"duplicates_{_digest(batch)}"


def left_out_table(batch: Batch) -> str:
    """Name of the table of the offsets that the batch's last load left out."""
    return f"left_out_{_digest(batch)}"


def _digest(batch: Batch) -> str:
    return hashlib.sha256(batch.batch_id.encode()).hexdigest()[:20]


def _batch_filter(batch: Batch) -> dict[str, Parameter]:
    return {"batch_id": batch.batch_id, "arrival_hour": _seconds(batch.hour)}


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _only_row(table: pa.Table) -> dict[str, Any]:
    rows: list[dict[str, Any]] = table.to_pylist()
    if len(rows) != 1:
        raise PermanentError(f"A query that must return one row returned {len(rows)}: report this as a bug.")
    return rows[0]
