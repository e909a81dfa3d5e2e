"""A diagnosis as text for people, and as JSON for programs.

Belongs here: the words around the findings, and the document that ``doctor.1.json`` describes. Its keys only grow; what
would break a reader is a new version. Does not belong here: what is found.
"""

from collections.abc import Iterator
from datetime import UTC

from wotr_pipeline.config import Settings

from .diagnosis import Diagnosis, Verdict
from .service import ServiceDetails

VERSION = 1


def lines(diagnosis: Diagnosis, settings: Settings, details: ServiceDetails | None = None) -> Iterator[str]:
    """For people."""
    seen = diagnosis.evidence
    yield f"Looked at everything at {seen.now:%Y-%m-%d %H:%M} UTC, in {seen.seconds:.1f} s."
    yield ""
    for service in seen.services:
        told = f"{service.milliseconds} ms" if not service.reason else service.reason
        yield f"  {service.name:<12} {service.state:<8} {told}"
    for what, why in seen.unknown:
        yield f"  not seen: {what}. {why}"
    yield ""
    if details is not None:
        yield from details.lines()
        yield ""
    if diagnosis.bottleneck is None:
        yield {
            Verdict.HEALTHY: "All is well.",
            Verdict.UNKNOWN: "Nothing wrong was found, but not everything could be seen.",
        }[diagnosis.verdict]
        return
    yield f"Mend first: {diagnosis.bottleneck.name}"
    for number, finding in enumerate(diagnosis.findings, 1):
        yield ""
        yield f"{number}. {finding.severity} {finding.name}" + (
            f" (follows from {finding.because})" if finding.because else ""
        )
        yield f"   symptom  {finding.symptom}"
        yield f"   cause    {finding.cause}"
        yield f"   check    {finding.check}"
        yield f"   remedy   {finding.remedy}"
        yield f"   more     {settings.runbook(finding.page)}"


def as_json(
    diagnosis: Diagnosis, settings: Settings, details: ServiceDetails | None = None
) -> dict[str, object]:
    """For programs."""
    seen = diagnosis.evidence
    return {
        "version": VERSION,
        "at": seen.now.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(seen.seconds, 3),
        "verdict": diagnosis.verdict.value,
        "bottleneck": diagnosis.bottleneck.name if diagnosis.bottleneck else None,
        "services": [
            {
                "name": one.name,
                "state": one.state.value,
                "milliseconds": one.milliseconds,
                "reason": one.reason,
            }
            for one in seen.services
        ],
        "findings": [
            {
                "name": one.name,
                "severity": one.severity.value,
                "symptom": one.symptom,
                "cause": one.cause,
                "check": one.check,
                "remedy": one.remedy,
                "runbook": settings.runbook(one.page),
                "because": one.because or None,
            }
            for one in diagnosis.findings
        ],
        "unknown": [{"what": what, "why": why} for what, why in seen.unknown],
        "service": details.as_json() if details is not None else None,
    }
