"""The pages of docs/runbook as data: what is fenced in them, what they call by name, and the table of procedures.

Belongs here: reading Markdown, and knowing whether a command, a job or a service of that name exists.
Does not belong here: running anything (``test_runbook_commands.py``).

What the words behind the opening fence mean:

- ``sh run``: only looks; run as written. ``exit=0,1``: these codes are right as well.
- ``sh changing``: changes something; run as written, in the order of the page, once.
- ``sh parsed``: names something that you put in (BATCH, ID), or is too much for a test: its commands and options exist.
- ``sh compose``: for a Docker host: the shell accepts it and the services exist.
- ``sql clickhouse``, ``sql postgres``: run as written.
- ``yaml JOB``: the launchpad of that job takes it.
- ``text``: what is printed, or a form to fill in.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from wotr_pipeline.cli import main
from wotr_pipeline.config import PROJECT_ROOT

RUNBOOK = PROJECT_ROOT / "docs" / "runbook"
TESTS = PROJECT_ROOT / "wotr_pipeline_tests"
KINDS = ("sh run", "sh changing", "sh parsed", "sh compose", "sql clickhouse", "sql postgres", "text")
COMPOSE_WITHOUT_SERVICES = ("config", "down", "version")


@dataclass(frozen=True)
class Block:
    """What stands between two fences; ``line`` is that of the opening one, from 1."""

    page: str
    line: int
    kind: str
    codes: frozenset[int]
    text: str

    @property
    def place(self) -> str:
        return f"docs/runbook/{self.page}:{self.line} ({self.kind})"


@dataclass(frozen=True)
class Procedure:
    """One line of the table in README.md."""

    number: int
    links: tuple[str, ...]
    commands: tuple[str, ...]
    tests: tuple[str, ...]


def pages() -> list[Path]:
    return sorted(RUNBOOK.glob("*.md"))


@cache
def tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def blocks(page: Path) -> Iterator[Block]:
    """All of them, in their order."""
    for token in tokens(page):
        if token.type in ("fence", "code_block"):
            words = token.info.split()
            codes = next((word.removeprefix("exit=") for word in words if word.startswith("exit=")), "0")
            kind = " ".join(word for word in words if not word.startswith("exit="))
            line = token.map[0] + 1 if token.map else 0
            yield Block(page.name, line, kind, frozenset(map(int, codes.split(","))), token.content)


def commands_in_prose(page: Path) -> Iterator[str]:
    """What stands in code spans and begins with ``wotr`` or ``make``."""
    for token in tokens(page):
        for child in token.children or ():
            if child.type == "code_inline" and re.match(r"(wotr|make) [a-z]", child.content):
                yield child.content


def commands(block: Block) -> Iterator[str]:
    """Its lines, those that go on in the next one joined, without comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        # With comments=True a quote in a comment is not one that has no end.
        if shlex.split(line, comments=True):
            yield line


def procedures() -> Iterator[Procedure]:
    """The table of README.md whose first column is a number."""
    row: list[Token] = []
    for token in tokens(RUNBOOK / "README.md"):
        if token.type == "tr_open":
            row = []
        elif token.type == "inline":
            row.append(token)
        elif token.type == "tr_close" and row[0].content.isdigit():
            number, _, where, what, proof = row
            links = [str(child.attrs["href"]) for child in where.children or () if child.type == "link_open"]
            yield Procedure(int(number.content), tuple(links), _spans(what), _spans(proof))


def _spans(cell: Token) -> tuple[str, ...]:
    return tuple(child.content for child in cell.children or () if child.type == "code_inline")


def unknown(command: str, jobs: frozenset[str], assets: frozenset[str]) -> str:
    """What of the command does not exist; empty if all of it does. ``job NAME`` and ``asset NAME`` are commands too."""
    words = shlex.split(command.replace("…", ""), comments=True)
    match words:
        case ["wotr", *rest]:
            return _unknown_of_cli(rest)
        case ["make", target, *_]:
            there = re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)
            return "" if target in there else f"make {target}"
        case ["job", name]:
            return "" if name in jobs else f"job {name}"
        case ["asset", name]:
            return "" if name in assets else f"asset {name}"
        case ["docker", "compose", *rest]:
            return unknown_services(rest)
    return ""


def _unknown_of_cli(words: list[str]) -> str:
    command: click.Command = main
    path = ["wotr"]
    while words and isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        found = command.get_command(click.Context(command), words[0])
        path.append(words.pop(0))
        if found is None:
            return " ".join(path)
        command = found
    if path == ["wotr", "run"]:
        return ""
    there = {text for option in command.params for text in option.opts + option.secondary_opts} | {"--help"}
    missing = [word for word in words if word.startswith("--") and word.partition("=")[0] not in there]
    return " ".join([*path, *missing]) if missing else ""


def unknown_services(words: list[str]) -> str:
    """Services of a ``docker compose`` command that docker-compose.yml does not have; write options as --name=value."""
    there = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())["services"]
    subcommand, *rest = [word for word in words if not word.startswith("-")]
    if subcommand in COMPOSE_WITHOUT_SERVICES:
        return ""
    named = rest[:1] if subcommand in ("exec", "run") else rest
    pipe = next((named.index(word) for word in ("|", ">", "&&") if word in named), len(named))
    return " ".join(name for name in named[:pipe] if name not in there and name != "SERVICE")
