"""What docs/runbook tells people to type is run here, as it is written, on a small platform with a few events.

Belongs here: that the pages' commands work, and that the table of procedures tells the truth.
Does not belong here: that links lead somewhere (``observability/test_configuration.py``), what the commands do.
"""

import ast
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import dagster as dg
import psycopg2
import pytest

from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.warehouse import Warehouse

from . import topics
from .conftest import environment_of
from .gateway.conftest import running
from .operations.dead_letters.scenario import Desk, carry, send
from .produced import BAD, event
from .runbook_pages import (
    KINDS,
    RUNBOOK,
    TESTS,
    Block,
    blocks,
    commands,
    commands_in_prose,
    pages,
    procedures,
    tokens,
    unknown,
)

PENDING = frozenset[str]()
"""Beginnings of commands that the pages name and that are still being made. It shall be empty."""
PARTS = ("When", "What you see", "What to do", "How you know that it worked")
ALONE = ("wotr ", "make ", "curl ", "df ", "free ", "tail ", "jq ")
"""Lines that need nothing of the lines before them: each is run once, however many pages have it."""
AT_ONCE = 3
SECONDS = 120


@dataclass(frozen=True)
class Place:
    """A platform with some events, good and bad, and a gateway."""

    settings: Settings
    environment: dict[str, str]

    def run(self, text: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=PROJECT_ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )


@pytest.fixture(scope="module")
def place(platform: Settings, servers: Platform) -> Iterator[Place]:
    logs = servers.directory.logs
    (logs / "daemon.log").touch()
    with running(servers, logs) as edge:
        settings = edge.settings
        topics.create_topic(
            settings.model_copy(update={"kafka_topic": settings.kafka_dlq_topic}), partitions=1
        )
        send(settings, [*(event(f"event-{number}") for number in range(8)), *BAD])
        carry(settings)
        with DeadLetterRegister(settings) as register:
            Desk(settings, register).triage()
        environment = environment_of(settings) | {
            "WOTR_DATA_DIR": str(servers.directory.path),
            "PATH": f"{PROJECT_ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        }
        yield Place(settings, environment)


@cache
def _definitions() -> dg.RepositoryDefinition:
    from wotr_pipeline.definitions import defs

    return defs.get_repository_def()


def _unknown(command: str) -> str:
    repository = _definitions()
    jobs = frozenset(job.name for job in repository.get_all_jobs())
    assets = frozenset(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys())
    return unknown(command, jobs, assets)


def _pending(command: str) -> bool:
    return any(command.startswith(begin) for begin in PENDING)


def _all_blocks(*kinds: str) -> list[Block]:
    return [block for page in pages() for block in blocks(page) if block.kind in kinds]


def test_every_block_says_what_it_is() -> None:
    jobs = {f"yaml {job.name}" for job in _definitions().get_all_jobs()}
    strange = [block.place for page in pages() for block in blocks(page) if block.kind not in {*KINDS, *jobs}]
    assert strange == []


def test_every_command_and_option_of_a_page_exists() -> None:
    written = [(page.name, command) for page in pages() for command in commands_in_prose(page)]
    for block in _all_blocks("sh run", "sh changing", "sh parsed", "sh compose"):
        written += [(block.place, command) for command in commands(block)]
    missing = [(where, _unknown(command)) for where, command in written if not _pending(command)]
    assert [one for one in missing if one[1]] == []


def test_what_is_pending_is_not_there_yet() -> None:
    assert [begin for begin in PENDING if not _unknown(begin)] == []


@pytest.mark.parametrize("block", _all_blocks("sh compose", "sh parsed"), ids=lambda block: block.place)
def test_the_shell_accepts_what_is_not_run(block: Block) -> None:
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, f"{block.place}\n{done.stderr}"


def test_every_launchpad_of_a_page_is_taken() -> None:
    for job in _definitions().get_all_jobs():
        for block in _all_blocks(f"yaml {job.name}"):
            assert dg.validate_run_config(job, dg.RunConfig(**_config(block))), block.place


def _config(block: Block) -> dict[str, object]:
    import yaml

    given: dict[str, object] = yaml.safe_load(block.text)
    return {name: {key: value["config"] for key, value in part.items()} for name, part in given.items()}  # type: ignore[attr-defined]


def test_every_command_of_the_runbook_runs_as_it_is_written(place: Place) -> None:
    """First all that only looks, each line once; then what changes something, page by page."""
    looking: dict[str, Block] = {}
    for block in _all_blocks("sh run"):
        lines = list(commands(block))
        alone = all(line.startswith(ALONE) for line in lines)
        for text in lines if alone else [block.text]:
            looking.setdefault(text.partition("  #")[0].rstrip() if alone else text, block)
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        wanted = [(text, block) for text, block in looking.items() if not _pending(text)]
        for said in threads.map(lambda one: _failure(place, *one), wanted):
            failed += said
    for block in _all_blocks("sh changing"):
        failed += [] if any(map(_pending, commands(block))) else _failure(place, block.text, block)
    assert not failed, "\n\n".join(failed)


def _failure(place: Place, text: str, block: Block) -> list[str]:
    done = place.run(text)
    if done.returncode in block.codes:
        return []
    return [f"{block.place}: exit code {done.returncode}\n{text}\n{done.stdout[-2000:]}"]


def test_every_query_of_the_runbook_runs_as_it_is_written(place: Place) -> None:
    warehouse = Warehouse(place.settings)
    for block in _all_blocks("sql clickhouse"):
        try:
            warehouse.client.query(block.text)
        except Exception as error:
            raise AssertionError(f"{block.place}\n{error}") from error
    connection = psycopg2.connect(
        host=place.settings.postgres_host,
        port=place.settings.postgres_port,
        user=place.settings.postgres_user,
        password=place.settings.postgres_password.get_secret_value(),
        dbname=place.settings.postgres_db,
    )
    try:
        connection.autocommit = True  # VACUUM runs in no transaction
        for block in _all_blocks("sql postgres"):
            for statement in filter(str.strip, block.text.split(";")):
                try:
                    with connection.cursor() as cursor:
                        cursor.execute(statement)
                except psycopg2.Error as error:
                    raise AssertionError(f"{block.place}\n{error}") from error
    finally:
        connection.close()


def test_the_table_has_the_thirty_procedures_each_with_page_command_and_test() -> None:
    table = list(procedures())
    assert [one.number for one in table] == list(range(1, 31))
    assert [one.number for one in table if not (one.links and one.commands and one.tests)] == []


def test_what_the_table_names_exists() -> None:
    missing = []
    for procedure in procedures():
        missing += [_unknown(command) for command in procedure.commands if not _pending(command)]
        missing += [test for test in procedure.tests if not _test_exists(test)]
    assert [name for name in missing if name] == []


def _test_exists(named: str) -> bool:
    if _pending(named):
        return True
    path, _, function = named.partition("::")
    file = TESTS / path
    if not file.is_file():
        return False
    functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))
    return not function or function in {node.name for node in functions}


def test_every_page_stands_in_the_table() -> None:
    named = {link.partition("#")[0] for procedure in procedures() for link in procedure.links}
    assert {page.name for page in pages()} - named - {"README.md"} == set()


@pytest.mark.parametrize(
    "page", [page for page in pages() if page.name != "README.md"], ids=lambda page: page.stem
)
def test_a_page_says_when_what_you_see_what_to_do_and_how_you_know_that_it_worked(page: object) -> None:
    from pathlib import Path

    assert isinstance(page, Path)
    bold = [
        tree.children[number + 1].content
        for tree in tokens(page)
        if tree.children
        for number, child in enumerate(tree.children[:-1])
        if child.type == "strong_open"
    ]
    headings = [
        tokens(page)[n + 1].content for n, token in enumerate(tokens(page)) if token.type == "heading_open"
    ]
    said = {*(text.rstrip(":") for text in bold), *headings}
    assert [part for part in PARTS if part not in said] == []
    assert list(blocks(page)), "a page without a command"


def test_the_runbook_is_where_the_settings_say() -> None:
    assert RUNBOOK.is_dir()
    assert Settings.model_fields["wotr_runbook_url"].default.endswith("/docs")
