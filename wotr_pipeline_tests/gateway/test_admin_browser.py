"""The admin pages in a real browser, on a phone and on a desk, light and dark."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.browser.test_dagster_ui import ARGUMENTS, CHROMIUM
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, epoch_event, send
from wotr_pipeline_tests.produced import BAD, event
from wotr_pipeline_tests.topics import wait_until

from .conftest import Edge, running
from .test_admin import NOW

pytestmark = pytest.mark.browser

LONG = "a-source-with-a-name-that-has-no-place-to-break-" + "x" * 52
PATHS = (
    "/admin/",
    "/admin/dead-letters/",
    "/admin/dead-letters/retry?reason=wrong_type",
    "/admin/maintenance/",
    "/admin/keys/",
)


def fill(edge: Edge) -> None:
    settings = edge.settings
    topics.create_topic(settings.model_copy(update={"kafka_topic": settings.kafka_dlq_topic}), partitions=1)
    send(settings, [event(f"good-{number}", NOW, source=LONG) for number in range(20)])
    send(settings, [*(epoch_event(f"epoch-{number}", source=LONG) for number in range(5)), *BAD])
    carry(settings)
    with DeadLetterRegister(settings) as register:
        Desk(settings, register).triage()
    edge.keys.create(LONG, [Scope.INGEST], "pytest")


@pytest.fixture(scope="module")
def edge(platform: Settings, servers: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    if CHROMIUM is None or shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: make browser")
    with running(servers, tmp_path_factory.mktemp("gateway"), fill) as edge:
        client = edge.client(Scope.READ)
        # The pages show each part once its store has answered.
        wait_until(lambda: all(text in client.get("/admin/").text for text in (LONG, "Events by hour (UTC)")))
        yield edge


@pytest.fixture(scope="module")
def browser(edge: Edge) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def signed_in(
    browser: Browser, edge: Edge, width: int, *, dark: bool = False, scripts: bool = True
) -> tuple[Page, list[str]]:
    """A page of someone with every scope, and what its console says."""
    context = browser.new_context(
        viewport={"width": width, "height": 850},
        base_url=edge.url,
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto("/sign-in")
    page.get_by_label("API key").fill(edge.key(Scope.ADMIN))
    page.get_by_role("button", name="Sign in").click()
    said.clear()  # Chromium has advice on password forms
    return page, said


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_scrolls_sideways_or_breaks_the_content_policy(
    browser: Browser, edge: Edge, width: int, dark: bool
) -> None:
    page, said = signed_in(browser, edge, width, dark=dark)
    page.goto("/admin/dead-letters/?reason=wrong_type")
    letter = page.get_by_role("rowheader").get_by_role("link").first.get_attribute("href")
    assert letter is not None
    for path in (*PATHS, letter):
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert said == []
    page.context.close()


def test_text_has_enough_contrast_in_light_and_dark(browser: Browser, edge: Edge) -> None:
    # The colours of text on the ground and on panels, by WCAG's formula: 4.5 is level AA.
    measure = """() => {
      const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
        .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
      const probe = document.createElement('p'); document.body.append(probe);
      const colour = name => { probe.style.color = `var(--${name})`; return lum(getComputedStyle(probe).color); };
      const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const found = {};
      for (const ground of ['ground', 'panel'])
        for (const text of ['text', 'quiet', 'accent', 'good', 'warn', 'bad'])
          found[`${text} on ${ground}`] = ratio(colour(text), colour(ground));
      found['button'] = ratio(colour('on-accent'), colour('accent'));
      return found; }"""
    for dark in (False, True):
        page, _ = signed_in(browser, edge, 1440, dark=dark)
        page.goto("/admin/")
        assert {pair: ratio for pair, ratio in page.evaluate(measure).items() if ratio < 4.5} == {}
        page.context.close()


def test_the_keyboard_alone_reaches_retry_and_asks_for_it(browser: Browser, edge: Edge) -> None:
    page, _ = signed_in(browser, edge, 390)
    page.goto("/admin/")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    retry = page.get_by_role("link", name="Retry wrong_type timestamp")
    for _ in range(120):
        page.keyboard.press("Tab")
        if retry.evaluate("element => element === document.activeElement"):
            break
    else:
        raise AssertionError("Tab never comes to Retry")
    assert retry.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Retry dead letters")).to_be_visible()
    page.context.close()


def test_everything_can_be_read_and_maintenance_turned_without_a_script(browser: Browser, edge: Edge) -> None:
    page, _ = signed_in(browser, edge, 390, scripts=False)
    page.goto("/admin/")
    page.get_by_text("As a table").first.click()
    expect(page.get_by_role("table", name="Events by minute (UTC)")).to_be_visible()
    page.goto("/admin/maintenance/")
    page.get_by_label("Why").fill("new disks")
    page.get_by_role("button", name="Begin maintenance").click()
    expect(page.get_by_role("heading", name="Maintenance is on")).to_be_visible()
    page.get_by_label("Why").fill("done")
    page.get_by_role("button", name="End maintenance").click()
    expect(page.get_by_role("heading", name="Maintenance is off")).to_be_visible()
    page.context.close()


def test_a_screen_reader_meets_landmarks_and_named_tables(browser: Browser, edge: Edge) -> None:
    page, _ = signed_in(browser, edge, 1440)
    page.goto("/admin/")
    for name in ("Pages", "Admin"):
        expect(page.get_by_role("navigation", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("main")).to_be_visible()
    expect(page.get_by_role("img", name="Events by minute")).to_be_visible()
    for table in ("Events by type", "Open ones by reason"):
        expect(page.get_by_role("table", name=table)).to_be_visible()
    for region in ("Services", "Events", "Dead letters", "Backups"):
        expect(page.get_by_role("region", name=region, exact=True).first).to_be_visible()
    page.context.close()
