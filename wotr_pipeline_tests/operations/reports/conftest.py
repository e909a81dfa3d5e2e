"""A space with two weeks of events, for tests that only read it.

Belongs here: the events, with numbers that the tests name. Does not belong here: what a report makes of them.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from wotr_pipeline.assets.curated import HOURLY, refresh
from wotr_pipeline.config import Settings
from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline_tests.checks.conftest import LoadedHour
from wotr_pipeline_tests.conftest import new_space
from wotr_pipeline_tests.produced import BAD, event

MONDAY = date(2026, 11, 9)
TUESDAY = datetime(2026, 11, 10, 8, tzinfo=UTC)
WEEK_BEFORE = TUESDAY - timedelta(days=7)
SCRIPT = "<script>alert('x')</script>"
MARKED = "a|b `c` [link](http://evil.test) *_d_* # e"
SECRET = "hunter2"


@pytest.fixture(scope="package")
def reported(platform: Settings, servers: Platform) -> Iterator[LoadedHour]:
    """In the week: 30 events of SCRIPT, 10 of MARKED, 4 rejected ones. In the week before: 20 of SCRIPT."""
    with new_space(servers) as settings:
        hour = LoadedHour(settings, WEEK_BEFORE)
        earlier = [event(f"e{n}", WEEK_BEFORE + timedelta(minutes=5), source=SCRIPT) for n in range(20)]
        hour.carry(hour.plan(0, 0, 20), list(earlier))
        hour.hour, happened = TUESDAY, TUESDAY + timedelta(minutes=5)
        messages: list[bytes | None] = [
            *(event(f"s{n}", happened, source=SCRIPT, data={"password": SECRET}) for n in range(30)),
            *(event(f"m{n}", happened, source=MARKED) for n in range(10)),
            *BAD,
        ]
        hour.carry(hour.plan(0, 20, len(messages)), messages)
        for start in (WEEK_BEFORE, TUESDAY):
            for table in HOURLY:
                parameters = {"hour": int(start.timestamp())}
                refresh(hour.warehouse, hour.ledger, "test", table, f"{start:%Y%m%d}", parameters)
        # One part: nothing is merged while a test compares sizes.
        hour.warehouse.client.command("OPTIMIZE TABLE ingested_data FINAL")
        yield hour
        hour.close()
