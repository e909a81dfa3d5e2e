"""What the platform reports of itself: one module a report, from the stores' own accounts to a ``Report``.

Belongs here: what a report says, and how it is written as Markdown and HTML. Nothing here knows of Dagster.
Does not belong here: assets (``assets/reports.py``), when they run (``automation/report_schedules.py``).
No report holds an event's content. Names that producers choose (sources) are shown, and escaped.
"""
