"""Markdown and HTML of a report whose every value wants to be something else."""

import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from wotr_pipeline.operations.reports.html import html
from wotr_pipeline.operations.reports.markdown import chart_text, code, escaped, markdown
from wotr_pipeline.operations.reports.report import (
    Column,
    Figure,
    Kind,
    Ranking,
    Report,
    Section,
    Table,
    Timeline,
    Trend,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b|c",
    "`` ` ```",
    "[click](javascript:alert(1)) ![x](http://evil.test/x.png) <http://evil.test>",
    "# no\n- heading\n\n```\nfence",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; \u202e\x00\x1b[31m",
    "http://evil.test www.evil.test @all _a_ *b* ~~c~~ \\",
]
DAY = date(2026, 11, 23)


def report(values: list[str]) -> Report:
    table = Table(
        values[0], (Column("name", Kind.NAME), Column("n"), Column("c", Kind.CODE), Column(values[1], Kind.TEXT)),
        [(value, 7, value, value) for value in values],
        note=values[2],
    )  # fmt: skip
    charts = (
        Ranking(values[3], Kind.BYTES, [(value, float(n)) for n, value in enumerate(values)]),
        Timeline(values[4], Kind.COUNT, [(value, 10.0 + n, float(n)) for n, value in enumerate(values)], (values[0], values[1])),
        Trend(values[5], Kind.BYTES, [(DAY, 5.0), (date(2026, 11, 24), 9.0)], [(date(2026, 12, 24), 20.0)]),
    )  # fmt: skip
    return Report(
        "a_report", values[6], DAY, values[7], datetime(2026, 11, 24, tzinfo=UTC), values[8],
        (Figure(values[0], values[1]), Figure("bytes", 1234, Kind.BYTES), Figure("unknown", None)),
        (Section(values[1], (values[2],), charts, (table,)),), "https://docs.test/reports.md#a_report",
    )  # fmt: skip


class Read(HTMLParser):
    """What a browser makes of it: tags, addresses, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_value_becomes_a_tag_or_an_address_in_html() -> None:
    plain, hostile = Read(html(report(["plain"] * 9))), Read(html(report(HOSTILE)))
    assert hostile.tags == plain.tags
    assert "script" not in hostile.tags
    assert {name for name, _ in hostile.attributes} == {name for name, _ in plain.attributes}
    links = {value for name, value in hostile.attributes if name in ("href", "src")}
    assert links == {"data:,", "https://docs.test/reports.md#a_report"}
    for value in HOSTILE:
        assert value.replace("\x00", "") in hostile.text.replace("\x00", "").replace("\ufffd", "")


def test_html_needs_nothing_from_elsewhere_and_fits_light_and_dark() -> None:
    text = html(report(["plain"] * 9))
    assert "default-src 'none'" in text
    assert "color-scheme: light dark" in text
    assert set(re.findall(r"https?://[^\"'<\s]+", text)) == {
        "http://www.w3.org/2000/svg",
        "https://docs.test/reports.md#a_report",
    }


def test_every_drawing_is_well_formed_xml_and_stays_within_its_frame() -> None:
    drawings = re.findall(r"<svg.*?</svg>", html(report(HOSTILE)), re.DOTALL)
    assert len(drawings) == len(HOSTILE) + 2
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.replace("\x00", "").replace("\x1b", ""))
        _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
        for bar in root.iter("{http://www.w3.org/2000/svg}rect"):
            x, y = float(bar.get("x", 0)), float(bar.get("y", 0))
            assert x >= 0
            assert x + float(bar.get("width", 0)) <= width + 0.01
            assert y >= 0
            assert y + float(bar.get("height", 0)) <= height + 0.01
        for curve in root.iter("{http://www.w3.org/2000/svg}polyline"):
            for point in curve.attrib["points"].split():
                x, y = (float(part) for part in point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height


def test_no_value_breaks_a_table_of_markdown() -> None:
    lines = markdown(report(HOSTILE)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == len(HOSTILE) + 2
    for line in table:
        assert len(re.findall(r"(?<!\\)\|", line)) == 5, line


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_becomes_a_mark_in_markdown(value: str) -> None:
    text = escaped(value)
    assert not re.search(r"(?<!\\)[<>\[\]`*|&]", text.replace("\\\\", ""))
    assert "://" not in text
    assert "\n" not in text
    span = code(value)
    fence = re.match("`+", span)
    assert fence is not None
    inner = span[len(fence[0]) : -len(fence[0])]
    assert fence[0] not in re.findall("`+", inner)
    assert "\n" not in span


def test_a_chart_of_text_cannot_be_left() -> None:
    block = chart_text(Ranking("t", Kind.COUNT, [("```", 1), ("a\n```\n<b>", 2)])).splitlines()
    assert block[0] == block[-1] == "````"
    assert len(block) == 4
