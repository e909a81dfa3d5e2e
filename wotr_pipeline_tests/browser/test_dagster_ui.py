"""What an operator sees in the Dagster UI, in a real browser at 1440 px."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from wotr_pipeline_tests.deployment import Delivered, Deployment

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def page(deployment: Deployment, delivered: Delivered) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: make browser")
    deployment.wait_for_run(delivered.began)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000}, base_url=deployment.ui)
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        browser.close()


def test_the_lineage_runs_from_raw_objects_to_the_aggregates(page: Page) -> None:
    page.goto("/locations/wotr_pipeline/asset-groups/ingestion")
    for asset in ("raw_objects", "validated_batches", "dead_letters", "ingested_data"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()


def test_an_assets_page_says_what_it_is_and_how_many_rows_it_has(page: Page) -> None:
    page.goto("/assets/ingested_data")
    expect(page.get_by_text("A plain count() is exact").first).to_be_visible()
    expect(page.get_by_text("Row count").first).to_be_visible()
    expect(page.get_by_text("kafka_offset").first).to_be_visible()


def test_a_check_says_what_it_looked_at_and_what_to_do(page: Page) -> None:
    page.goto("/assets/dead_letters?view=checks")
    expect(page.get_by_text("every_rejection_says_why").first).to_be_visible()
    expect(page.get_by_text("what to do").first).to_be_visible()


def test_the_page_of_open_dead_letters_says_how_many_there_are_and_what_to_do(page: Page) -> None:
    page.goto("/assets/open_dead_letters")
    expect(page.get_by_text("What was rejected and is still open").first).to_be_visible()
    expect(page.get_by_text("QUARANTINED", exact=True).first).to_be_visible()
    page.goto("/assets/open_dead_letters?view=checks")
    expect(page.get_by_text("no_stuck_retry").first).to_be_visible()


def test_the_runs_page_lists_the_runs_that_the_sensor_asked_for(page: Page) -> None:
    page.goto("/runs")
    expect(page.get_by_text("ingest_hour").first).to_be_visible()
    expect(page.get_by_text("kafka_offsets").first).to_be_visible()


def test_the_sensors_page_shows_its_ticks(page: Page) -> None:
    page.goto("/locations/wotr_pipeline/sensors/kafka_offsets")
    expect(page.get_by_text("Plans batches from Kafka's offsets").first).to_be_visible()
