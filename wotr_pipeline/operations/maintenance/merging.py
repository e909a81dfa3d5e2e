"""Steps ``vacuum_postgres`` and ``optimize_clickhouse``: less on disk, newer statistics, fewer parts to read.

Both change no row. Killed half way and run again, they do what is left.

Belongs here: which tables and partitions, and what is told of them. Does not belong here: the statements (``stores/``).
"""

from wotr_pipeline.operations.maintenance.window import Line, Report, Window
from wotr_pipeline.stores import warehouse_upkeep
from wotr_pipeline.stores.postgres_upkeep import PostgresUpkeep, TableState
from wotr_pipeline.stores.warehouse import Warehouse


def vacuum_postgres(window: Window) -> Report:
    """VACUUM ANALYZE of every table of the platform, ``ingest_meta`` first, and what it brought."""
    upkeep = PostgresUpkeep(window.settings)
    try:
        before = upkeep.tables()
        done = []
        for table in before:
            if window.dry_run or not window.go_on():
                break
            upkeep.vacuum(table.name)
            done.append(table.name)
            window.log.info("%s is vacuumed.", table.name)
        after = {table.name: table for table in upkeep.tables()} if done else {}
    finally:
        upkeep.close()
    dead = sum(table.dead for table in before)
    size = sum(table.bytes for table in before)
    verb = "Would vacuum" if window.dry_run else "Vacuumed"
    lines = [
        f"{verb} {len(before) if window.dry_run else len(done)} of {len(before)} tables; {dead:,} rows were dead in {size:,} bytes."
    ]
    if not window.dry_run and len(done) < len(before):
        lines.append(f"{len(before) - len(done)} are left for the next window: its time was over.")
    return Report(
        tuple(lines),
        {"dead rows before": dead, "bytes before": size, "bytes after": sum(t.bytes for t in after.values())},
        {"bloat": [_bloat(table, after.get(table.name)) for table in before]},
    )


def _bloat(before: TableState, after: TableState | None) -> Line:
    return {
        "table": before.name,
        "live rows": before.live,
        "dead rows": before.dead,
        "dead share, percent": round(100 * before.dead / max(1, before.live + before.dead), 1),
        "bytes before": before.bytes,
        "bytes after": after.bytes if after else before.bytes,
    }


def optimize_clickhouse(window: Window, more_parts_than: int, largest_bytes: int) -> Report:
    """Merge the partitions with more than ``more_parts_than`` parts that are not larger than ``largest_bytes``.

    One partition after another: the whole table at once would write terabytes anew for nothing.
    """
    warehouse = Warehouse(window.settings, window.run_id)
    try:
        before = warehouse_upkeep.partitions(warehouse)
        many = [one for one in before if one.parts > more_parts_than]
        wanted = [one for one in many if one.bytes <= largest_bytes]
        done = []
        for partition in wanted:
            if window.dry_run or not window.go_on():
                break
            warehouse_upkeep.merge(warehouse, partition)
            done.append((partition.table, partition.partition))
            window.log.info("%s %s is merged.", partition.table, partition.partition)
        after = warehouse_upkeep.partitions(warehouse) if done else before
        stuck = warehouse_upkeep.stuck_mutations(warehouse)
    finally:
        warehouse.close()
    parts_after = {(one.table, one.partition): one.parts for one in after}
    verb = "Would merge" if window.dry_run else "Merged"
    merged = len(wanted) if window.dry_run else len(done)
    lines = [
        f"{verb} {merged} of {len(before)} partitions (over {more_parts_than} parts, {largest_bytes:,} bytes at most)."
    ]
    if len(many) > len(wanted):
        lines.append(
            f"{len(many) - len(wanted)} with many parts are too large; the engine merges them by itself."
        )
    if not window.dry_run and len(done) < len(wanted):
        lines.append(f"{len(wanted) - len(done)} are left for the next window: its time was over.")
    lines += [f"Mutation {one.mutation_id} of {one.table} is stuck: see system.mutations." for one in stuck]
    return Report(
        tuple(lines),
        {
            "partitions merged": len(done),
            "parts before": sum(one.parts for one in before),
            "parts after": sum(one.parts for one in after),
            "stuck mutations": len(stuck),
        },
        {
            "partitions": [
                {
                    "table": one.table,
                    "partition": one.partition,
                    "rows": one.rows,
                    "bytes": one.bytes,
                    "parts before": one.parts,
                    "parts after": parts_after.get((one.table, one.partition), 0),
                }
                for one in sorted(before, key=lambda one: one.bytes, reverse=True)
            ]
        },
    )
