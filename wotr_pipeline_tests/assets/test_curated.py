"""The curated tables' partitions: what a day is made of."""

from datetime import UTC, datetime

from wotr_pipeline.assets.curated import hours_of_a_day
from wotr_pipeline.assets.partitions import arrival_days, arrival_hours
from wotr_pipeline.config import Settings


def test_the_day_that_is_running_can_be_rebuilt_though_its_later_hours_are_still_to_come() -> None:
    days, hours = arrival_days(Settings()), arrival_hours(Settings())
    today = days.subset_with_partition_keys(["2026-11-25"])
    mapped = hours_of_a_day().get_upstream_mapped_partitions_result_for_partitions(
        today, days, hours, current_time=datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
    )
    assert list(mapped.partitions_subset.get_partition_keys()) == [
        "2026-11-25-00:00",
        "2026-11-25-01:00",
        "2026-11-25-02:00",
    ]
    assert mapped.required_but_nonexistent_subset.is_empty
