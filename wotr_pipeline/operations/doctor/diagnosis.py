"""The findings in order, the most likely bottleneck first, and the verdict.

Belongs here: that order, and what is left of it for one service. Pure. Does not belong here: the findings themselves.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from wotr_pipeline.config import Settings

from .condition import condition
from .evidence import Evidence
from .finding import Finding
from .flow import flow


class Verdict(StrEnum):
    """In one word. ``UNKNOWN``: nothing was found, and not everything could be looked at."""

    HEALTHY = "healthy"
    FINDINGS = "findings"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """Of ``wotr doctor``."""
        return {self.HEALTHY: 0, self.FINDINGS: 1, self.UNKNOWN: 2}[self]


@dataclass(frozen=True)
class Diagnosis:
    """What was found in the evidence."""

    evidence: Evidence
    findings: tuple[Finding, ...]
    verdict: Verdict

    @property
    def bottleneck(self) -> Finding | None:
        """What to mend first."""
        return self.findings[0] if self.findings else None


def diagnose(seen: Evidence, settings: Settings, only: str = "") -> Diagnosis:
    """Every finding, or those about the service ``only``."""
    found = ordered([*flow(seen, settings), *condition(seen)])
    if only:
        found = [finding for finding in found if only in finding.services]
    unknown = bool(seen.unknown) and not only
    verdict = Verdict.FINDINGS if found else Verdict.UNKNOWN if unknown else Verdict.HEALTHY
    return Diagnosis(seen, tuple(found), verdict)


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """Causes by severity, the way of the events first; right behind each what it explains."""
    found = list(found)
    names = {finding.name for finding in found}
    effects: dict[str, list[Finding]] = {}
    for finding in found:
        if finding.because in names:
            effects.setdefault(finding.because, []).append(finding)

    def worst(finding: Finding) -> str:
        # A cause weighs as much as the worst that follows from it.
        return min([finding.severity.value, *map(worst, effects.get(finding.name, []))])

    def behind(finding: Finding) -> list[Finding]:
        return [finding, *(one for effect in effects.get(finding.name, []) for one in behind(effect))]

    causes = sorted((one for one in found if one.because not in names), key=worst)
    return [one for cause in causes for one in behind(cause)]
