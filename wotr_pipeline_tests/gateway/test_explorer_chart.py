"""Which results become a picture, and that everything in it has a place."""

import math
from collections.abc import Sequence

import orjson
import pytest

from wotr_pipeline.gateway.explorer_chart import MOST_BARS, MOST_POINTS, Chart, chart_of
from wotr_pipeline.gateway.explorer_results import KeptResults
from wotr_pipeline.stores.warehouse_reader import Column, Rows


def _chart(types: dict[str, str], rows: Sequence[Sequence[str]]) -> Chart | None:
    columns = tuple(Column(name, kind) for name, kind in types.items())
    lines = tuple(orjson.dumps(list(row)) for row in rows)
    return chart_of(KeptResults().keep("a-key", "SELECT 1", Rows(columns, lines, cut=False), 0.1))


def test_names_become_bars_and_moments_become_lines() -> None:
    bars = _chart({"source": "LowCardinality(String)", "n": "UInt64"}, [("web", "3"), ("ios", "1")])
    assert bars is not None
    assert [bar.tip for bar in bars.series[0].bars] == ["web: 3 n", "ios: 1 n"]
    assert bars.series[0].bars[0].height == pytest.approx(3 * bars.series[0].bars[1].height, rel=0.01)
    lines = _chart(
        {"minute": "DateTime('UTC')", "n": "UInt64", "failed": "Nullable(Float64)"},
        [("2026-11-25 01:02:00", "4", "ᴺᵁᴸᴸ"), ("2026-11-25 01:01:00", "2", "1.5")],
    )
    assert lines is not None
    assert [len(series.points.split()) for series in lines.series] == [2, 1]
    assert [label.text for label in lines.x_labels] == ["01:01", "01:02"]


@pytest.mark.parametrize(
    ("types", "rows"),
    [
        ({"n": "UInt64"}, [("1",), ("2",)]),
        ({"a": "String", "b": "String"}, [("x", "y"), ("x", "y")]),
        ({"a": "String", "n": "UInt64"}, [("only one", "1")]),
        ({"a": "String", "n": "UInt64"}, []),
    ],
)
def test_what_has_nothing_to_draw_is_not_drawn(types: dict[str, str], rows: list[tuple[str, ...]]) -> None:
    assert _chart(types, rows) is None


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "0", "-5", "1e300", "1e-300", "1.7976931348623157e308"]
)
def test_no_number_breaks_the_picture(value: str) -> None:
    for kind in ("String", "Float64", "DateTime"):
        chart = _chart({"a": kind, "n": "Float64"}, [("1", value), ("2", "1"), ("nan", "2")])
        assert chart is not None
        places = [place for series in chart.series for bar in series.bars for place in (bar.y, bar.height)]
        places += [float(part) for series in chart.series for part in series.points.replace(",", " ").split()]
        assert all(math.isfinite(place) for place in places)


def test_a_long_result_is_thinned_out() -> None:
    many = [(f"2026-11-25 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}", str(n)) for n in range(5000)]
    lines = _chart({"t": "DateTime", "n": "UInt64"}, many)
    assert lines is not None
    assert lines.drawn <= MOST_POINTS
    bars = _chart({"t": "String", "n": "UInt64"}, many)
    assert bars is not None
    assert (bars.drawn, bars.rows) == (MOST_BARS, 5000)
