"""What the tests of the window share: things past their time, backups that hold them, the mode.

Belongs here: making them and looking at them. Does not belong here: any assertion of one test.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg2

from wotr_pipeline.config import Settings
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
    connection = psycopg2.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        dbname=settings.postgres_db,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        found = cursor.fetchall() if cursor.description else []
    connection.close()
    return found


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
