"""ClickHouse's own BACKUP and RESTORE, and the databases and tables around them.

Belongs here: those statements, waiting for them, sums of tables. Does not belong here: what is backed up when
(``backups/clickhouse.py``), credentials: they are the engine's named collection ``wotr_backups``.

BACKUP, RESTORE, EXCHANGE and REPLACE PARTITION take no parameters, so these statements are built; names and paths are
ours, and quoted all the same.
Source: https://clickhouse.com/docs/operations/backup
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from ..config import Settings
from .errors import PermanentError, TransientError
from .warehouse import TRANSIENT_CODES, Warehouse

COLLECTION = "wotr_backups"
WAIT_SECONDS = 6 * 3600
"""Backstop for one BACKUP or RESTORE; the engine gives up on a store that is away much earlier."""
FORMER_WAIT_SECONDS = 300
TOLD_EVERY = 10.0
PART_BYTES = 8 * 1024**2
TRANSFERS = {
    # BACKUP's own S3 client gives the first attempt of a request half a second without progress, whatever
    # s3_use_adaptive_timeouts says. Many large parts at once to a busy store are cut off and sent again then, and take
    # twice as long: fewer and smaller ones all get through.
    "s3_max_inflight_parts_for_one_file": 2,
    "s3_min_upload_part_size": PART_BYTES,
    "s3_max_single_part_upload_size": PART_BYTES,
    # A second pass over every byte, for what the engine's own checksums and the drill see anyway.
    "s3_disable_checksum": 1,
}
_UNDER_WAY = {"CREATING_BACKUP", "RESTORING"}
_CODE = re.compile(r"Code: (\d+)")
_SYMBOL = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")


@dataclass(frozen=True)
class PartitionSum:
    """Rows of one partition, and the sum modulo 2^64 of the hashes of its rows: every column, in no order."""

    partition: str
    rows: int
    checksum: str


class EngineBackups:
    """One connection to the server, to no database. Raises TransientError and PermanentError as ``Warehouse`` does."""

    def __init__(self, settings: Settings, run_id: str = "") -> None:
        self._warehouse = Warehouse(settings.model_copy(update={"clickhouse_db": "system"}), run_id)

    def close(self) -> None:
        """Close the connection."""
        self._warehouse.close()

    def tables(self, database: str) -> list[str]:
        """Names of the tables that hold data, those that loads make for a moment left out."""
        return self._names("backup_tables", database=database)

    def databases(self, prefix: str) -> list[str]:
        """Names of the databases that begin so."""
        return self._names("databases_beginning", prefix=prefix)

    def sums(self, database: str, table: str) -> list[PartitionSum]:
        """Read a table whole."""
        found = self._warehouse.select("backup_sums", {"database": database, "table": table}).to_pylist()
        return [PartitionSum(row["partition"], row["items"], row["checksum"]) for row in found]

    def sum_of(self, database: str, table: str, partition: str) -> PartitionSum:
        """Read one partition whole."""
        (row,) = self._warehouse.select(
            "backup_sum_of_partition", {"database": database, "table": table, "partition": partition}
        ).to_pylist()
        return PartitionSum(partition, row["items"], row["checksum"])

    def count(self, database: str, table: str) -> int:
        """Rows of a table, as its parts tell: nothing is read."""
        found = self._warehouse.select("backup_count", {"database": database, "table": table}).to_pylist()
        return int(found[0]["items"])

    def create(self, database: str) -> None:
        """Make a database, unless it is there."""
        self._warehouse.execute("create_database", {"database": database})

    def drop(self, database: str) -> None:
        """Remove a database with everything in it; fine if there is none."""
        self._warehouse.execute("drop_database", {"database": database})

    def clone(self, table: str, database: str, into: str, partition: str = "") -> None:
        """A table of the same rows in another database, by links to the same files: it costs milliseconds."""
        which = f"PARTITION ID {_text(partition)}" if partition else "PARTITION ALL"
        self._run("clone", f"CREATE TABLE {_name(into, table)} AS {_name(database, table)}")
        self._run("clone", f"ALTER TABLE {_name(into, table)} ATTACH {which} FROM {_name(database, table)}")

    def exchange(self, table: str, database: str, other: str) -> None:
        """Let two tables of one name change places, at once."""
        self._run("exchange", f"EXCHANGE TABLES {_name(database, table)} AND {_name(other, table)}")

    def move(self, table: str, database: str, into: str) -> None:
        """Let a table belong to another database."""
        self._run("move", f"RENAME TABLE {_name(database, table)} TO {_name(into, table)}")

    def replace_partition(self, table: str, partition: str, database: str, of: str) -> None:
        """Put the rows of a partition of ``of``'s table in the place of those in ``database``'s, at once."""
        self._run(
            "replace a partition",
            f"ALTER TABLE {_name(database, table)} REPLACE PARTITION ID {_text(partition)} FROM {_name(of, table)}",
        )

    def backup(
        self,
        tables: Sequence[str],
        database: str,
        known_as: str,
        path: str,
        base: str | None,
        identity: str,
        log: logging.Logger,
    ) -> None:
        """BACKUP tables of ``database`` under the name ``known_as``; ``path`` and ``base`` are ``bucket/prefix/``.

        Raises:
            TransientError: the object store is away; ``path`` holds a part of it then.
        """
        wanted = ", ".join(f"TABLE {_name(database, table)} AS {_name(known_as, table)}" for table in tables)
        upon = f", base_backup = {_place(base)}" if base else ""
        settings = f"SETTINGS id = {_text(identity)}{upon}"
        self._run("backup", f"BACKUP {wanted} TO {_place(path)} {settings} ASYNC")
        self._wait(identity, "back up", log)

    def restore(
        self,
        tables: Sequence[str],
        known_as: str,
        into: str,
        path: str,
        partition: str,
        identity: str,
        log: logging.Logger,
    ) -> None:
        """RESTORE tables into the database ``into``, which must be there and must not have them."""
        which = f" PARTITIONS {_text(partition)}" if partition else ""
        wanted = ", ".join(
            f"TABLE {_name(known_as, table)} AS {_name(into, table)}{which}" for table in tables
        )
        self._run("restore", f"RESTORE {wanted} FROM {_place(path)} SETTINGS id = {_text(identity)} ASYNC")
        self._wait(identity, "restore", log)

    def wait_for_others(self, path: str) -> None:
        """Wait for a BACKUP or RESTORE of that path which a killed run has left under way.

        Raises:
            TransientError: it does not end.
        """
        waiting = Retrying(
            stop=stop_after_delay(FORMER_WAIT_SECONDS),
            wait=wait_exponential(0.1, max=5),
            retry=retry_if_result(bool),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
        )
        if waiting(lambda: self._names("backups_running", "id", path=path)):
            raise TransientError(
                f"The engine is still at work on {path} for a run that ended long ago. Look at system.backups, and "
                "restart ClickHouse if it does not move."
            )

    def _wait(self, identity: str, verb: str, log: logging.Logger) -> None:
        told = 0.0

        def state() -> dict[str, object]:
            nonlocal told
            found = self._warehouse.select("backup_state", {"id": identity}).to_pylist()
            if not found:
                raise TransientError(f"The engine was restarted and does not {verb} any more. Start again.")
            elapsed = waiting.statistics.get("delay_since_first_attempt", 0.0)
            if elapsed - told >= TOLD_EVERY:
                told = elapsed
                log.info(
                    "The engine is at work for %.0f s: %d files, %d bytes.",
                    elapsed, found[0]["files"], found[0]["bytes"],
                )  # fmt: skip
            row: dict[str, object] = found[0]
            return row

        waiting = Retrying(
            stop=stop_after_delay(WAIT_SECONDS),
            # A tenth of the time that it has taken: soon enough after a short one, and no stream of questions at a long one.
            wait=wait_exponential(0.02, exp_base=1.1, max=1),
            retry=retry_if_result(lambda row: row["status"] in _UNDER_WAY),
        )
        found = waiting(state)
        if str(found["status"]).endswith("FAILED"):
            raise _failed(str(found["error"]), verb)

    def _run(self, name: str, text: str) -> None:
        self._warehouse.run_built(name, text, **TRANSFERS)

    def _names(self, statement: str, column: str = "name", **parameters: str) -> list[str]:
        found = self._warehouse.select(statement, parameters).to_pylist()
        return [row[column] for row in found]


def _failed(error: str, verb: str) -> TransientError | PermanentError:
    """The engine's code and symbol; its message may quote anything."""
    code, symbol = _CODE.search(error), _SYMBOL.findall(error)
    text = (
        f"The engine could not {verb}: code {code[1] if code else 'unknown'} "
        f"({symbol[-1] if symbol else 'no symbol'}). The whole message is in system.backups, column error."
    )
    missing = {"BACKUP_ENTRY_NOT_FOUND", "BACKUP_NOT_FOUND", "CANNOT_RESTORE_TABLE", "BACKUP_DAMAGED"}
    broken = missing | {"CHECKSUM_DOESNT_MATCH", "CORRUPTED_DATA", "WRONG_BASE_BACKUP", "BAD_DATA_PART_NAME"}
    if symbol and symbol[-1] in broken:
        return PermanentError(text)
    # A damaged file makes a restore fail in many ways (a type that is unknown, an object of another size): what is
    # not the world's fault is the backup's, and a drill has to say so.
    of_the_backup = verb == "restore" and code is not None and int(code[1]) not in TRANSIENT_CODES
    return PermanentError(text) if of_the_backup else TransientError(text)


def _name(database: str, table: str) -> str:
    return f"{_identifier(database)}.{_identifier(table)}"


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _place(path: str) -> str:
    return f"S3({COLLECTION}, {_text(path)})"
