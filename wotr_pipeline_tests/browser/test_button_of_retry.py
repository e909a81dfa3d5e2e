"""The Retry button of the admin page: from the button through a Dagster run, Kafka and the table to RESOLVED."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from wotr_pipeline.events.repair import Transformation
from wotr_pipeline.operations.dead_letters.repairing import Repairs
from wotr_pipeline.servers.data_directory import free_port
from wotr_pipeline.stores.api_keys import Scope
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline_tests.browser.test_dagster_ui import ARGUMENTS, CHROMIUM
from wotr_pipeline_tests.deployment import Delivered, Deployment
from wotr_pipeline_tests.gateway.conftest import Edge
from wotr_pipeline_tests.operations.dead_letters.scenario import copies
from wotr_pipeline_tests.topics import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def edge(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    port = free_port()
    address = {"wotr_gateway_port": port, "wotr_gateway_url": f"http://127.0.0.1:{port}"}
    settings = deployment.settings.model_copy(update=address | {"wotr_dagster_url": deployment.ui})
    edge = Edge(settings, tmp_path_factory.mktemp("gateway") / "gateway.log")
    edge.start()
    yield edge
    edge.stop()
    edge.close()


@pytest.fixture
def page(edge: Edge) -> Iterator[Page]:
    if CHROMIUM is None or shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: make browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 390, "height": 800}, base_url=edge.url)
        page.set_default_timeout(60_000)
        page.goto("/sign-in")
        page.get_by_label("API key").fill(edge.key(Scope.OPERATE))
        page.get_by_role("button", name="Sign in").click()
        yield page
        browser.close()


def test_a_letter_that_is_retried_by_the_button_goes_through_dagster_into_the_table(
    deployment: Deployment, delivered: Delivered, page: Page
) -> None:
    mine = LetterFilter(sources=(delivered.repairable,))
    with DeadLetterRegister(deployment.settings) as register:
        assert register.count(mine) == 1
        repairs = Repairs(register, ObjectStore(deployment.settings), "ann")
        assert repairs.run(mine, Transformation("timestamp_from_epoch"), "epochs", apply=True).kept == 1
        page.goto(f"/admin/dead-letters/?source={delivered.repairable}")
        page.get_by_role("rowheader").get_by_role("link").click()
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_text("Would pass today")).to_be_visible()
        page.get_by_label("Why").fill("the sender is mended")
        page.get_by_role("button", name="Retry 1 letter").click()
        expect(page.get_by_role("link", name="See it in Dagster")).to_have_attribute(
            "href", f"{deployment.ui}/runs/{page.url.rsplit('/', 1)[1]}"
        )
        wait_until(lambda: register.by_state(mine)[LetterState.RESOLVED] == 1, 240)
        (letter,) = register.find(mine, 2)
        told = [change.why for change in register.history(letter)]
        assert "the sender is mended" in told
    assert copies(deployment.settings)[delivered.repairable] == 1
    run = deployment.instance.get_run_by_id(page.url.rsplit("/", 1)[1])
    assert run is not None
    assert run.job_name == "retry_dead_letters"
