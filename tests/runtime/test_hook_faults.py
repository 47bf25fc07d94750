"""Hooks that raise, hang, return awaitables, or fall behind."""

from __future__ import annotations

import asyncio
import functools
import threading
import time

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.runtime import deliveries


class _Odd(BaseException):
    """What no handler of exceptions expects."""


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(),
        asyncio.CancelledError(),
        _Odd("odd"),
    ],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_hook_may_raise_anything(
    aclient: awa.AsyncClient, rows: Rows, caplog, error: BaseException, plain: bool
) -> None:
    """It is logged with the job, the next hook goes on, and so does the worker."""
    heard: list[int] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    def bad(event: awa.Completed) -> None:
        raise error

    async def bad_async(event: awa.Completed) -> None:
        raise error

    aclient.on_event(Noop, awa.Completed)(bad if plain else bad_async)
    aclient.on_event(Noop, awa.Completed)(lambda event: heard.append(event.job.id))
    async with working(aclient):
        first = await aclient.insert(Noop())
        await aeventually(lambda: heard == [first.id])
        second = await aclient.insert(Noop())
        await aeventually(lambda: heard == [first.id, second.id])

    logged = [
        r for r in caplog.records if r.getMessage() == "a hook failed; its job is not affected"
    ]
    assert [r.job_id for r in logged] == [first.id, second.id]


async def test_awaitable_of_a_plain_hook_is_awaited(aclient: awa.AsyncClient) -> None:
    heard: list[str] = []

    async def note(word: str, event: awa.Completed) -> None:
        await asyncio.sleep(0)
        heard.append(word)

    class Hook:
        async def __call__(self, event: awa.Completed) -> None:
            await note("object", event)

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    for hook in (lambda event: note("lambda", event), functools.partial(note, "partial"), Hook()):
        aclient.on_event(Noop, awa.Completed)(hook)
    async with working(aclient):
        await aclient.insert(Noop())
        await aeventually(lambda: len(heard) == 3)

    assert heard == ["lambda", "partial", "object"]


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_hanging_hook_delays_no_other_job(
    aclient: awa.AsyncClient, rows: Rows, plain: bool
) -> None:
    """And shutdown does not wait for it."""
    heard: set[int] = set()
    never = threading.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    def hang(event: awa.Completed) -> None:
        if event.job.args.n < 10:
            never.wait(60)
        heard.add(event.job.args.n)

    async def hang_async(event: awa.Completed) -> None:
        if event.job.args.n < 10:
            await asyncio.Event().wait()
        heard.add(event.job.args.n)

    aclient.on_event(Noop, awa.Completed)(hang if plain else hang_async)
    async with working(aclient, ("default", 50)):
        await aclient.insert_many([Noop(n) for n in range(50)])
        await aeventually(lambda: len(heard) == 40)
        began = time.monotonic()
        await aclient.shutdown(100)
    never.set()

    assert time.monotonic() - began < 4


async def test_events_of_a_job_are_heard_in_order(aclient: awa.AsyncClient) -> None:
    """Though the hook of the first one takes long."""
    heard: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    @aclient.on_event(Noop)
    async def hook(event: awa.Event) -> None:
        if isinstance(event, awa.Started):
            await asyncio.sleep(0.2)
        heard.append(type(event).__name__)

    async with working(aclient):
        await aclient.insert(Noop())
        await aeventually(lambda: len(heard) == 2)

    assert heard == ["Started", "Completed"]


async def test_generator_is_no_hook(aclient: awa.AsyncClient) -> None:
    def hook(event: awa.Event):
        yield event

    with pytest.raises(TypeError, match="a hook must not be a generator"):
        aclient.on_event(Noop)(hook)


async def test_jobs_are_not_claimed_while_hooks_are_far_behind(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch
) -> None:
    monkeypatch.setattr(deliveries, "_UNDELIVERED_EVENTS", 20)
    go = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    @aclient.on_event(Noop, awa.Completed)
    async def hook(event: awa.Event) -> None:
        await go.wait()

    async with working(aclient, ("default", 10), claim_batch=10):
        await aclient.insert_many([Noop(n) for n in range(20)])
        await aeventually(lambda: rows.states() == {"completed": 20})
        await aclient.insert_many([Noop(n) for n in range(60)])
        await asyncio.sleep(0.3)
        # Claims that were under way when the last hooks began may have come through.
        assert rows.states()["available"] >= 30
        go.set()
        await aeventually(lambda: rows.states() == {"completed": 80})
