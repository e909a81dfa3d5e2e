"""The servers that the tests use, and a place of its own for each test.

Belongs here: the fixtures every room of the tests needs. They start the real servers once a session
(``WOTR_TEST_DATA_DIR=DIR`` uses the ones of DIR instead and leaves them running, which saves the start).
Does not belong here: fixtures of one room; they stand in that room's own conftest.

- ``platform``: the session's Settings, all stores up.
- ``servers``: the handle to kill, stop and start them (``servers.kill("kafka")``).
- ``space``: Settings with names that no other test has: topic (2 partitions), dead-letter topic, group,
  bucket, ledger database with its tables, ClickHouse database with its tables.
- ``ledger_space``: Settings with only a ledger database of their own.
- ``deployment``: the servers with Dagster on top, started by the first test that asks for it.
- ``delivered``: events, good and bad, that went through the deployment.
- ``space_environment``: the same as environment variables, for processes that a test starts.
"""

import contextlib
import gc
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from xdist.scheduler import LoadScopeScheduling

from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.servers.lifecycle import CODE_SERVER, DAGSTER, GATEWAY, STORES, Platform
from wotr_pipeline.servers.supervision import MARK
from wotr_pipeline.stores.ledger import migrate as migrate_ledger
from wotr_pipeline.stores.ledger_database import alembic_config
from wotr_pipeline.stores.s3_clients import small_client
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.deployment import Deployment, delivered, deployment  # noqa: F401  (fixtures)

TEST_DIRECTORIES = "wotr-test-"
OF_THE_DEPLOYMENT = ("wotr_pipeline_tests/browser/", "wotr_pipeline_tests/integration/test_deployment.py")
OF_ONE_PLACE = (
    "wotr_pipeline_tests/gateway/",
    "wotr_pipeline_tests/backups/test_minio.py",
    "wotr_pipeline_tests/backups/test_postgres.py",
    "wotr_pipeline_tests/operations/test_restore_platform.py",
)
"""Modules whose tests share something that takes long to make: a gateway, a place with backups."""
REPORTS = "wotr_pipeline_tests/operations/reports/"
"""These modules share one place with events."""
MEMORY, ROOM = "/dev/shm", 8 * 1024**3
"""Linux' file system in memory, and the room there must be in it for three sets of servers."""
MIGRATED = f"wotr_migrated_{ScriptDirectory.from_config(alembic_config()).get_current_head()}"
"""A database with the ledger's tables; a space's database is a copy of it. Another version's is left alone."""
EMPTY = "template1"
"""What a database without any tables is a copy of."""


def pytest_configure(config: pytest.Config) -> None:
    """Clear away what killed sessions left; once, before there are several processes."""
    if not hasattr(config, "workerinput"):
        _sweep_directories_of_killed_sessions()
        # A broker of the tests ends before the JVM's second compiler would have paid for itself.
        os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take what was imported and collected out of the garbage collector's sight, which would look at it all day."""
    gc.collect()
    gc.freeze()


class SharedOnce(LoadScopeScheduling):
    """Hands tests out one by one, but those that share something dear to one process, and these first.

    The whole deployment takes a minute to start, what a module shares some seconds. Larger groups go out before
    smaller ones, so that at the end there are only single tests left and no process waits for the other.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(OF_THE_DEPLOYMENT):
            return "deployment"
        if nodeid.startswith(REPORTS):
            return REPORTS
        module = nodeid.split("::", 1)[0]
        return module if module.startswith(OF_ONE_PLACE) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedOnce:
    """Who runs which test."""
    return SharedOnce(config, log)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop Dagster's programs after the last test that needs them: their ticks would cost the others time."""
    needs = [other for other in (item, nextitem) if other and other.nodeid.startswith(OF_THE_DEPLOYMENT)]
    used = getattr(item, "funcargs", {}).get("deployment")
    if needs == [item] and isinstance(used, Deployment):
        for name in (*GATEWAY, *DAGSTER):
            used.servers.stop(name)
        for run in used.processes_of_runs():
            run.kill()  # the code server would let it end first
        used.servers.stop(*CODE_SERVER)


@pytest.fixture(scope="session")
def servers() -> Iterator[Platform]:
    """The session's servers; stopped at the end, also after Ctrl-C."""
    given = os.environ.get("WOTR_TEST_DATA_DIR")
    if given:
        platform = Platform(Path(given))
        platform.up(STORES)
        yield platform
        return
    with temporary_data_directory() as path:
        platform = Platform(path)
        platform.up(STORES)
        yield platform


@contextlib.contextmanager
def temporary_data_directory() -> Iterator[Path]:
    """A data directory whose servers are ended and that is removed at the end, whatever happens."""
    path = Path(tempfile.mkdtemp(prefix=f"{TEST_DIRECTORIES}{os.getpid()}-", dir=_place_for_data()))
    try:
        yield path
    finally:
        _throw_away(path)


def _throw_away(path: Path) -> None:
    """Remove a data directory. Its servers are killed: nobody will read what stopping them would write."""
    mark = Platform(path).directory.secrets["supervision_mark"]
    supervisors = [one for one in psutil.process_iter() if str(path / "supervisord.conf") in _command(one)]
    # They would start the others again.
    for process in supervisors:
        process.kill()
    psutil.wait_procs(supervisors, timeout=30)
    servers = [one for one in psutil.process_iter() if _environment(one).get(MARK) == mark]
    for process in servers:
        # PostgreSQL would leave shared memory behind, if it could not end itself.
        ends_itself = _environment(process).get("SUPERVISOR_PROCESS_NAME") == "postgres"
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGQUIT if ends_itself else signal.SIGKILL)
    _, alive = psutil.wait_procs(servers, timeout=30)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=30)
    shutil.rmtree(path)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _place_for_data() -> str:
    """Memory, if there is room: no disk is waited for, and a process that is killed loses nothing there either."""
    with contextlib.suppress(OSError):
        room = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
        if room > ROOM and os.access(MEMORY, os.W_OK):
            return MEMORY
    return tempfile.gettempdir()


def _sweep_directories_of_killed_sessions() -> None:
    for place in {tempfile.gettempdir(), MEMORY}:
        for path in Path(place).glob(f"{TEST_DIRECTORIES}*"):
            owner = int(path.name.removeprefix(TEST_DIRECTORIES).split("-")[0])
            if not psutil.pid_exists(owner) and path.stat().st_uid == os.geteuid():
                _throw_away(path)


def settings_of(platform: Platform, **changed: str) -> Settings:
    """Settings of a data directory, whatever the environment of the test run says."""
    given = {name.lower(): value for name, value in platform.directory.environment().items()} | changed
    return load_settings(**{name: value for name, value in given.items() if name in Settings.model_fields})


@pytest.fixture(scope="session")
def platform(servers: Platform) -> Settings:
    settings = settings_of(servers)
    _create_database(settings, MIGRATED)
    migrate_ledger(settings_of(servers, postgres_db=MIGRATED))
    return settings


@pytest.fixture
def space(platform: Settings, servers: Platform) -> Iterator[Settings]:
    with new_space(servers) as settings:
        yield settings


@contextlib.contextmanager
def new_space(servers: Platform, **changed: str) -> Iterator[Settings]:
    """What ``space`` is, for fixtures that keep it for longer than a test. The ``platform`` must be up."""
    name = f"t{secrets.token_hex(5)}"
    settings = settings_of(
        servers,
        kafka_topic=f"{name}-events",
        kafka_dlq_topic=f"{name}-dlq",
        kafka_group=f"{name}-group",
        minio_bucket=f"{name}-bucket",
        wotr_backup_bucket=f"{name}-backups",
        postgres_db=name,
        clickhouse_db=name,
        **changed,
    )
    topics.create_topic(settings)
    objects = object_client(settings)
    objects.create_bucket(Bucket=settings.minio_bucket)
    _create_database(settings, name, template=MIGRATED)
    warehouse = Warehouse(settings)
    warehouse.migrate()
    try:
        yield settings
    finally:
        # A test may have left a server down: what cannot be removed goes with the data directory.
        with contextlib.suppress(Exception):
            warehouse.client.command("DROP DATABASE IF EXISTS {name:Identifier}", {"name": name})
        with contextlib.suppress(Exception):
            objects.delete_bucket(Bucket=settings.minio_bucket)
        with contextlib.suppress(Exception):
            topics.drop_topic(settings)
        with contextlib.suppress(Exception):
            _administer(settings, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def ledger_space(platform: Settings) -> Iterator[Settings]:
    """Settings with a ledger database of their own, all else shared: ten times quicker than ``space``."""
    with new_ledger_space(platform) as settings:
        yield settings


@contextlib.contextmanager
def new_ledger_space(platform: Settings, template: str = MIGRATED) -> Iterator[Settings]:
    """What ``ledger_space`` is, for fixtures that keep it for longer than a test, or want no tables in it."""
    name = f"t{secrets.token_hex(5)}"
    _create_database(platform, name, template)
    try:
        yield platform.model_copy(update={"postgres_db": name})
    finally:
        with contextlib.suppress(Exception):
            _administer(platform, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def space_environment(space: Settings) -> dict[str, str]:
    return environment_of(space)


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment for a process that shall see these settings and nothing of another copy."""
    values = {}
    for name, value in settings.model_dump(mode="python").items():
        values[name.upper()] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return {**os.environ, **values}


def object_client(settings: Settings) -> Any:
    """A plain S3 client, for tests that look at what the code under test left."""
    secret = settings.minio_secret_key.get_secret_value()
    return small_client(settings.minio_endpoint, settings.minio_access_key, secret, 5, 30)


def _create_database(settings: Settings, name: str, template: str = EMPTY) -> None:
    with contextlib.suppress(psycopg2.errors.DuplicateDatabase):
        _administer(settings, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log')


def _administer(settings: Settings, statement: str) -> None:
    connection = psycopg2.connect(
        host=settings.postgres_host,
        port=settings.postgres_port,
        user=settings.postgres_user,
        password=settings.postgres_password.get_secret_value(),
        dbname="postgres",
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
