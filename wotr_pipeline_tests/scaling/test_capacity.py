"""docs/scaling.md: its figures are those of the command, and its formulas say what is computed."""

import re

import pytest

from benchmarks.capacity import FOOTPRINT, HEADROOM, PAGE, PEAK, page, quantities, rates
from wotr_pipeline.config import PROJECT_ROOT, Settings

TEXT = PAGE.read_text()
LINES = {line.what: line for line in quantities(rates(), FOOTPRINT, Settings.model_construct())}


def test_the_page_holds_what_the_command_computes() -> None:
    assert page(TEXT) == TEXT, "run: python -m benchmarks.capacity"


def test_the_rates_are_those_of_the_performance_page() -> None:
    performance = (PROJECT_ROOT / "docs" / "performance.md").read_text()
    found = rates()
    assert f"{found.lane_events_per_second:,.0f}" in performance
    assert f"{found.cpu_seconds_per_event * 1e6:.1f} µs/event" in performance
    assert f"→ {found.run_bytes / 2**20:,.0f} MiB" in performance


@pytest.mark.parametrize("rate", [10.0, 1_000.0, 30_000.0, 1_000_000.0])
def test_lanes_carry_the_peak_with_the_headroom_that_is_promised_and_one_less_would_not(rate: float) -> None:
    lanes = LINES["lanes"].value(rate)
    usable = rates().lane_events_per_second * HEADROOM
    assert (lanes - 1) * usable < rate * PEAK <= lanes * usable


@pytest.mark.parametrize("rate", [1.0, 1_000.0, 2_000_000.0])
def test_no_batch_is_larger_than_the_setting_allows_and_all_events_are_in_batches(rate: float) -> None:
    settings = Settings.model_construct()
    size = LINES["events a batch"].value(rate)
    assert 0 < size <= settings.wotr_batch_events
    an_hour = LINES["batches an hour, at most"].value(rate)
    assert size * an_hour == pytest.approx(rate * 3600)
    assert LINES["ledger rows a day"].value(rate) == pytest.approx(an_hour * 24)


def test_storage_grows_with_the_events_and_with_the_days_they_are_kept() -> None:
    settings = Settings.model_construct(wotr_keep_rows_days=365)
    half = {line.what: line for line in quantities(rates(), FOOTPRINT, settings)}
    rows = LINES["rows, 730 days, each replica"].value
    assert rows(10_000) == pytest.approx(10 * rows(1_000))
    assert half["rows, 365 days, each replica"].value(1_000) == pytest.approx(rows(1_000) / 2)


def test_every_file_and_page_that_the_page_names_exists() -> None:
    for name in re.findall(r"`((?:deploy|wotr_pipeline)/[^`\s]+|docker-compose[^`\s]*)`", TEXT):
        assert (PROJECT_ROOT / name).exists(), name
    for name in re.findall(r"\]\(([a-z/-]+\.md)\)", TEXT):
        assert (PROJECT_ROOT / "docs" / name).exists(), name
