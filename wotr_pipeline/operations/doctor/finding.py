"""What the doctor says: one finding, in the runbook's words.

Belongs here: its record and its severities. Does not belong here: when there is one (``flow.py``, ``condition.py``).
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """As the runbook has them: answer within 15 minutes, one hour, four hours, by the next working day."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    name: str
    """Stable, for programs: see docs/runbook/doctor.md."""
    severity: Severity
    symptom: str
    cause: str
    """The likely one."""
    check: str
    """A command that shows it."""
    remedy: str
    page: str
    """Of docs/."""
    because: str = ""
    """Name of the finding that explains this one; '' if it stands for itself."""
    services: tuple[str, ...] = field(default=())
    """What it is about, for ``--only``."""
