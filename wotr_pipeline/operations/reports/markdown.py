"""A report as Markdown (GitHub's dialect), in which no value can become a mark, a link or a tag.

Belongs here: that writing. Does not belong here: HTML (``html.py``), what a report says.
Rules: https://github.github.com/gfm/ (backslash escapes, code spans, tables)
"""

import re
from collections.abc import Iterator

from wotr_pipeline.operations.reports.charts import text_bars
from wotr_pipeline.operations.reports.report import Chart, Kind, Report, Table, Value
from wotr_pipeline.words import moment

_SPECIAL = re.compile(
    r"[\\`*\[\]<>|&~@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=:)//|(?<=www)\.", re.IGNORECASE
)
"""What would mark up the middle of a line; no line begins with a value of somebody else's."""
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def markdown(report: Report) -> str:
    """The whole report, ending in a newline."""
    return "\n".join(_lines(report)) + "\n"


def chart_text(chart: Chart) -> str:
    """A chart as a block of text that Markdown shows as it is."""
    lines = [_UNSEEN.sub(" ", line) for line in text_bars(chart)]
    fence = "`" * max(3, _longest_run("\n".join(lines)) + 1)
    return "\n".join([fence, *lines, fence])


def escaped(text: str) -> str:
    """``text`` so that it is read as it is, in a table's cell too."""
    return _SPECIAL.sub(r"\\\g<0>", _UNSEEN.sub(" ", text))


def code(text: str) -> str:
    """``text`` as a code span, in a table's cell too."""
    text = _UNSEEN.sub(" ", text).strip()
    if not text:
        return ""
    fence = "`" * (_longest_run(text) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}".replace("|", "\\|")


def _lines(report: Report) -> Iterator[str]:
    yield from (f"# {escaped(report.title)}", "")
    yield from (f"{escaped(report.period)}. Made {moment(report.made_at)} UTC.", "")
    yield from (f"**{escaped(report.headline)}**", "")
    yield from (f"- {escaped(figure.name)}: {escaped(figure.text)}" for figure in report.figures)
    for section in report.sections:
        yield from ("", f"## {escaped(section.title)}")
        for sentence in section.sentences:
            yield from ("", escaped(sentence))
        for chart in section.charts:
            yield from ("", f"{escaped(chart.title)}:", "", chart_text(chart))
        for table in section.tables:
            yield from ("", *_table(table))
    yield from ("", f"What each part means: <{report.page}>")


def _table(table: Table) -> Iterator[str]:
    yield from (f"### {escaped(table.title)}", "")
    if not table.lines:
        yield escaped(table.empty)
        return
    yield _row(escaped(column.title) for column in table.columns)
    yield _row("---:" if column.kind.numeric else "---" for column in table.columns)
    for line in table.lines:
        yield _row(_cell(column.kind, value) for column, value in zip(table.columns, line, strict=True))
    if table.note:
        yield from ("", escaped(table.note))


def _row(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(kind: Kind, value: Value) -> str:
    text = kind.text(value)
    return code(text) if kind in (Kind.NAME, Kind.CODE) and value is not None else escaped(text)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
