"""One table out of a backup of PostgreSQL.

Belongs here: which table a selection means, and the command that copies its rows back. Does not belong here: restoring
it (``postgres.py``).
"""

from ..stores.errors import PermanentError
from .manifest import Manifest
from .postgres_facts import tables_of
from .target import Selection

LEDGER, DAGSTER = "ledger", "dagster"
"""What the databases are called in backups, whatever their names are."""


def selected(manifest: Manifest, selection: Selection) -> list[tuple[str, str, str]]:
    """Role, schema and name of the table that is wanted; none if all are."""
    if not selection.table:
        return []
    called = {role: {role, manifest.details.get(f"database {role}", role)} for role in (LEDGER, DAGSTER)}
    *_, schema, name = ["public", *selection.table.split(".")]
    database = selection.table.split(".")[0] if selection.table.count(".") > 1 else ""
    found = [
        (role, its_schema, its_name)
        for role, its_schema, its_name in tables_of(manifest.facts)
        if (its_schema, its_name) == (schema, name) and (not database or database in called[role])
    ]
    if not found:
        raise PermanentError(
            f"{manifest.backup_id} has no table {selection.table}. Name it as database.schema.table or schema.table; "
            "of a partitioned table, one of its partitions."
        )
    return found


def copying(source: str, database: str, schema: str, table: str) -> str:
    """Shell and SQL that add the rows whose keys are missing."""
    name = f'\\"{schema}\\".\\"{table}\\"'
    return (
        f'psql -d "{source}" -c "COPY {name} TO STDOUT" | psql -d "{database}" -v ON_ERROR_STOP=1 '
        f'-c "CREATE TEMP TABLE back (LIKE {name} INCLUDING GENERATED)" -c "COPY back FROM STDIN" '
        f'-c "INSERT INTO {name} OVERRIDING SYSTEM VALUE SELECT * FROM back ON CONFLICT DO NOTHING" '
        "(name the columns if some are generated)."
    )
