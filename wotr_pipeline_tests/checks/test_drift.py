"""What producers send beside the registered versions is named: by source, version and member, without content."""

from datetime import UTC, datetime, timedelta

import pytest

from wotr_pipeline.checks.drift import SAMPLED, compare, drift, registered_versions
from wotr_pipeline.config import Settings
from wotr_pipeline.events.schema_versions import packaged_versions
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests import topics
from wotr_pipeline_tests.operations.dead_letters.scenario import carry
from wotr_pipeline_tests.produced import event

KNOWN = {version.major: version.payload_members for version in packaged_versions()}
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("major", "members", "what", "named"),
    [
        ("3", {"event_type"}, "a version that nobody registered", ()),
        ("1", {"event_type", "user_id", "version"}, "members of another version", ("user_id",)),
        ("2", {"event_type", "colour"}, "members of no version", ("colour",)),
    ],
)
def test_each_kind_of_drift_is_told_apart(
    major: str, members: set[str], what: str, named: tuple[str, ...]
) -> None:
    (found,) = compare({("shop", major): 7}, {("shop", major): members}, KNOWN)
    assert (found.source, found.version, found.events, found.what, found.members) == (
        "shop",
        major,
        7,
        what,
        named,
    )


def test_what_the_versions_say_is_no_drift() -> None:
    sent = {("shop", "1"): 5, ("shop", "2"): 5}
    members = {("shop", "1"): {"event_type", "source", "data", "version"}, ("shop", "2"): {"tags", "user_id"}}
    assert compare(sent, members, KNOWN) == []


def test_the_rows_of_a_day_are_looked_at_and_older_ones_are_not(space: Settings) -> None:
    old = int((NOW - timedelta(hours=30)).timestamp() * 1000)
    with topics.sending(space) as send:
        send(event("good", source="good", version="2.0", tags=["a"]))
        send(event("odd", source="odd", version="2.0", colour="red"))
        send(event("older-name", source="young", version="1.0", user_id="u"))
        send(event("unknown", source="future", version="9.1"))
        send(event("long-ago", source="past", version="9.1"), timestamp_ms=old)
        for number in range(SAMPLED + 5):
            send(event(f"many-{number}", source="many", version="2.0"))
    carry(space)
    found = drift(Warehouse(space), packaged_versions(), datetime.now(UTC))
    assert {(one.source, one.what, one.members) for one in found.drifts} == {
        ("odd", "members of no version", ("colour",)),
        ("young", "members of another version", ("user_id",)),
        ("future", "a version that nobody registered", ()),
    }
    assert (found.events, found.sources) == (SAMPLED + 9, 5)


def test_without_a_registry_the_packaged_versions_count_and_the_result_says_so(space: Settings) -> None:
    away = space.model_copy(update={"wotr_schema_registry_url": "http://127.0.0.1:9/registry"})
    found = registered_versions(away)
    assert (found.versions, found.reachable) == (packaged_versions(), False)
    assert "127.0.0.1:9" in found.source
