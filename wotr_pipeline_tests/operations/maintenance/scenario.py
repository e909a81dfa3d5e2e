"""What the tests of the window share: things past their time, backups that hold them, the mode.

Belongs here: making them and looking at them. Does not belong here: any assertion of one test.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import PlannedRange
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline.stores.object_keys import raw_key
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline.stores.warehouse_upkeep import partitions

LONG_AGO = datetime(2022, 3, 4, 5, tzinfo=UTC)
MONTH = "202203"


@dataclass(frozen=True)
class Verifying:
    """Backups that hold everything, or nothing."""

    everything: bool

    def has_month(self, table: str, month: str) -> bool:
        return self.everything

    def has_object(self, key: str) -> bool:
        return self.everything


def execute(settings: Settings, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Run a statement in the ledger's database; its rows, if it has any."""
    engine = connect(settings, "tests", dedicated=True)
    with engine.begin() as connection:
        found = connection.exec_driver_sql(statement, values)
        return [tuple(row) for row in found] if found.returns_rows else []


def keeping_one_backup(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "wotr_keep_backups_daily": 1,
            "wotr_keep_backups_weekly": 0,
            "wotr_keep_backups_monthly": 0,
        }
    )


def note_loaded(settings: Settings, range_: PlannedRange) -> None:
    """Let the ledger hold a planned range for loaded, from the raw object that it would have."""
    execute(
        settings,
        "UPDATE ingest_batches SET state = 'LOADED', raw_key = %s, raw_sha256 = repeat('0', 64), raw_bytes = 5, "
        "records = 1, valid = 1, rejected = 0, duplicate = 0, landed_at = now(), validated_at = now(), "
        "loaded_at = now(), rules_version = '1', validated_key = 'v' WHERE first_offset = %s",
        raw_key(range_),
        range_.first_offset,
    )


def add_rows(warehouse: Warehouse, when: datetime, count: int = 1) -> None:
    for number in range(count):
        warehouse.client.command(
            "INSERT INTO ingested_data (id, event_type, source, timestamp, created_at, arrival_hour) "
            f"VALUES ('{when:%Y%m}-{number}', 'metric', 's', '{when:%Y-%m-%d %H:%M:%S}', "
            f"'{when:%Y-%m-%d %H:%M:%S}', '{when:%Y-%m-%d %H}:00:00')"
        )


def parts_of(warehouse: Warehouse, month: str) -> int:
    return sum(
        one.parts for one in partitions(warehouse) if one.table == "ingested_data" and one.partition == month
    )


def mode_is_on(settings: Settings) -> bool:
    log = OperationsLog(settings)
    try:
        mode = log.maintenance()
    finally:
        log.close()
    return mode is not None and mode.enabled
