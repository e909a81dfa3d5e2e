"""Step ``pre_checks``: whether the window may begin. Nothing is changed.

Belongs here: those questions, all asked before any is answered. Does not belong here: mending what they find.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from wotr_pipeline.operations.maintenance.window import RUN, Line, Report, Window
from wotr_pipeline.stores import warehouse_upkeep
from wotr_pipeline.stores.errors import StoreError
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.operations_log import STORES_WITH_BACKUPS
from wotr_pipeline.stores.probes import probes
from wotr_pipeline.stores.warehouse import Warehouse

FREE_SHARE = 0.15
"""Merging writes a partition anew before the old parts go: less than this is no place for it."""


def pre_checks(window: Window, backup_hours: float) -> Report:
    """Ask everything; ``problem`` names all that is wrong. ``backup_hours``: how old a verified backup may be."""
    questions: dict[str, Callable[[], Iterator[str]]] = {
        "mode": lambda: _mode(window),
        "backups": lambda: _backups(window, backup_hours),
        "stores": lambda: _stores(window),
        "batches": lambda: _batches(window),
        "clickhouse": lambda: _clickhouse(window),
    }
    found: list[Line] = []
    for question, asked in questions.items():
        try:
            found += [{"question": question, "wrong": wrong} for wrong in asked()]
        except StoreError as error:
            found.append({"question": question, "wrong": str(error)})
    if not found:
        return Report(
            ("Verified backups are fresh, the stores are up, no batch is late, no mutation is stuck.",),
            {"wrong": 0},
        )
    lines = tuple(f"{line['question']}: {line['wrong']}" for line in found)
    return Report(
        lines,
        {"wrong": len(found)},
        {"what is wrong": found},
        f"The window does not begin, nothing was changed: {' '.join(lines)}",
    )


def _mode(window: Window) -> Iterator[str]:
    mode = window.operations.maintenance()
    if mode is not None and mode.enabled and not mode.who.startswith(RUN):
        yield f'{mode.who} has turned maintenance on ("{mode.why}"); the window would end it: wotr maintenance off.'


def _backups(window: Window, hours: float) -> Iterator[str]:
    newest = window.operations.newest_verified_backups()
    for store in STORES_WITH_BACKUPS:
        backup = newest.get(store)
        if backup is None:
            yield f"{store} has no verified backup. Take one: wotr backup take {store}."
        elif datetime.now(UTC) - backup.taken_at > timedelta(hours=hours):
            yield (
                f"the newest verified backup of {store} is of {backup.taken_at:%Y-%m-%d %H:%M} UTC, older than "
                f"{hours:g} hours. Take one: wotr backup take {store}."
            )


def _stores(window: Window) -> Iterator[str]:
    for store, probe in probes(window.settings).items():
        try:
            probe()
        except StoreError as error:
            yield f"{store}: {error}"


def _batches(window: Window) -> Iterator[str]:
    limit = timedelta(minutes=window.settings.wotr_fresh_minutes)
    with Ledger(window.settings) as ledger:
        late = ledger.late(window.settings.kafka_topic, limit)
    if late:
        yield (
            f"{late} batches have been unfinished for over {window.settings.wotr_fresh_minutes} minutes. "
            "See: wotr batches --unfinished."
        )


def _clickhouse(window: Window) -> Iterator[str]:
    warehouse = Warehouse(window.settings, window.run_id)
    try:
        for mutation in warehouse_upkeep.stuck_mutations(warehouse):
            yield (
                f"mutation {mutation.mutation_id} of {mutation.table} is stuck since {mutation.began:%Y-%m-%d %H:%M} UTC "
                f"({mutation.parts_to_do} parts to do). See system.mutations; KILL MUTATION ends it."
            )
        for disk in warehouse_upkeep.disks(warehouse):
            if disk.free < FREE_SHARE * disk.total:
                yield (
                    f"disk {disk.name} has {100 * disk.free / disk.total:.0f} % free, and merging needs "
                    f"{100 * FREE_SHARE:.0f} %. Make room first."
                )
    finally:
        warehouse.close()
