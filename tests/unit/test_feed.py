"""A feed: goes on after a loss, can be held and hurried."""

from __future__ import annotations

import asyncio

from awa_cli.feed import Feed
from awa_lib.errors import Unavailable


async def test_a_feed_goes_on_after_a_loss_and_reads_nothing_while_held() -> None:
    answers = iter([Unavailable("gone"), 1, 2, 3])
    asked = 0

    async def read() -> int:
        nonlocal asked
        asked += 1
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    feed = Feed(read, 0.01)
    readings = aiter(feed)
    first, second = await anext(readings), await anext(readings)
    assert ("gone", 1) == (str(first.error), second.value)

    feed.hold()
    waiting = asyncio.ensure_future(anext(readings))
    await asyncio.sleep(0.05)
    assert (2, False) == (asked, waiting.done())
    feed.go_on()
    assert 2 == (await waiting).value
    await readings.aclose()


async def test_a_feed_that_is_hurried_does_not_wait() -> None:
    async def read() -> int:
        return 1

    feed = Feed(read, 3600)
    readings = aiter(feed)
    await anext(readings)
    waiting = asyncio.ensure_future(anext(readings))
    await asyncio.sleep(0)
    feed.hurry()
    async with asyncio.timeout(5):
        assert 1 == (await waiting).value
    await readings.aclose()
