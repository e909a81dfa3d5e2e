"""What docs/runbook tells people to type is run here, as it is written, on a small platform with a few events.

Belongs here: that the pages' commands work, and that the table of procedures tells the truth.
Does not belong here: that links lead somewhere (``observability/test_configuration.py``), what the commands do.
"""

import ast
import os
import secrets
import shlex
import shutil
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
import yaml
from click.testing import CliRunner

from wotr_pipeline.backups.repository import backup_store
from wotr_pipeline.cli import main
from wotr_pipeline.config import PROJECT_ROOT, Settings, load_settings
from wotr_pipeline.definitions import build_definitions
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.engine_backups import EngineBackups
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.postgres_server import PostgresServer
from wotr_pipeline.stores.warehouse import Warehouse

from . import topics
from .conftest import environment_of
from .gateway.conftest import running
from .operations.dead_letters.scenario import Desk, carry, send
from .produced import BAD, event
from .runbook_pages import (
    KINDS,
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
WITHOUT_ID = (
    b'{"timestamp": "2026-11-23T08:00:00Z", "payload": {"event_type": "api_call", "source": "s", "data": {}}}'
)
"""What the page on dead letters repairs."""
SECONDS = 120


@dataclass(frozen=True)
class Place:
    """A platform with some events, good and bad, and a gateway."""

    settings: Settings
    environment: dict[str, str]

    def run(self, text: str) -> tuple[int, str]:
        """Exit code and what was said."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=PROJECT_ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout

    def run_wotr(self, line: str) -> tuple[int, str]:
        """The same for one line that begins with ``wotr``, without a shell and in this process."""
        done = CliRunner(env=dict(self.environment)).invoke(main, shlex.split(line, comments=True)[1:])
        if done.exception and not isinstance(done.exception, SystemExit):
            return 70, done.output + "".join(traceback.format_exception(done.exception))
        return done.exit_code, done.output


@pytest.fixture(scope="module")
def place(platform: Settings, servers: Platform) -> Iterator[Place]:
    logs = servers.directory.logs
    (logs / "daemon.log").touch()
    home = servers.directory.path / "dagster"  # `wotr up` makes it when it starts Dagster
    home.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", home / "dagster.yaml")
    dagster = f"t{secrets.token_hex(5)}_dagster"  # a restore in place replaces it, so it is nobody else's
    PostgresServer(platform).create(dagster)
    with running(servers, logs, dagster_postgres_db=dagster) as edge:
        settings = edge.settings
        topics.create_topic(
            settings.model_copy(update={"kafka_topic": settings.kafka_dlq_topic}), partitions=1
        )
        send(settings, [*(event(f"event-{number}") for number in range(8)), *BAD, WITHOUT_ID])
        carry(settings)
        with DeadLetterRegister(settings) as register:
            Desk(settings, register).triage()
        environment = environment_of(settings) | {
            "WOTR_DATA_DIR": str(servers.directory.path),
            "PATH": f"{PROJECT_ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        }
        try:
            yield Place(settings, environment)
        finally:
            _discard_restored(settings)


def _discard_restored(settings: Settings) -> None:
    """The scratch places that ``wotr restore run`` names by itself, which nobody else here does, and what was replaced."""
    prefix = "wotr-restored-"
    replaced = f"{settings.postgres_db}_before_"
    objects, server = ObjectStore(settings), PostgresServer(settings)
    for name in objects.bucket_names():
        if name.startswith(prefix):
            objects.in_bucket(name).remove_bucket()
    backup_store(settings).remove_bucket()
    for name in server.databases():
        if name.startswith((prefix, replaced, settings.dagster_postgres_db)):
            server.drop(name)
    with closing(EngineBackups(settings)) as engine:
        for name in [*engine.databases(prefix), *engine.databases(f"{settings.clickhouse_db}_before_")]:
            engine.drop(name)


@cache
def _definitions() -> dg.RepositoryDefinition:
    return build_definitions(load_settings()).get_repository_def()


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
            assert dg.validate_run_config(job, yaml.safe_load(block.text)), block.place


def test_every_command_of_the_runbook_runs_as_it_is_written(place: Place) -> None:
    """First all that only looks, each line once; then what changes something, page by page."""
    seen: set[str] = set()
    failed = []
    for block in [*_all_blocks("sh run"), *_all_blocks("sh changing")]:
        for text in _statements(block):
            if _pending(text) or (block.kind == "sh run" and text in seen):
                continue
            seen.add(text)
            code, said = place.run_wotr(text) if _goes_without_a_shell(text) else place.run(text)
            if code not in block.codes:
                failed.append(f"{block.place}: exit code {code}\n{text}\n{said[-2000:]}")
    assert not failed, "\n\n".join(failed)


def _statements(block: Block) -> list[str]:
    lines = list(commands(block))
    if not all(line.startswith(ALONE) for line in lines):
        return [block.text]
    return [line.partition("  #")[0].rstrip() for line in lines]


def _goes_without_a_shell(text: str) -> bool:
    # A hundred starts of Python would take minutes.
    return text.startswith("wotr ") and "\n" not in text and not set(text) & set("|&;<>$`*")


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
def test_a_page_says_when_what_you_see_what_to_do_and_how_you_know_that_it_worked(page: Path) -> None:
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
