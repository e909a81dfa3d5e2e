"""Stages that work at the same time on successive items, one item a stage.

Belongs here: the threads and their bounded hand-over. Landing waits for Kafka and the object store,
judging and loading wait for the engine; one after the other they would leave each other idle.
Does not belong here: what a stage does.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


class _End:
    """Follows the last item; carries what stopped the stage, if something did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def overlap(items: Iterable[Item], *stages: Callable[[Item], Item]) -> Iterator[Item]:
    """Yield each item after all stages, in order; each stage runs in a thread of its own, in the caller's context.

    At most one finished item waits between two stages, so memory holds at most two items a stage.
    An exception in ``items`` or a stage ends the iteration with that exception, after the items
    that were further along; when the consumer stops early, the stages stop after their item.
    """
    stopped = Event()
    queues: list[Queue[Item | _End]] = [Queue(maxsize=1) for _ in range(len(stages) + 1)]

    def put(queue: Queue[Item | _End], item: Item | _End) -> None:
        while not stopped.is_set():
            with suppress(Full):
                queue.put(item, timeout=_POLL_SECONDS)
                return

    def get(queue: Queue[Item | _End]) -> Item | _End:
        while not stopped.is_set():
            with suppress(Empty):
                return queue.get(timeout=_POLL_SECONDS)
        return _End()

    def feed() -> None:
        try:
            for item in items:
                put(queues[0], item)
                if stopped.is_set():
                    return
            put(queues[0], _End())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer's thread
            put(queues[0], _End(error))

    def work(stage: Callable[[Item], Item], source: Queue[Item | _End], target: Queue[Item | _End]) -> None:
        while True:
            item = get(source)
            if not isinstance(item, _End):
                try:
                    item = stage(item)
                except BaseException as error:  # noqa: BLE001 - as above
                    item = _End(error)
            put(target, item)
            if isinstance(item, _End):
                return

    threads = [Thread(target=copy_context().run, args=(feed,), name="feed", daemon=True)]
    for number, stage in enumerate(stages):
        threads.append(
            Thread(
                target=copy_context().run,
                args=(work, stage, queues[number], queues[number + 1]),
                name=getattr(stage, "__name__", "stage"),
                daemon=True,
            )
        )
    for thread in threads:
        thread.start()
    try:
        while True:
            item = get(queues[-1])
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
