"""The backup of PostgreSQL: one moment of each database, restored and compared row by row."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pyrage
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from wotr_pipeline.backups.differences import differences
from wotr_pipeline.backups.drill import drill_backup
from wotr_pipeline.backups.manifest import Store
from wotr_pipeline.backups.postgres import PostgresTarget
from wotr_pipeline.backups.repository import Repository
from wotr_pipeline.backups.taking import Taken, drill_newest, lease_name, take_backup
from wotr_pipeline.backups.target import Selection, scratch_prefix
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline.servers.postgres import SUPERUSER
from wotr_pipeline.stores import postgres_tools
from wotr_pipeline.stores.errors import PermanentError, TransientError
from wotr_pipeline.stores.leases import LeaseTakenError, lease
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline.stores.postgres_server import PostgresServer
from wotr_pipeline.stores.postgres_tools import PostgresTools
from wotr_pipeline_tests.backups.conftest import LOG, encrypting, flip_a_byte, to_back_up
from wotr_pipeline_tests.forked import FORKING, Forked
from wotr_pipeline_tests.killed import killed_once
from wotr_pipeline_tests.topics import wait_until

ODD = """
CREATE TYPE mood AS ENUM ('calm', 'wild');
CREATE SCHEMA "Odd names";
CREATE TABLE "Odd names"."a table" (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bytes bytea, ranges int8multirange, document jsonb,
    words text[], at timestamptz DEFAULT now(), mood mood, number double precision, doubled bigint GENERATED ALWAYS AS
    (id * 2) STORED, "100%\\:odd" numeric DEFAULT 1.00);
INSERT INTO "Odd names"."a table" (bytes, ranges, document, words, mood, number)
SELECT decode(md5(n::text), 'hex'), int8multirange(int8range(n, n + 5)), jsonb_build_object('ü', n, 'null', null),
    ARRAY['a', NULL, E'line\\nbreak'], 'wild', CASE n % 3 WHEN 0 THEN 'NaN' WHEN 1 THEN 0.1 END
FROM generate_series(1, 500) AS n;
CREATE TABLE empty (nothing text);
CREATE TABLE moods (mood mood PRIMARY KEY, at timestamptz DEFAULT now());
INSERT INTO moods VALUES ('calm'), ('wild');
CREATE TABLE unhashed (n integer, document json);
INSERT INTO unhashed SELECT n, json_build_object('n', n) FROM generate_series(1, 10) AS n;
"""


@contextmanager
def opened(settings: Settings, database: str = "") -> Iterator[sa.Connection]:
    engine = connect(settings.model_copy(update={"postgres_db": database or settings.postgres_db}), "test")
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@pytest.fixture
def filled(platform: Settings) -> Iterator[Settings]:
    with odd_databases(platform) as settings:
        yield settings


@contextmanager
def odd_databases(platform: Settings) -> Iterator[Settings]:
    """A ledger with odd data beside its tables, and a second database in Dagster's place."""
    with to_back_up(platform) as backed_up:
        server = PostgresServer(backed_up)
        server.create(backed_up.dagster_postgres_db)
        with opened(backed_up) as connection:
            connection.execute(sa.text(ODD))
        with opened(backed_up, backed_up.dagster_postgres_db) as connection:
            connection.execute(sa.text("CREATE TABLE runs AS SELECT generate_series(1, 100) AS id"))
        yield backed_up
        for name in server.databases():
            if name.startswith(backed_up.postgres_db) and name != backed_up.postgres_db:
                server.drop(name)


@pytest.fixture(scope="module")
def taken(platform: Settings) -> Iterator[tuple[Settings, Taken]]:
    """The odd databases and a backup of them, for tests that change neither."""
    with odd_databases(platform) as settings:
        yield settings, take(settings)


def take(settings: Settings) -> Taken:
    return take_backup(settings, PostgresTarget(settings), "a test", LOG)


def names(settings: Settings) -> set[str]:
    mine = (settings.postgres_db, scratch_prefix(Store.POSTGRES, settings.postgres_db))
    return {name for name in PostgresServer(settings).databases() if name.startswith(mine)}


def test_both_databases_come_back_with_every_row_and_odd_value_and_without_a_password(
    filled: Settings,
) -> None:
    before = names(filled)
    taken = take(filled)
    assert taken.verification.problem == ""
    assert taken.verification.items == taken.manifest.items
    rows = {fact.name: fact.items for fact in taken.manifest.facts}
    assert rows["ledger.Odd names.a table"] == 500
    assert rows["ledger.public.empty"] == 0
    assert rows["dagster.public.runs"] == 100
    assert names(filled) == before
    repository = Repository(filled)
    password = filled.postgres_password.get_secret_value().encode()
    for file in taken.manifest.files:
        assert all(password not in data and b"SCRAM" not in data for data in repository.read(file))


def test_the_sums_see_a_changed_value_of_any_column_and_a_sequence_that_is_behind(
    taken: tuple[Settings, Taken],
) -> None:
    settings, backup = taken
    manifest, target, place = backup.manifest, PostgresTarget(settings), f"{settings.postgres_db}-scratch"
    target.restore(Repository(settings), manifest, place, Selection(), LOG)
    assert list(target.facts(place, manifest)) == list(manifest.facts)
    sequence = '"Odd names"."a table_id_seq"'
    for value, whole in ((499, False), (500, True), (900, True)):
        with opened(settings, f"{place}-ledger") as connection:
            connection.execute(sa.text(f"SELECT setval('{sequence}', {value})"))
        assert (differences(manifest.facts, target.facts(place, manifest)) == "") is whole, value
    before = list(target.facts(place, manifest))
    for change in (
        "number = 0.1000001",
        "bytes = NULL",
        "words = ARRAY['a', '', 'b']",
        "document = '{}'",
        "mood = 'calm'",
        '"100%\\:odd" = 1.0',
    ):
        with opened(settings, f"{place}-ledger") as connection:
            connection.execute(sa.text(f'UPDATE "Odd names"."a table" SET {change} WHERE id = 4'))
        after = list(target.facts(place, manifest))
        assert after != before, change
        before = after
    target.discard(place)


def test_rows_written_during_the_dump_are_either_in_it_or_not_and_the_sums_agree(filled: Settings) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with opened(filled) as connection:
                connection.execute(sa.text("INSERT INTO empty VALUES ('x')"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        taken = take(filled)
    finally:
        stop.set()
        writer.join()
    assert taken.verification.problem == ""


def test_in_place_the_restored_database_takes_the_name_and_the_former_one_is_kept(filled: Settings) -> None:
    taken = take(filled)
    with opened(filled) as connection:
        connection.execute(sa.text('DELETE FROM "Odd names"."a table"'))
    held = connect(filled.model_copy(update={"postgres_db": filled.dagster_postgres_db}), "dagster webserver")
    with held.connect() as connected:
        connected.execute(sa.text("SELECT 1"))
        done = PostgresTarget(filled).replace(Repository(filled), taken.manifest, Selection(), LOG)
    held.dispose()
    with opened(filled) as connection:
        assert connection.scalar(sa.text('SELECT count(*) FROM "Odd names"."a table"')) == 500
        connection.execute(sa.text('INSERT INTO "Odd names"."a table" (mood) VALUES (\'calm\')'))
    (kept,) = (name for name in names(filled) if "_before_" in name)
    assert any(kept in note for note in done.notes)
    assert any(filled.dagster_postgres_db in note and "left as it is" in note for note in done.notes)
    with opened(filled, kept) as connection:
        assert connection.scalar(sa.text('SELECT count(*) FROM "Odd names"."a table"')) == 0


def test_on_an_empty_server_both_databases_are_made(filled: Settings) -> None:
    taken = take(filled)
    server = PostgresServer(filled)
    server.drop(filled.postgres_db)
    server.drop(filled.dagster_postgres_db)
    PostgresTarget(filled).replace(Repository(filled), taken.manifest, Selection(), LOG)
    with opened(filled, filled.dagster_postgres_db) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM runs")) == 100


def test_one_table_comes_back_alone_into_a_scratch_place_and_never_in_place(
    taken: tuple[Settings, Taken],
) -> None:
    settings, backup = taken
    target, repository = PostgresTarget(settings), Repository(settings)
    place = f"{settings.postgres_db}-scratch"
    done = target.restore(repository, backup.manifest, place, Selection(table="dagster.public.runs"), LOG)
    assert [fact.name for fact in target.facts(place, backup.manifest)] == ["dagster.public.runs"]
    assert done.items == 100
    target.discard(place)
    with pytest.raises(PermanentError, match="restored whole"):
        target.replace(repository, backup.manifest, Selection(table="public.empty"), LOG)


@pytest.mark.parametrize("damage", ["flipped", "missing", "cut"])
def test_a_damaged_dump_is_found_by_the_drill(taken: tuple[Settings, Taken], damage: str) -> None:
    settings, backup = taken
    store = Repository(settings).objects
    key = backup.manifest.file("ledger.dump").parts[0].key
    whole = store.get(key)
    if damage == "flipped":
        flip_a_byte(store, key)
    elif damage == "missing":
        store.delete([key])
    else:
        store.put(key, whole[:-1000])
    found = drill_newest(settings, PostgresTarget(settings), "a test", LOG).verification
    store.put(key, whole)
    assert key in found.problem
    assert not any(name.startswith("wotr-drill") for name in names(settings))


def test_another_identity_opens_no_dump_and_that_is_found_by_the_drill(filled: Settings) -> None:
    sealed = encrypting(filled)
    taken = take(sealed)
    assert taken.verification.problem == ""
    other = SecretStr(str(pyrage.x25519.Identity.generate()))
    sealed = sealed.model_copy(update={"wotr_backup_identity": other})
    found = drill_newest(sealed, PostgresTarget(sealed), "a test", LOG).verification
    assert taken.manifest.file("ledger.dump").parts[0].key in found.problem
    assert not any(name.startswith("wotr-drill") for name in names(filled))


def test_a_dump_that_fails_publishes_nothing_and_quotes_no_row(filled: Settings) -> None:
    broken = """
    CREATE FUNCTION refuse(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
        $$ BEGIN RETURN (value::int)::text; END $$;
    CREATE TABLE broken (secret text, CONSTRAINT always CHECK (true));
    INSERT INTO broken VALUES ('my secret');
    ALTER TABLE broken OWNER TO CURRENT_USER;
    """
    with opened(filled) as connection:
        connection.execute(sa.text(broken))
        connection.execute(sa.text("REVOKE ALL ON broken FROM CURRENT_USER"))
    with pytest.raises(PermanentError, match="permission denied for table broken") as told:
        take(filled)
    assert "secret" not in str(told.value).replace("my_secret", "")
    assert Repository(filled).backup_ids(Store.POSTGRES) == []


@pytest.mark.parametrize("there", ["postgres/data/", "postgres/manifests/"])
def test_a_run_that_is_killed_leaves_no_false_backup_and_no_scratch_database_for_long(
    filled: Settings, there: str
) -> None:
    repository = Repository(filled)
    repository.prepare()
    killed_once(lambda: next(repository.objects.list(there), None), take, filled)
    taken = take(filled)
    assert taken.verification.problem == ""
    ids = repository.backup_ids(Store.POSTGRES)
    for backup_id in ids:
        whole = repository.manifest(Store.POSTGRES, backup_id)
        assert drill_backup(repository, PostgresTarget(filled), whole, LOG).problem == ""
    data = {found.key.split("/")[2] for found in repository.objects.list("postgres/data/")}
    assert data == set(ids)
    assert not any(name.startswith("wotr-drill") for name in names(filled))


def replace_and_wait(settings: Settings, telling: Connection, at: str) -> None:
    """Replace what is live by the newest backup, and do not go on after the statement."""

    def then_wait(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if at in statement:
            telling.send("there")
            threading.Event().wait()

    sa.event.listen(sa.engine.Engine, "after_cursor_execute", then_wait)
    repository, target = Repository(settings), PostgresTarget(settings)
    target.replace(repository, repository.newest(Store.POSTGRES), Selection(), LOG)


def read_and_wait(settings: Settings, telling: Connection, snapshot: str) -> None:
    """Begin to read a dump, and do not go on."""
    with PostgresTools(settings).dump(settings.postgres_db, snapshot) as dump:
        dump.read(10)
        telling.send("reading")
        threading.Event().wait()


@contextmanager
def running_until_killed(work: Callable[..., object], settings: Settings, *arguments: str) -> Iterator[None]:
    """``work`` in a process, at the point where it says so; killed at the end of the block."""
    reached, telling = FORKING.Pipe(duplex=False)
    with Forked(work, settings, telling, *arguments):
        telling.close()
        assert reached.poll(60)
        reached.recv()
        yield
    reached.close()


@pytest.mark.parametrize("at", ["CREATE DATABASE", "RENAME TO"])
def test_a_restore_that_is_killed_changes_nothing_and_the_next_run_removes_what_it_left(
    filled: Settings, at: str
) -> None:
    taken = take(filled)
    with opened(filled) as connection:
        connection.execute(sa.text("INSERT INTO empty VALUES ('later')"))
    with running_until_killed(replace_and_wait, filled, at):
        pass
    server = PostgresServer(filled)
    beside = PostgresTarget(filled).beside("ledger")
    wait_until(lambda: "wotr databases" not in server.connections(filled.postgres_db), 30)
    assert beside in server.databases()
    with opened(filled) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM empty")) == 1
    if at == "CREATE DATABASE":
        PostgresTarget(filled).prepare(Repository(filled))
    else:
        PostgresTarget(filled).replace(Repository(filled), taken.manifest, Selection(), LOG)
        with opened(filled) as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM empty")) == 0
    assert beside not in server.databases()


def test_the_dump_of_a_run_that_is_killed_ends_with_it(filled: Settings) -> None:
    more = "CREATE TABLE more AS SELECT md5(n::text) AS text FROM generate_series(1, 50000) AS n"
    with opened(filled) as connection:
        connection.execute(sa.text(more))
    server = PostgresServer(filled)
    with server.snapshot(filled.postgres_db) as snapshot:
        with running_until_killed(read_and_wait, filled, snapshot.name):
            assert server.connections(filled.postgres_db).count("wotr backup") == 2
        wait_until(lambda: server.connections(filled.postgres_db).count("wotr backup") == 1, 30)


@pytest.fixture
def as_superuser(backed_up: Settings, servers: Platform) -> Iterator[Settings]:
    """Settings of the server's superuser, for the usual role makes none. Roles are everybody's: these go again."""
    password = SecretStr(servers.directory.secrets["postgres_superuser"])
    settings = backed_up.model_copy(update={"postgres_user": SUPERUSER, "postgres_password": password})
    yield settings
    PostgresServer(settings).drop(settings.postgres_db)
    mine = sa.text("SELECT rolname FROM pg_roles WHERE starts_with(rolname, :name)")
    with opened(settings, "postgres") as connection:
        for role in connection.scalars(mine, {"name": settings.postgres_db}).all():
            connection.execute(sa.text(f'DROP ROLE "{role}"'))


HASH = sa.text("SELECT rolpassword FROM pg_authid WHERE rolname = :name")


def test_in_place_owners_and_grants_come_back_and_roles_that_are_missing_are_made(
    as_superuser: Settings,
) -> None:
    filled = as_superuser
    reader, owner = f"{filled.postgres_db} reader", f"{filled.postgres_db} an owner"
    with opened(filled) as connection:
        for statement in (
            "CREATE TABLE empty (nothing text)",
            f'CREATE ROLE "{reader}" LOGIN', f'CREATE ROLE "{owner}"', f'GRANT "{owner}" TO "{reader}"',
            f'GRANT SELECT ON empty TO "{reader}"', f'ALTER TABLE empty OWNER TO "{owner}"',
        ):  # fmt: skip
            connection.execute(sa.text(statement))
    taken = take(filled)
    assert taken.verification.problem == ""
    server = PostgresServer(filled)
    server.drop(filled.postgres_db)
    with opened(filled, "postgres") as connection:
        connection.execute(sa.text(f'DROP ROLE "{reader}"'))
        connection.execute(sa.text(f"ALTER ROLE \"{owner}\" PASSWORD 'kept'"))
        password = connection.scalar(HASH, {"name": owner})
    done = PostgresTarget(filled).replace(Repository(filled), taken.manifest, Selection(), LOG)
    assert any(reader in note and "without passwords" in note for note in done.notes)
    with opened(filled) as connection:
        can = sa.text(
            "SELECT has_table_privilege(:name, 'empty', 'SELECT'), pg_has_role(:name, :owner, 'MEMBER')"
        )
        assert connection.execute(can, {"name": reader, "owner": owner}).one() == (True, True)
        assert (
            connection.scalar(sa.text("SELECT tableowner FROM pg_tables WHERE tablename = 'empty'")) == owner
        )
        assert connection.scalar(HASH, {"name": owner}) == password


def test_one_table_comes_back_with_its_types_and_the_sentence_that_copies_its_rows_works(
    taken: tuple[Settings, Taken],
) -> None:
    filled, backup = taken
    target, repository, place = PostgresTarget(filled), Repository(filled), f"{filled.postgres_db}-scratch"
    wanted = Selection(table=f"{filled.postgres_db}.public.moods")
    done = target.restore(repository, backup.manifest, place, wanted, LOG)
    assert done.items == 2
    with opened(filled) as connection:
        connection.execute(sa.text("DELETE FROM moods WHERE mood = 'calm'"))
    (note,) = (note for note in done.notes if "psql" in note)
    tools = PostgresTools(filled)
    there = {**tools._environment(), "PATH": f"{Path(tools._program('psql')).parent}:/usr/bin:/bin"}
    subprocess.run(note[note.index("psql") : note.rindex(" (name")], shell=True, env=there, check=True)
    with opened(filled) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM moods")) == 2
    target.discard(place)
    with pytest.raises(PermanentError, match=r"has no table public\.nowhere"):
        target.restore(repository, backup.manifest, place, Selection(table="public.nowhere"), LOG)


def test_a_backup_is_refused_while_another_one_holds_the_lease(filled: Settings) -> None:
    Repository(filled).prepare()
    with (
        lease(filled, lease_name(Store.POSTGRES), "the other one"),
        pytest.raises(LeaseTakenError, match="other"),
    ):
        take(filled)
    assert Repository(filled).backup_ids(Store.POSTGRES) == []


def test_a_table_that_stays_locked_fails_the_backup_and_nothing_is_published(
    filled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_tools, "LOCK_WAIT_SECONDS", 1)
    with opened(filled) as connection:
        connection.execute(sa.text("LOCK TABLE empty IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(TransientError, match="could not dump the database"):
            take(filled)
    assert Repository(filled).backup_ids(Store.POSTGRES) == []


def test_a_manifest_signed_with_another_key_is_not_restored(taken: tuple[Settings, Taken]) -> None:
    settings, _ = taken
    other = settings.model_copy(update={"wotr_backup_signing_key": SecretStr("x" * 48)})
    with pytest.raises(PermanentError, match=r"WOTR_BACKUP_SIGNING_KEY|no backup"):
        drill_newest(other, PostgresTarget(other), "a test", LOG)


def test_programs_older_than_the_server_are_refused_with_what_to_install(platform: Settings) -> None:
    with pytest.raises(PermanentError, match="postgresql-client-18"):
        PostgresTools(platform).check(99)
    PostgresTools(platform).check(PostgresServer(platform).major())
