"""The guard against formulas in CSV files, byte by byte."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wotr_pipeline.gateway.explorer_exports import FormulaGuard

SIGNS = "=+-@\t\r"
TEXT = st.text(alphabet="=+-@\t\r,\"\n'ab", max_size=6)


def _as_engine_writes(rows: list[list[str]]) -> bytes:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def _guarded(text: bytes, cuts: list[int]) -> str:
    guard, at, out = FormulaGuard(), 0, b""
    for cut in sorted(cut % (len(text) + 1) for cut in cuts):
        out += guard.pass_on(text[at:cut])
        at = cut
    return (out + guard.pass_on(text[at:]) + guard.pass_on(b"", last=True)).decode()


@given(
    st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=4),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_every_text_that_a_spreadsheet_would_run_gets_an_apostrophe_and_nothing_else_changes(
    rows: list[list[str]], cuts: list[int]
) -> None:
    wanted = [[f"'{cell}" if cell[:1] and cell[0] in SIGNS else cell for cell in row] for row in rows]
    found = _guarded(_as_engine_writes(rows), cuts)
    assert list(csv.reader(io.StringIO(found, newline=""), lineterminator="\n")) == wanted


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_numbers_keep_their_sign(size: int) -> None:
    text = b'"n","t"\n-5,"=1"\n-0.1,"b"\n'
    guard = FormulaGuard()
    out = b"".join(guard.pass_on(text[at : at + size]) for at in range(0, len(text), size))
    assert out + guard.pass_on(b"", last=True) == b'"n","t"\n-5,"\'=1"\n-0.1,"b"\n'


def test_nothing_stays_nothing() -> None:
    guard = FormulaGuard()
    assert guard.pass_on(b"") + guard.pass_on(b"", last=True) == b""
