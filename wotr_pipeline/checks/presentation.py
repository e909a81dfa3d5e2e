"""How check results look to someone who reads them at 2 AM.

Belongs here: sentences, tables and links that several checks share.
Does not belong here: any decision, or any content of an event but its id.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from wotr_pipeline.config import Settings

Metadata = dict[str, dg.MetadataValue]
Line = Mapping[str, str | int | float | bool]
"""One line of a table, by column."""

LINES_SHOWN = 50
"""Most lines of a table in a result; the counts beside it cover all."""

_KINDS: Mapping[type, str] = {bool: "bool", int: "int", float: "float", str: "string"}


def table(lines: Sequence[Line]) -> dg.TableMetadataValue:
    """The first ``LINES_SHOWN`` lines; all have the columns of the first."""
    columns = [dg.TableColumn(name, _KINDS[type(value)]) for name, value in lines[0].items()] if lines else []
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(line)) for line in lines[:LINES_SHOWN]], schema=dg.TableSchema(columns)
    )


def first_three(names: Sequence[str]) -> str:
    """``a, b, c and 7 more``."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def share(count: int, total: int) -> str:
    """``12 of 3,456 rows (0.35 %)``."""
    percent = 100.0 * count / total if total else 0.0
    return f"{count:,} of {total:,} rows ({percent:.2f} %)"


def moment(when: datetime) -> str:
    """``2026-11-23 08:15 UTC``."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def runbook(settings: Settings, check: str) -> str:
    """The paragraph on a check in docs/operating.md; its heading is the check's name."""
    return settings.runbook(f"operating.md#{check}")
