"""Who may do what: two users from the environment, and what the second of them cannot do.

Belongs here: credentials, their check, the reader's settings and the statements refused to it.
Does not belong here: HTTP. ``readonly=1`` is set on the reader's connection before anything of the client's,
so the engine itself refuses writes and changed settings, in a SETTINGS clause as in the address. Holes it
leaves open here, where no server's access control runs, are closed by what the engine's parser makes of the
statement: client-side files (INTO OUTFILE), KILL, the function ``file()`` and its like, DESCRIBE of a file,
the tables of ``system`` that describe anything but the data.
"""

import hmac
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass

from wotr_pipeline.servers.clickhouse_front.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    READONLY,
    FrontError,
)
from wotr_pipeline.servers.clickhouse_front.statements import names, qualified_names

GIB = 1024**3
READER_SETTINGS = {
    "max_execution_time": "30",
    "timeout_overflow_mode": "throw",
    "max_memory_usage": str(GIB),
    "max_threads": "4",
    "max_rows_to_read": "2000000000",
    "max_bytes_to_read": str(200 * GIB),
    "read_overflow_mode": "throw",
    "max_temporary_data_on_disk_size_for_query": str(4 * GIB),
    "max_result_rows": "5000000",
    "max_result_bytes": str(GIB),
    "result_overflow_mode": "throw",
    "cancel_http_readonly_queries_on_client_close": "1",
    "allow_ddl": "0",
    "allow_introspection_functions": "0",
    "allow_python_table_function": "0",
    "readonly": "1",
}
"""What every query of the reader runs with; ``readonly=1`` keeps the client from changing any of it.

``deploy/clickhouse/users.xml`` sets the same for the server; a test holds the two together.
"""

READER_SYSTEM_TABLES = {
    "columns", "data_type_families", "databases", "formats", "functions", "merges", "mutations", "numbers",
    "numbers_mt", "one", "parts", "parts_columns", "query_log", "settings", "tables", "zeros", "zeros_mt",
}  # fmt: skip
"""Of the database ``system``: what describes the data and the queries. All others are refused, newer ones too."""

_SAFE_TABLE_FUNCTIONS = {
    "format", "generate_series", "generaterandom", "generateseries", "null", "numbers", "numbers_mt", "primes",
    "values", "view", "viewifpermitted", "zeros", "zeros_mt",
}  # fmt: skip
_UNSAFE_NAMES = {
    "file", "python", "filesystemavailable", "filesystemcapacity", "filesystemunreserved", "catboostevaluate",
    "hascolumnintable", "logtrace", "processlist",
}  # fmt: skip
_SYSTEM = "system"
_NAME_PARAMETER = re.compile(rb"\{(\w+):\s*Identifier\}")
_PLAIN_NAME = re.compile(r"\w+(\.\w+)*", re.ASCII)


@dataclass(frozen=True)
class User:
    """Someone with a password. ``settings`` come before, and so bind, those of the client."""

    name: str
    password: str
    settings: Mapping[str, str]
    read_only: bool


class CredentialsError(Exception):
    """The environment does not say who may come in."""


def users_from(environment: Mapping[str, str]) -> tuple[User, ...]:
    """The writer (CLICKHOUSE_USER, CLICKHOUSE_PASSWORD) and, if named, the reader (CLICKHOUSE_READER_…).

    CLICKHOUSE_READER_SECONDS: how long a query of the reader may run, if not as long as READER_SETTINGS says.

    Raises:
        CredentialsError: no user, a user without a password, two users of one name, or no number of seconds.
    """
    seconds = environment.get("CLICKHOUSE_READER_SECONDS", READER_SETTINGS["max_execution_time"])
    if not seconds.isdecimal() or int(seconds) < 1:  # 0 would be no limit at all
        raise CredentialsError("CLICKHOUSE_READER_SECONDS must be a whole number above 0.")
    of_reader = READER_SETTINGS | {"max_execution_time": seconds}
    users = []
    for prefix, read_only in (("CLICKHOUSE", False), ("CLICKHOUSE_READER", True)):
        name, password = environment.get(f"{prefix}_USER", ""), environment.get(f"{prefix}_PASSWORD", "")
        if read_only and not name and not password:
            continue
        if not name or not password:
            raise CredentialsError(f"{prefix}_USER and {prefix}_PASSWORD must both be set and not empty.")
        users.append(User(name, password, of_reader if read_only else {}, read_only))
    if len({user.name for user in users}) < len(users):
        raise CredentialsError("CLICKHOUSE_USER and CLICKHOUSE_READER_USER must differ.")
    return tuple(users)


def authenticate(users: tuple[User, ...], headers: Mapping[str, str], parameters: Mapping[str, str]) -> User:
    """The user that the request's credentials belong to.

    Raises:
        FrontError: AUTHENTICATION_FAILED, in the words of a server; 401 without credentials, else 403.
    """
    given = _credentials(headers, parameters)
    if given is None:
        raise FrontError(
            AUTHENTICATION_FAILED, "Authentication failed: no credentials were sent.", status=401
        )
    name, password = given
    found = None
    for user in users:  # All of them, and both halves: the time taken tells nothing.
        same_name = hmac.compare_digest(user.name.encode(), name.encode())
        same_password = hmac.compare_digest(user.password.encode(), password.encode())
        if same_name & same_password:
            found = user
    if found is None:
        shown = re.sub(r"[^\w.@-]", "?", name)[:64]
        raise FrontError(
            AUTHENTICATION_FAILED,
            f"{shown}: Authentication failed: password is incorrect, or there is no user with such name.",
        )
    return found


def _credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[str, str] | None:
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = b64decode(value, validate=True).decode().partition(":")
        except (Base64Error, UnicodeDecodeError):
            return "", ""
        return name, password
    if scheme:
        return "", ""
    if "user" in parameters or "password" in parameters:
        return parameters.get("user", "default"), parameters.get("password", "")
    return None


class ReaderPolicy:
    """Which statements a reader may run."""

    def __init__(self, table_functions: set[str], functions: set[str]) -> None:
        """Takes what the engine says it has, so that a newer engine's new sources are refused, too."""
        calling_models = {name.lower() for name in functions if name.lower().startswith("ai")}
        self._names = _UNSAFE_NAMES | calling_models
        self._calls = {name.lower() for name in table_functions} - _SAFE_TABLE_FUNCTIONS

    def check(
        self, query_class: str, canonical: bytes, parameters: Mapping[str, str], database: str = ""
    ) -> None:
        """Look at one statement in the engine's own spelling; exactly these bytes must be what runs.

        ``database``: where names without one are looked up.

        A function is refused by its name alone: ``APPLY file`` and ``arrayMap(file, …)`` call it without brackets.

        Raises:
            FrontError: ACCESS_DENIED, READONLY.
        """
        if query_class != "READ_ONLY":
            raise FrontError(ACCESS_DENIED, "This user may only read. Ask for the writer's credentials.")
        found = set(names(canonical))
        # The engine passes over a subquery's without a word. Keywords come in capitals, names as they were.
        if "SETTINGS" in {name for name, _ in found}:
            raise FrontError(READONLY, "Cannot modify settings in readonly mode: leave SETTINGS out.")
        called = {name.lower() for name, with_arguments in found if with_arguments} & self._calls
        used = called | {name.lower() for name, _ in found} & self._names
        for parameter in _NAME_PARAMETER.findall(canonical):
            value = parameters.get(parameter.decode(), "")
            if not _PLAIN_NAME.fullmatch(value):
                used.add("an Identifier parameter that is not a plain name")
            used |= {part for part in value.lower().split(".") if part in {*self._names, _SYSTEM}}
        used |= {
            f"{_SYSTEM}.{table}"
            for name, table in qualified_names(canonical)
            if name == _SYSTEM and table not in READER_SYSTEM_TABLES
        }
        if database == _SYSTEM:
            used.add(f"{_SYSTEM} as the database of the request")
        if used:
            raise FrontError(
                ACCESS_DENIED, f"This user may only read tables; not allowed: {', '.join(sorted(used))}."
            )
