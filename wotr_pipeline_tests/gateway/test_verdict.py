"""The first line of the admin page, case by case, and the bars below it."""

import inspect
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from wotr_pipeline.config import PROJECT_ROOT, Settings
from wotr_pipeline.gateway import verdict
from wotr_pipeline.gateway.charts import HEIGHT, chart
from wotr_pipeline.gateway.overview import Batches, Letters, Operations, Overview, Part
from wotr_pipeline.gateway.probes import Health, StoreHealth
from wotr_pipeline.gateway.verdict import Severity, findings, headline
from wotr_pipeline.stores.batch import BatchState, LedgerSummary, StateSummary
from wotr_pipeline.stores.dead_letter import LetterState, Switch
from wotr_pipeline.stores.event_counts import Count, Period, TimeToTable
from wotr_pipeline.stores.lag import Lag, PartitionLag
from wotr_pipeline.stores.operations_log import Backup, Maintenance
from wotr_pipeline.stores.thresholds import NAMES
from wotr_pipeline.words import ago, share, size

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]


def part(value: object, away: str = "") -> Part[object]:
    return Part(value, away, NOW)


def period(span: timedelta, step: timedelta, events: int, failed: int) -> Period:
    start = NOW - 2 * step
    counts = (Count(start, "api_call", events, failed, 0, 100 * events),) if events else ()
    return Period(NOW - span, NOW, step, counts)


def summary(quarantined: int = 0, age: timedelta | None = None) -> LedgerSummary:
    states = tuple(
        StateSummary(state, quarantined if state is BatchState.QUARANTINED else 0, quarantined * 10, 0)
        for state in BatchState
    )
    return LedgerSummary(states, None, age)


def letters(quarantined: int = 0, *, stopped: bool = False) -> Letters:
    states = dict.fromkeys(LetterState, 0) | {LetterState.QUARANTINED: quarantined}
    return Letters(states, (), Switch(stopped, "ann", "too many", NOW))


def operations(age: timedelta = HOUR, mode: Maintenance | None = None) -> Operations:
    stores = ("minio", "postgres", "clickhouse")
    return Operations(
        mode, (), {store: Backup(store, NOW - age, "s3://b", 1, NOW, 1.0) for store in stores}, {}
    )


WELL = Overview(
    now=NOW,
    health=Health(tuple(StoreHealth(store, True, "", NOW) for store in NAMES)),
    hour=part(period(HOUR, MINUTE, 1_000, 1)),  # type: ignore[arg-type]
    day=part(period(24 * HOUR, HOUR, 10_000, 10)),  # type: ignore[arg-type]
    sources=part([]),  # type: ignore[arg-type]
    speed=part(TimeToTable(10, 1.0, 5.0, 9.0)),  # type: ignore[arg-type]
    lag=part(Lag((PartitionLag(0, 10, 10, None),))),  # type: ignore[arg-type]
    batches=part(Batches(summary(), (), ())),  # type: ignore[arg-type]
    letters=part(letters()),  # type: ignore[arg-type]
    operations=part(operations()),  # type: ignore[arg-type]
)


def test_all_is_well_only_when_nothing_is_found_and_everything_could_be_seen() -> None:
    assert findings(WELL, SETTINGS) == []
    assert headline([], WELL) == "All is well."
    blind = replace(WELL, lag=part(None, "Kafka has not answered for 2 s."))
    assert headline(findings(blind, SETTINGS), blind).startswith("Some of it cannot be seen")


@pytest.mark.parametrize(
    ("changed", "severity", "what"),
    [
        ({"lag": Lag((PartitionLag(0, 5, 12, NOW - HOUR),))}, Severity.NOW, "7 events wait in Kafka"),
        ({"batches": Batches(summary(quarantined=2), (), ())}, Severity.NOW, "2 batches with 20 offsets"),
        (
            {"batches": Batches(summary(age=HOUR), (), ())},
            Severity.NOW,
            "unfinished, the oldest planned 60 min",
        ),
        ({"hour": period(HOUR, MINUTE, 1_000, 101)}, Severity.NOW, "101 of 1,000 events"),
        ({"hour": period(HOUR, MINUTE, 100_000, 200)}, Severity.TODAY, "200 of 100,000 events"),
        ({"hour": period(HOUR, MINUTE, 0, 0)}, Severity.TODAY, "No event is in the table"),
        ({"speed": TimeToTable(10, 1.0, 3_600.0, 3_700.0)}, Severity.TODAY, "60 min to the table"),
        ({"letters": letters(quarantined=1)}, Severity.TODAY, "1 dead letter came back"),
        ({"letters": letters(stopped=True)}, Severity.TODAY, "Retries are stopped by ann"),
        ({"operations": operations(age=9 * 24 * HOUR)}, Severity.TODAY, "9 d old"),
        (
            {"operations": replace(operations(), failed_drills={"minio": "a byte was flipped"})},
            Severity.TODAY,
            "could not be restored, and does not count",
        ),
        (
            {"operations": Operations(None, (), {}, {})},
            Severity.TODAY,
            "PostgreSQL and ClickHouse have no verified",
        ),
        (
            {"operations": operations(mode=Maintenance(True, NOW - 2 * HOUR, "ann", "disks", NOW - HOUR))},
            Severity.TODAY,
            "should have ended 60 min ago",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_number_and_its_page(
    changed: dict[str, object], severity: Severity, what: str
) -> None:
    seen = replace(WELL, **{name: part(value) for name, value in changed.items()})  # type: ignore[arg-type]
    found = findings(seen, SETTINGS)
    assert what in found[0].what
    assert found[0].severity is severity
    assert found[0].do
    assert found[0].page.split("#")[0].endswith(".md")
    assert headline(found, seen) != "All is well."


def test_slow_requests_are_to_be_looked_at_now() -> None:
    assert findings(WELL, SETTINGS, {"/ingest": 0.1, "/ingest/batch": None}) == []
    (found,) = findings(WELL, SETTINGS, {"/ingest": 2.5})
    assert found.severity is Severity.NOW
    assert "/ingest takes 2.5 s" in found.what


def test_every_page_of_the_runbook_that_a_finding_names_is_there() -> None:
    source = inspect.getsource(verdict)
    named = set(re.findall(r'"((?:runbook/)?[a-z-]+\.md)(?:#([a-z_-]+))?"', source))
    assert len(named) > 8
    for page, anchor in named:
        text = (PROJECT_ROOT / "docs" / page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, (page, anchor)


def test_a_store_that_is_down_comes_first_and_lag_in_maintenance_is_only_known() -> None:
    down = tuple(StoreHealth(store, store != "kafka", "No broker answers.", NOW) for store in NAMES)
    mode = Maintenance(True, NOW - HOUR, "ann", "disks", NOW + HOUR)
    seen = replace(
        WELL,
        health=Health(down),
        lag=part(Lag((PartitionLag(0, 5, 12, NOW - HOUR),))),  # type: ignore[arg-type]
        operations=part(operations(mode=mode)),  # type: ignore[arg-type]
    )
    assert [finding.severity for finding in findings(seen, SETTINGS)] == [Severity.NOW, Severity.KNOWN]
    assert headline(findings(seen, SETTINGS), seen) == "1 thing to be done now."


def test_bars_stand_on_the_ground_fit_in_and_a_single_event_can_be_seen() -> None:
    drawn = chart([(NOW, 0, 0), (NOW, 1_000_000, 0), (NOW, 1_000_000, 1_000_000), (NOW, 2, 1)])
    for bar in drawn.bars:
        assert bar.good_y + bar.good_height == HEIGHT
        assert bar.bad_y >= 0
    assert drawn.bars[0].good_height == drawn.bars[0].bad_height == 0
    assert drawn.bars[2].good_height == 0
    assert drawn.bars[3].good_height > 1
    assert drawn.bars[3].bad_height > 1
    assert chart([]).most == 0


def test_numbers_are_written_as_people_read_them() -> None:
    assert [ago(timedelta(seconds=n)) for n in (-5, 59, 119, 120, 7_200, 200_000)] == [
        "0 s", "59 s", "119 s", "2 min", "2 h", "2 d",
    ]  # fmt: skip
    assert [share(0, 0), share(0, 9), share(1, 100_000), share(1, 3)] == ["0 %", "0 %", "< 0.1 %", "33.3 %"]
    assert [size(999), size(1_500), size(10**13)] == ["999 B", "1.5 KB", "10.0 TB"]
