"""The table of docs/performance.md: written between two markers, the text around it stays.

Belongs here: how results are shown. Does not belong here: measuring.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wotr_pipeline.config import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"


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


def write_page(machine: str, lines: Sequence[Line]) -> None:
    """Put the table into docs/performance.md. Raises ValueError if its markers are missing."""
    before, found, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"{PAGE} has lost its markers: {BEGIN} … {END}")
    PAGE.write_text(f"{before}{BEGIN}\n{machine}\n\n{table(lines)}\n{END}{after}", encoding="utf-8")
