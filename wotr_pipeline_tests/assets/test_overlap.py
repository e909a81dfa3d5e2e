"""Stages at the same time: the order stays, an error ends it, memory stays bounded."""

from collections.abc import Iterator
from threading import Barrier, Event

import pytest

from wotr_pipeline.assets.overlap import overlap


def test_items_leave_in_the_order_in_which_they_came() -> None:
    assert list(overlap(range(50), lambda n: n + 1, lambda n: n * 2)) == [(n + 1) * 2 for n in range(50)]


def test_stages_work_at_the_same_time_on_successive_items() -> None:
    together = Barrier(2, timeout=10)

    def meet(number: int) -> int:
        together.wait()
        return number

    def meet_later(number: int) -> int:
        if number < 3:
            together.wait()
        return number

    # Item n+1 in the first stage waits for item n in the second: one after the other, nobody would come.
    first = iter(range(4))

    def skip_the_first(number: int) -> int:
        return meet(number) if number else number

    assert list(overlap(first, skip_the_first, meet_later)) == [0, 1, 2, 3]


def test_an_error_in_a_stage_ends_the_iteration_after_the_items_ahead_of_it() -> None:
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    seen = []
    with pytest.raises(ValueError, match="three"):
        seen.extend(overlap(range(10), fail_at_three, lambda n: n))
    assert seen == [0, 1, 2]


def test_an_error_in_the_source_reaches_the_consumer() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(overlap(source(), lambda n: n))


def test_a_slow_consumer_holds_the_source_back() -> None:
    taken = 0
    full = Event()

    def source() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            if taken == 5:
                full.set()
            yield number

    results = overlap(source(), lambda n: n, lambda n: n)
    assert next(results) == 0
    assert full.wait(10)
    results.close()  # type: ignore[attr-defined]
    # At most one item in each of three queues, one in each stage, one at the source, one consumed.
    assert taken <= 8
