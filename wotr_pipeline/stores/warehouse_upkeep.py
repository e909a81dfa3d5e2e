"""Upkeep of the events' database in ClickHouse: partitions and their parts, merging, mutations, disks, dropping months.

Belongs here: those statements' answers as records. Does not belong here: which partition deserves what
(``operations/maintenance/``).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from .warehouse import Parameter, Warehouse

MERGE_SECONDS = 540
"""How long one merge may take: below what a connection waits for an answer."""


@dataclass(frozen=True)
class Partition:
    """A partition as it lies on disk."""

    table: str
    partition: str
    parts: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Mutation:
    """One that does not get through."""

    table: str
    mutation_id: str
    parts_to_do: int
    began: datetime
    failed: bool


@dataclass(frozen=True)
class Disk:
    """Bytes."""

    name: str
    free: int
    total: int


def partitions(warehouse: Warehouse) -> list[Partition]:
    """Of every table of the database. Raises as ``Warehouse.select`` does, like everything here."""
    rows = warehouse.select("upkeep_partitions").to_pylist()
    return [
        Partition(row["table"], row["partition"], row["parts"], row["row_count"], row["bytes"])
        for row in rows
    ]


def stuck_mutations(warehouse: Warehouse) -> list[Mutation]:
    """Those that failed or have run for over an hour, the oldest first."""
    rows = warehouse.select("upkeep_stuck_mutations").to_pylist()
    return [
        Mutation(
            row["table"],
            row["mutation_id"],
            row["parts_to_do"],
            datetime.fromtimestamp(row["began"], UTC),
            bool(row["failed"]),
        )
        for row in rows
    ]


def disks(warehouse: Warehouse) -> list[Disk]:
    """The engine's local disks."""
    return [
        Disk(row["name"], row["free"], row["total"]) for row in warehouse.select("upkeep_disks").to_pylist()
    ]


def merge(warehouse: Warehouse, partition: Partition) -> None:
    """Make one part of it. Killed or run again, nothing is lost or doubled: the engine swaps parts at the end."""
    warehouse.execute(
        "optimize_partition",
        {"table": partition.table, "partition": partition.partition},
        max_execution_time=MERGE_SECONDS,
        optimize_skip_merged_partitions=1,
    )


def drop(warehouse: Warehouse, partition: Partition) -> None:
    """Remove its rows for good. A partition that is gone already is fine."""
    warehouse.execute("empty_partition", {"table": partition.table, "partition": partition.partition})


def rows_of_id(warehouse: Warehouse, event_id: str, since: datetime) -> int:
    """How many rows there are of an id among those that arrived since then."""
    parameters: dict[str, Parameter] = {"id": event_id, "since": int(since.timestamp() * 1000)}
    (row,) = warehouse.select("count_id", parameters).to_pylist()
    return int(row["row_count"])
