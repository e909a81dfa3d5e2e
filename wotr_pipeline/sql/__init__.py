"""The project's SQL: one named query or DDL statement a file.

Belongs here: ``.sql`` files and the function that reads them. Values are bound by the server
(``{name:Type}``), never formatted into the text.
Does not belong here: Python that decides what to run.
"""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """The text of ``sql/<name>.sql``."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8").strip().rstrip(";")
