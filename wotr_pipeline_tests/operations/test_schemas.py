"""``wotr schema``: nothing is registered unasked, what is wrong is named, and the page's sample runs."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from wotr_pipeline.cli import main
from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.events.schema_versions import packaged_versions
from wotr_pipeline.stores.schema_registry import SchemaRegistry, event_subject

from ..conftest import environment_of
from ..registry_server import WRITER, serving


@pytest.fixture
def registry(ledger_space: Settings) -> Iterator[Settings]:
    with serving(ledger_space) as settings:
        yield settings


def wotr(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["schema", *arguments], env=environment_of(settings))


def test_registering_is_dry_until_it_is_applied_and_safe_to_repeat(registry: Settings) -> None:
    subject = event_subject(registry)
    assert "would be registered" in wotr(registry, "register").output
    assert SchemaRegistry(registry).versions(subject) == []
    assert wotr(registry, "register", "--apply").exit_code == 0
    first = SchemaRegistry(registry).versions(subject)
    assert [version.text for version in first] == [version.schema.text for version in packaged_versions()]
    assert "Every packaged version is registered" in wotr(registry, "register", "--apply").output
    assert SchemaRegistry(registry).versions(subject) == first


def test_checking_names_what_is_missing_and_is_content_with_what_is_registered(registry: Settings) -> None:
    missing = wotr(registry, "check")
    assert missing.exit_code == 1
    assert "v2 is not registered" in missing.output
    wotr(registry, "register", "--apply")
    content = wotr(registry, "check")
    assert (content.exit_code, "compatible" in content.output) == (0, True)


def test_a_foreign_schema_under_the_subject_is_named(registry: Settings) -> None:
    client = SchemaRegistryClient(
        {"url": registry.wotr_schema_registry_url, "basic.auth.user.info": f"wotr:{WRITER}"}
    )
    client.register_schema(event_subject(registry), Schema('"string"', "AVRO"))
    found = wotr(registry, "check")
    assert found.exit_code == 1
    assert "is no version of the contract" in found.output


def test_differences_are_a_line_a_member(registry: Settings) -> None:
    lines = wotr(registry, "diff", "v1", "v2").output.splitlines()
    assert any(line.strip().startswith("+ payload.user_id") for line in lines)
    assert wotr(registry, "diff", "v1", "v1").output.strip().endswith("the same")
    assert wotr(registry, "diff", "v1", "v7").exit_code == 2
    assert "not registered" in wotr(registry, "diff").output


def test_a_registry_that_is_away_is_said_so(registry: Settings) -> None:
    away = registry.model_copy(update={"wotr_schema_registry_url": "http://127.0.0.1:9"})
    found = wotr(away, "check")
    assert found.exit_code == 1
    assert "127.0.0.1:9" in found.output
    assert WRITER not in found.output


def test_the_sample_of_the_page_runs(registry: Settings) -> None:
    wotr(registry, "register", "--apply")
    page = (PROJECT_ROOT / "docs" / "schemas.md").read_text()
    (sample,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    sample = sample.replace('"ingest-events"', repr(registry.kafka_topic))
    done = subprocess.run(
        [sys.executable, "-c", sample],
        env=environment_of(registry),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.endswith("bytes\n")) == (0, True), done.stderr
