"""A report as one HTML file that needs nothing else: no script, no address, style and drawings inside.

Belongs here: that writing; Jinja2 escapes every value. Does not belong here: Markdown (``markdown.py``), geometry
(``charts.py``), what a report says.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from wotr_pipeline.operations.reports import charts
from wotr_pipeline.operations.reports.report import Ranking, Report, Timeline, Trend
from wotr_pipeline.words import FILTERS

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters.update(FILTERS)
TEMPLATES.tests.update(
    ranking=lambda chart: isinstance(chart, Ranking),
    timeline=lambda chart: isinstance(chart, Timeline),
    trend=lambda chart: isinstance(chart, Trend),
)


def html(report: Report) -> str:
    """The whole file."""
    return TEMPLATES.get_template("report.html").render(report=report, charts=charts)
