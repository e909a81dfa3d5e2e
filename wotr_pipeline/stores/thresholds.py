"""From when on something is not as it should be: what the admin page, the doctor and the alerts agree on.

Belongs here: numbers that more than one of them judges by, and the stores' names for people. Does not belong here:
sentences (``gateway/verdict.py``, ``operations/doctor/``), the alerts themselves (``observability/alerts.yml``).
"""

from datetime import timedelta

NAMES = {
    "postgres": "PostgreSQL",
    "minio": "The object store",
    "kafka": "Kafka",
    "clickhouse": "ClickHouse",
}
STORE_EFFECTS = {
    "postgres": "No events are taken and nothing is loaded. Events in Kafka are safe.",
    "kafka": "No events are taken. What was taken before is loaded on.",
    "minio": "Events are taken and wait in Kafka. Nothing is loaded.",
    "clickhouse": "Events are taken and wait. Nothing can be queried.",
}
"""What follows for everyone while a store is down."""

FAILED_SHARE = 0.05
"""As the check ``few_rows_are_rejected`` has it."""
FAILED_PER_MINUTE = 10
"""As the alert HighValidationFailures has it, over the last ten minutes."""
SLOW_SECONDS = 1.0
"""As the alert HighLatency has it."""
BACKUP_AGE = {
    "minio": timedelta(hours=26),
    "postgres": timedelta(hours=26),
    "clickhouse": timedelta(days=8),
}
"""Daily ones, and the weekly one, with the time that a drill takes. As the alert BackupMissing has it."""
DAEMON_SILENT = timedelta(minutes=5)
"""As the alert DaemonSilent has it."""
LETTERS_PER_HOUR = 600
"""As the alert DeadLettersGrowing has it."""
MAINTENANCE_LONGEST = timedelta(hours=3)
"""As the alert MaintenanceLeftOn has it."""
