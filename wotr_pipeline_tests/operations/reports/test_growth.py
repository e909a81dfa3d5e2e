"""Growth and forecasts on series whose answer is known."""

import weakref
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from wotr_pipeline.operations.reports.forecast import forecast_of_the_disk
from wotr_pipeline.operations.reports.growth import line
from wotr_pipeline.operations.reports.measuring import by_prefix
from wotr_pipeline.stores.disk import Disk
from wotr_pipeline.stores.objects import ObjectInfo

FIRST = date(2026, 11, 1)
GB = 10**9


def days(*sizes: float, first: date = FIRST) -> list[tuple[date, float]]:
    return [(first + timedelta(days=number), size) for number, size in enumerate(sizes)]


def test_steady_growth_goes_on_from_the_last_size() -> None:
    through = line(days(*(1000.0 + 10 * n for n in range(28))))
    assert through is not None
    assert (through.bytes, through.growth, through.measured_days) == (1270, 10, 28)
    assert [through.after(n) for n in (30, 90, 365)] == [1570, 2170, 4920]
    assert through.days_until(500) == 50


def test_a_day_on_which_retention_dropped_a_month_does_not_bend_the_forecast() -> None:
    sizes = [1000.0 + 10 * n for n in range(28)]
    through = line(days(*sizes[:26], *(size - 400 for size in sizes[26:])))
    assert through is not None
    assert through.growth == 10
    assert through.bytes == 870


def test_a_day_that_was_not_measured_is_no_day_without_growth() -> None:
    measured = [point for number, point in enumerate(days(*(5.0 * n for n in range(12)))) if number % 3]
    through = line(measured)
    assert through is not None
    assert through.growth == 5


def test_what_shrinks_never_falls_below_nothing_and_never_fills_a_disk() -> None:
    through = line(days(100, 90, 80, 70))
    assert through is not None
    assert through.growth == -10
    assert through.after(365) == 0
    assert through.days_until(1) is None


@pytest.mark.parametrize("sizes", [(), (1.0,), (1.0, 2.0)])
def test_of_too_few_days_nothing_is_claimed(sizes: tuple[float, ...]) -> None:
    assert line(days(*sizes)) is None


def test_a_disk_is_full_when_its_own_growth_has_taken_what_is_free() -> None:
    disk = Disk(total=100 * GB, used=60 * GB, free=30 * GB)
    found = forecast_of_the_disk(days(*(60.0 * GB - GB * n for n in range(9, -1, -1))), disk)
    assert found.days_left == pytest.approx(30)
    assert not found.soon
    fuller = forecast_of_the_disk(days(*(60.0 * GB - 2 * GB * n for n in range(9, -1, -1))), disk)
    assert fuller.days_left == pytest.approx(15)
    assert fuller.soon


def test_of_a_past_day_the_room_is_what_was_free_then() -> None:
    disk = Disk(total=100 * GB, used=80 * GB, free=10 * GB)
    found = forecast_of_the_disk(days(50.0 * GB, 51.0 * GB, 52.0 * GB), disk)
    assert found.free == 38 * GB
    assert found.days_left == pytest.approx(38)


def test_a_full_disk_has_no_day_left() -> None:
    found = forecast_of_the_disk(days(98.0, 99.0, 100.0), Disk(total=100, used=100, free=0))
    assert (found.days_left, found.soon) == (0, True)


def test_a_disk_that_is_used_less_each_day_does_not_fill_up() -> None:
    found = forecast_of_the_disk(days(90.0, 80.0, 70.0), Disk(total=100, used=70, free=30))
    assert (found.never, found.days_left, found.soon) == (True, None, False)


def test_of_a_disk_elsewhere_nothing_is_known() -> None:
    found = forecast_of_the_disk(days(1, 2, 3), None)
    assert (found.free, found.days_left, found.soon) == (None, None, False)
    assert "not known" in found.why


def test_a_bucket_is_summed_by_prefix_without_keeping_its_objects() -> None:
    seen: list[weakref.ref[ObjectInfo]] = []
    alive = 0

    def listed() -> Iterator[ObjectInfo]:
        nonlocal alive
        for number in range(3000):
            info = ObjectInfo(f"{('raw/', 'curated/', 'mine/')[number % 3]}{number}", 7, datetime.now(UTC))
            seen.append(weakref.ref(info))
            yield info
        alive = sum(1 for found in seen if found() is not None)

    sums = {prefix: (objects, held) for prefix, objects, held in by_prefix(listed())}
    assert sums["raw/"] == sums["curated/"] == sums["(other)"] == (1000, 7000)
    assert sums["validated/"] == (0, 0)
    assert alive < 10
