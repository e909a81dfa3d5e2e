"""The explorer in a real browser: wide and narrow, light and dark, with the keyboard, and with script in the data."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from wotr_pipeline.stores.api_keys import Scope

from .conftest import Edge
from .explorer_desk import ROWS, SCRIPT, Desk, fill

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDE, NARROW = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: make browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        expect.set_options(timeout=20_000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def key(edge: Edge) -> str:
    fill(edge.settings)
    desk = Desk(edge)
    other = Desk(edge)
    other.post("/explorer/saved", statement=f"SELECT '{SCRIPT}'", title=f"Of another {SCRIPT}", shared="1")
    return desk.key


@pytest.fixture(scope="module", params=["wide light", "narrow dark"])
def context(
    edge: Edge, browser: Browser, key: str, request: pytest.FixtureRequest
) -> Iterator[BrowserContext]:
    """Someone who is signed in, with a screen of this kind."""
    size, scheme = request.param.split()
    context = browser.new_context(
        viewport=WIDE if size == "wide" else NARROW,  # type: ignore[arg-type]
        color_scheme=scheme,
        base_url=edge.url,
        accept_downloads=True,
    )
    page = context.new_page()
    page.goto("/sign-in?wanted=/explorer/")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("html[data-schema=known]")
    page.close()
    yield context
    context.close()


@pytest.fixture
def page(edge: Edge, context: BrowserContext) -> Iterator[Page]:
    """The editor, ready. At the end: no dialog, no error, no breach of the policy, nothing from elsewhere."""
    page = context.new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: wrong.append(f"error {error}"))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((edge.url, "data:", "blob:")) else wrong.append(asked.url),
    )
    page.on(
        "console",
        lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None,
    )
    page.goto("/explorer/")
    page.wait_for_selector("html[data-schema=known]")
    yield page
    assert wrong == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def _editor(page: Page) -> None:
    page.get_by_role("textbox", name="SQL for ClickHouse").click()
    page.keyboard.press("Control+a")


def _run(page: Page, statement: str) -> None:
    _editor(page)
    page.keyboard.insert_text(statement)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Enter")


def test_the_editor_completes_columns_and_colours_words(page: Page) -> None:
    _editor(page)
    page.keyboard.type("SELECT validation_st")
    option = page.get_by_role("option", name=re.compile("validation_status"))
    expect(option.first).to_be_visible()
    page.wait_for_timeout(100)  # the editor ignores Enter in a list's first moments
    page.keyboard.press("Enter")
    page.keyboard.type(" FROM ingested_da")
    expect(page.get_by_role("option", name=re.compile("ingested_data")).first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".cm-content")).to_contain_text("SELECT validation_status FROM ingested_da")
    expect(page.locator(".cm-content .tok-keyword").first).to_have_text("SELECT")
    colour = page.locator(".tok-keyword").first.evaluate("word => getComputedStyle(word).color")
    assert colour != page.evaluate("getComputedStyle(document.body).color")


def test_control_and_enter_runs_and_pages_turn(page: Page) -> None:
    _run(page, "SELECT id FROM ingested_data ORDER BY id")
    result = page.locator("#result")
    expect(result).to_contain_text(f"{ROWS} rows")
    expect(result).to_contain_text("event-0000")
    page.get_by_role("link", name="Next").click()
    expect(result).to_contain_text("Page 2 of 3")
    expect(result).to_contain_text("event-0100")
    expect(page.locator(".cm-content")).to_contain_text("ORDER BY id")


def test_a_query_of_the_runbook_runs_with_a_click_and_is_drawn(page: Page) -> None:
    page.get_by_role("link", name="Events of the last hour by type").click()
    chart = page.get_by_role("img", name=re.compile("by event_type"))
    expect(chart).to_be_visible()
    expect(chart.locator("rect").first).to_be_visible()
    box = chart.bounding_box()
    assert box is not None
    assert box["height"] > 80
    page.get_by_role("link", name="Events per minute, last hour").click()
    expect(page.locator("#result")).to_contain_text("minute")


def test_an_error_is_told_beside_the_statement(page: Page) -> None:
    _run(page, "SELECT no_such_column FROM ingested_data")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("no_such_column")
    expect(page.locator(".cm-content")).to_contain_text("no_such_column")
    _run(page, "DROP TABLE ingested_data")
    expect(alert).to_contain_text("may only read")


def test_both_files_can_be_had(page: Page) -> None:
    _run(page, "SELECT number FROM numbers(3)")
    expect(page.locator("#result")).to_contain_text("3 rows")
    for name, start in (("CSV", b'"number"\n0\n'), ("Parquet", b"PAR1")):
        with page.expect_download() as got:
            page.get_by_role("button", name=name).click()
        assert got.value.suggested_filename.endswith(name.lower())
        assert Path(got.value.path()).read_bytes().startswith(start)


def test_a_query_is_saved_found_again_shared_and_deleted(page: Page) -> None:
    _editor(page)
    page.keyboard.insert_text("SELECT 'find me'")
    page.keyboard.press("Escape")
    page.get_by_text("Save this query").click()
    page.get_by_label("Title").fill("To be found")
    page.get_by_role("button", name="Save", exact=True).click()
    link = page.locator("#saved").get_by_role("link", name="To be found")
    expect(link).to_be_visible()
    page.goto("/explorer/")
    page.wait_for_selector("html[data-schema=known]")
    link.click()
    expect(page.locator(".cm-content")).to_contain_text("find me")
    page.get_by_label("Share or delete To be found").click()
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.locator("#saved")).to_contain_text("shared")
    page.get_by_label("Share or delete To be found").click()
    page.get_by_role("button", name="Delete").click()
    expect(link).to_have_count(0)


def test_what_ran_is_in_the_history(page: Page) -> None:
    _run(page, "SELECT 'remembered'")
    expect(page.locator("#result")).to_contain_text("1 row")
    page.locator("#history > summary").click()
    expect(page.locator("#history").get_by_role("link").first).to_contain_text("remembered")


def test_a_running_query_can_be_cancelled(page: Page) -> None:
    _run(page, "SELECT count() FROM numbers(1e6) a, numbers(1e6) b WHERE a.number * b.number % 7 = 3")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="Run")).to_be_enabled()


def test_script_from_anywhere_is_text(page: Page) -> None:
    names = '`<img src=x onerror=alert(1)>`, `"><script>alert(2)</script>`'
    columns = ", ".join(f"source AS {name}" for name in names.split(", "))
    _run(
        page,
        f"SELECT {columns}, '{SCRIPT.replace(chr(39), chr(34))}' AS x, length(source) AS n FROM ingested_data",
    )
    expect(page.locator("#result th").nth(1)).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator("#result td", has_text="<script>").first).to_be_visible()
    expect(page.locator("#shared")).to_contain_text(f"Of another {SCRIPT}")
    page.locator("#shared").get_by_role("link").first.click()
    expect(page.locator(".cm-content")).to_contain_text(SCRIPT)
    _run(page, f'SELECT "{SCRIPT}" FROM ingested_data')
    expect(page.get_by_role("alert")).to_contain_text("<script>")
    assert page.locator("#result script, #result img").count() == 0


def test_the_keyboard_gets_in_and_out_of_the_editor(page: Page) -> None:
    _editor(page)
    page.keyboard.press("Tab")
    inside = "document.activeElement.closest('.cm-editor') !== null"
    assert page.evaluate(inside)
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert not page.evaluate(inside)
    expect(page.get_by_role("button", name="Run")).to_be_focused()


def test_without_javascript_it_is_a_form_and_a_table(edge: Edge, browser: Browser, key: str) -> None:
    context = browser.new_context(viewport=NARROW, java_script_enabled=False, base_url=edge.url)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/sign-in?wanted=/explorer/?runbook=row_count")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    box = page.get_by_label("SQL for ClickHouse")
    expect(box).to_have_value(re.compile("FROM ingested_data"))
    box.fill("SELECT id FROM ingested_data ORDER BY id")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result")).to_contain_text(f"{ROWS} rows")
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#result")).to_contain_text("Page 2 of 3")
    context.close()


def test_only_those_who_may_read_get_there(edge: Edge, browser: Browser) -> None:
    page = browser.new_page(base_url=edge.url)
    page.goto("/explorer/")
    expect(page).to_have_url(re.compile("/sign-in"))
    page.get_by_label("API key").fill(edge.key(Scope.INGEST))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("scope read")
    page.close()
