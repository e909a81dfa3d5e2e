"""The gateway's register of ids: found again once entered, and nobody waits for somebody else's request."""

import asyncio

from wotr_pipeline.config import Settings
from wotr_pipeline.stores.kafka_publisher import Position
from wotr_pipeline.stores.seen_ids import SeenIds, Taken

AT_ONCE_SECONDS = 30
"""A question that the register forgets about would be answered with the next one, which here never comes."""


def taken(event_id: str, offset: int) -> Taken:
    return Taken(event_id, payload_size=7, position=Position("events", 0, offset), content_hash=-offset)


def test_what_was_entered_is_found_as_it_was_entered_first(ledger_space: Settings) -> None:
    async def ask() -> None:
        async with SeenIds(ledger_space) as seen, asyncio.timeout(AT_ONCE_SECONDS):
            await seen.note([taken("a", 1), taken("b", 2)])
            await seen.note([taken("b", 3)])
            found = await seen.find(["a", "b", "c"])
        assert {name: (one.position, one.content_hash) for name, one in found.items()} == {
            "a": (Position("events", 0, 1), -1),
            "b": (Position("events", 0, 2), -2),
        }

    asyncio.run(ask())


def test_a_question_that_comes_when_another_is_answered_does_not_wait_for_a_third(
    ledger_space: Settings,
) -> None:
    async def ask() -> None:
        async with SeenIds(ledger_space) as seen, asyncio.timeout(AT_ONCE_SECONDS):
            for number in range(20):
                await seen.find([f"id-{number}"])

    asyncio.run(ask())


def test_questions_of_many_are_each_answered(ledger_space: Settings) -> None:
    async def ask() -> None:
        async with SeenIds(ledger_space) as seen, asyncio.timeout(AT_ONCE_SECONDS):
            await seen.note([taken(f"id-{number}", number) for number in range(50)])
            answers = await asyncio.gather(*(seen.find([f"id-{number}", "none"]) for number in range(50)))
        for number, found in enumerate(answers):
            assert found[f"id-{number}"].position == Position("events", 0, number)
            assert "none" not in found

    asyncio.run(ask())
