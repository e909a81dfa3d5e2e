"""The HTML files in a real browser: on a phone and on a desk, light and dark, without a word of complaint."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from wotr_pipeline.operations.reports.html import html
from wotr_pipeline.operations.reports.quality_report import CheckStanding, quality_report
from wotr_pipeline.operations.reports.slow_queries import slow_queries
from wotr_pipeline.operations.reports.source_costs import source_costs
from wotr_pipeline.operations.reports.table_statistics import table_statistics
from wotr_pipeline_tests.browser.test_dagster_ui import ARGUMENTS, CHROMIUM
from wotr_pipeline_tests.checks.conftest import LoadedHour
from wotr_pipeline_tests.operations.reports.conftest import MONDAY, SCRIPT
from wotr_pipeline_tests.operations.reports.test_writing import HOSTILE, report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: make browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(reported: LoadedHour, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    settings, warehouse, now = reported.settings, reported.warehouse, datetime.now(UTC)
    warehouse.client.command("SYSTEM FLUSH LOGS")
    checks = [CheckStanding("a_check_with_a_long_name_" * 3, "ingested_data", False, "WARN", now, "")]
    made = [
        slow_queries(settings, warehouse, now.date(), now),
        table_statistics(settings, warehouse, reported.objects, now.date(), now),
        source_costs(settings, warehouse, MONDAY, now),
        quality_report(settings, warehouse, checks, MONDAY, now),
        report([value + "x" * 90 for value in HOSTILE]),
    ]
    place, paths = tmp_path_factory.mktemp("reports"), []
    for one in made:
        paths.append(place / f"{one.name}.html")
        paths[-1].write_text(html(one))
    return paths


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_report_scrolls_sideways_runs_a_script_or_asks_for_anything(
    browser: Browser, pages: list[Path], width: int, dark: bool
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 850}, color_scheme="dark" if dark else "light"
    )
    page, said, asked = context.new_page(), list[str](), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    for path in pages:
        page.goto(path.as_uri())
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    assert said == []
    assert {url for url in asked if not url.startswith(("file:", "data:"))} == set()
    context.close()


def test_a_source_is_read_as_it_was_written(browser: Browser, pages: list[Path]) -> None:
    page = browser.new_page()
    (costs,) = [path for path in pages if path.name == "source_costs.html"]
    page.goto(costs.as_uri())
    expect(page.get_by_role("cell", name=SCRIPT, exact=True)).to_be_visible()
    expect(page.get_by_text("Units of 100")).to_be_visible()
    page.close()
