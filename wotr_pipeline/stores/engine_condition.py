"""How ClickHouse's engine does at this moment: parts, merges, mutations, long and slow queries, space.

Belongs here: those statements' answers as records. Does not belong here: what is too much (``operations/doctor/``), sizes
over time, texts of queries.
"""

from dataclasses import dataclass

from .warehouse import Warehouse

SECONDS = 4
"""How long one statement may take."""


@dataclass(frozen=True)
class Mutation:
    """One that is not done. ``failed_with``: symbol of the engine's last error, '' if none."""

    table: str
    mutation_id: str
    seconds: int
    failed_with: str


@dataclass(frozen=True)
class Query:
    """One query, by its id."""

    query_id: str
    user: str
    seconds: float


@dataclass(frozen=True)
class Disk:
    """One disk; in bytes."""

    name: str
    free: int
    total: int


@dataclass(frozen=True)
class EngineCondition:
    """All of it."""

    parts: int
    """In the partition that has the most; ``parts_place`` names it."""
    parts_place: str
    merges: int
    longest_merge_seconds: float
    mutations: tuple[Mutation, ...]
    running: tuple[Query, ...]
    slow: tuple[Query, ...]
    disks: tuple[Disk, ...]


def engine_condition(warehouse: Warehouse, long_seconds: float) -> EngineCondition:
    """The condition now; queries count as long or slow from ``long_seconds`` on.

    Raises:
        TransientError, PermanentError: as ``Warehouse.select`` does.
    """
    database, seconds = warehouse.settings.clickhouse_db, {"seconds": long_seconds}

    def rows(name: str, parameters: dict[str, str] | dict[str, float]) -> list[dict[str, object]]:
        found = warehouse.select(name, {**parameters}, max_execution_time=SECONDS)
        listed: list[dict[str, object]] = found.to_pylist()
        return listed

    (merges,) = rows("doctor_merges", {})
    most = rows("doctor_most_parts", {"database": database})
    # An engine that is seconds old has written no log of its queries yet.
    logged = rows("query_log_tables", {})[0]["tables"]
    slow = rows("doctor_slow_queries", seconds) if logged else []
    return EngineCondition(
        parts=int(str(most[0]["parts"])) if most else 0,
        parts_place=str(most[0]["place"]) if most else "",
        merges=int(str(merges["merges"])),
        longest_merge_seconds=float(str(merges["longest_seconds"])),
        mutations=tuple(Mutation(**row) for row in rows("doctor_mutations", {"database": database})),  # type: ignore[arg-type]
        running=tuple(Query(**row) for row in rows("doctor_queries", seconds)),  # type: ignore[arg-type]
        slow=tuple(Query(**row) for row in slow),  # type: ignore[arg-type]
        disks=tuple(Disk(**row) for row in rows("doctor_disks", {})),  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Failure:
    """Rejected rows of the last hour of one reason and source."""

    reason: str
    source: str
    failed: int


def failures(warehouse: Warehouse) -> tuple[Failure, ...]:
    """Most first. Raises as ``engine_condition`` does."""
    found = warehouse.select("doctor_failures", max_execution_time=SECONDS)
    return tuple(Failure(**row) for row in found.to_pylist())
