"""The events that are measured with: the sample stream, all in the hour that is running.

Belongs here: filling a topic. Does not belong here: the mix itself (``operations/sample_events.py``).
"""

from datetime import UTC, datetime

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.sample_events import Sample, SampleAccount, send

MOST_HOURS = 0.2


def produce(settings: Settings, events: int) -> SampleAccount:
    """Send ``events`` records, 1 % of them bad, 0.5 % repeated; they arrive within one hour."""
    now = datetime.now(UTC)
    into_the_hour = now.minute / 60 + now.second / 3600
    return send(Sample(events, now, min(MOST_HOURS, into_the_hour * 0.99), seed=now.microsecond), settings)
