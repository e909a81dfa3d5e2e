"""The tables of docs/performance.md: each part's is written between two markers, the text around it stays.

Belongs here: how results are shown. Does not belong here: measuring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wotr_pipeline.config import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- {part}, written by make bench: begin -->", "<!-- {part}, written by make bench: end -->"


@dataclass(frozen=True)
class Line:
    """One measured number. ``wanted`` is the promise, in words; ``kept`` None where there is none."""

    what: str
    measured: str
    wanted: str = ""
    kept: bool | None = None


def table(lines: Sequence[Line]) -> str:
    """The lines as a Markdown table."""
    rows = [("", "measured", "promised", "")]
    verdicts = {True: "kept", False: "**not kept**", None: ""}
    rows += [(line.what, line.measured, line.wanted, verdicts[line.kept]) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([text[0], rule, *text[1:]])


def write_page(machine: str, measured: Mapping[str, Sequence[Line]]) -> None:
    """Put the tables of the parts that were measured into docs/performance.md; the others stay as they are.

    Raises:
        ValueError: the markers of a part are missing.
    """
    page = PAGE.read_text(encoding="utf-8")
    for part, lines in measured.items():
        begin, end = BEGIN.format(part=part), END.format(part=part)
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{PAGE} has lost its markers: {begin} … {end}")
        page = f"{before}{begin}\n{table(lines)}\n\n{machine}\n{end}{after}"
    PAGE.write_text(page, encoding="utf-8")
