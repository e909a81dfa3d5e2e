"""Placeholder of the metrics: replaced by the real ones."""


class Metrics:
    """Counts."""

    def ingested(self, route: str, outcome: str, events: int) -> None:
        """Nothing yet."""

    def refused(self, reason: str, events: int) -> None:
        """Nothing yet."""
