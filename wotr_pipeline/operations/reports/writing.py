"""Reports in the bucket, below ``reports/``: one Markdown and one HTML file each.

Belongs here: writing them. Their names depend on the report and its period alone: a report that is made again takes
the place of the one before.
Does not belong here: how they look (``markdown.py``, ``html.py``).
"""

from dataclasses import dataclass

from wotr_pipeline.operations.reports.html import html
from wotr_pipeline.operations.reports.markdown import markdown
from wotr_pipeline.operations.reports.report import Report
from wotr_pipeline.stores.object_keys import report_key
from wotr_pipeline.stores.objects import ObjectStore


@dataclass(frozen=True)
class Written:
    """Keys of the two files."""

    markdown: str
    html: str


def write(objects: ObjectStore, report: Report) -> Written:
    """Put both files into the bucket.

    Raises:
        TransientError, PermanentError: the object store is away or refuses.
    """
    files = Written(
        report_key(report.name, report.first_day, "md"), report_key(report.name, report.first_day, "html")
    )
    objects.put(files.markdown, markdown(report).encode(), content_type="text/markdown; charset=utf-8")
    objects.put(files.html, html(report).encode(), content_type="text/html; charset=utf-8")
    return files
