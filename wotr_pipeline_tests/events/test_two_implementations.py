"""Holds judge.sql and the precise rules together, over anything a producer may send."""

from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from wotr_pipeline.events.columns import judged_rows
from wotr_pipeline.events.rules import Accepted

from . import messages
from .engine import BATCH, as_bytes, judged_by_rules, judged_by_sql


def made_up(strategy: "st.SearchStrategy[bytes | None]", count: int) -> list[bytes | None]:
    """Examples of a strategy, for one query over all of them; the assertions name the one that fails."""
    values: list[bytes | None] = []

    @settings(
        max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def collect(value: bytes | None) -> None:
        values.append(value)

    collect()
    assert len(values) >= count // 2
    return values


def test_what_sql_accepts_the_rules_accept_with_the_same_columns(tmp_path: Path) -> None:
    values = made_up(messages.ANYTHING, 1200)
    in_sql = judged_by_sql(values, tmp_path)
    judged = judged_by_rules(values)
    by_rules = [as_bytes(row) for row in judged_rows(BATCH, judged).to_pylist()]
    for value, sql_row, message, rules_row in zip(values, in_sql, judged, by_rules, strict=True):
        if sql_row["ok"]:
            assert isinstance(message.verdict, Accepted), (value, message.verdict)
            assert sql_row == rules_row, value
        else:
            assert sql_row["payload"] == (value or b""), value
    accepted = sum(isinstance(message.verdict, Accepted) for message in judged)
    in_both = sum(bool(row["ok"]) for row in in_sql)
    assert 0.1 * len(values) < in_both < accepted < 0.9 * len(values), "the examples have lost their edge"


def test_sql_accepts_what_decent_producers_write(tmp_path: Path) -> None:
    values = made_up(messages.well_formed(), 300)
    rejected = [message for message in judged_by_rules(values) if not isinstance(message.verdict, Accepted)]
    assert not rejected, (rejected[0].value, rejected[0].verdict)
    doubtful = [
        value for value, row in zip(values, judged_by_sql(values, tmp_path), strict=True) if not row["ok"]
    ]
    assert len(doubtful) <= 0.01 * len(values), "\n".join(str(value) for value in doubtful[:5])
