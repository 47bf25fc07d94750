"""Being stopped: the flag at once, CancelledError after a grace, and handlers that ignore it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa

GIVEN_UP = "a handler goes on after CancelledError"


async def in_flight(client: awa.AsyncClient) -> int:
    return (await client.health_check()).queues["default"].in_flight


async def test_a_handler_that_polls_ends_in_order(aclient: awa.AsyncClient, rows: Rows) -> None:
    started, ends = asyncio.Event(), []

    @aclient.task(dict, kind="polls")
    async def polls(job: awa.Job) -> None:
        started.set()
        try:
            while not job.is_cancelled():
                await asyncio.sleep(0.01)
            ends.append("in order")
        except asyncio.CancelledError:
            ends.append("cut off")
            raise

    job = await aclient.insert({}, kind="polls")
    async with working(
        aclient, heartbeat_interval_ms=60_000, heartbeat_staleness_ms=180_000
    ) as client:
        await started.wait()
        await client.cancel(job.id)
        await aeventually(lambda: ends)
        assert await in_flight(client) == 0

    assert ends == ["in order"]
    assert rows.job(job.id)["state"] == "cancelled"


async def test_an_end_within_the_grace_of_a_deadline_counts(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(dict, kind="polls")
    async def polls(job: awa.Job) -> None:
        while not job.is_cancelled():
            await asyncio.sleep(0.01)

    job = await aclient.insert({}, kind="polls")
    queue = {"name": "default", "max_workers": 2, "deadline_seconds": 0.2}
    async with working(aclient, queue, deadline_rescue_interval_ms=60_000):
        await aeventually(lambda: rows.job(job.id)["state"] != "running")

    assert rows.job(job.id)["state"] == "completed"


async def test_cancelled_error_comes_after_the_grace(aclient: awa.AsyncClient, rows: Rows) -> None:
    started, waited = asyncio.Event(), []

    @aclient.task(dict, kind="waits")
    async def waits(job: awa.Job) -> None:
        started.set()
        while not job.is_cancelled():
            await asyncio.sleep(0.001)
        began = time.monotonic()
        try:
            await asyncio.Event().wait()
        finally:
            waited.append(time.monotonic() - began)

    job = await aclient.insert({}, kind="waits")
    async with working(
        aclient, heartbeat_interval_ms=60_000, heartbeat_staleness_ms=180_000, cancel_grace_ms=300
    ) as client:
        await started.wait()
        await client.cancel(job.id)
        await aeventually(lambda: waited)

    assert 0.25 < waited[0] < 2


@pytest.mark.parametrize("reason", ["deadline", "cancel"])
async def test_one_that_swallows_is_given_up_and_keeps_its_slot(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    go, started = asyncio.Event(), asyncio.Event()

    @aclient.task(dict, kind="swallows")
    async def swallows(job: awa.Job) -> None:
        started.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                pass

    job = await aclient.insert({}, kind="swallows", max_attempts=1)
    queue = {
        "name": "default",
        "max_workers": 2,
        "deadline_seconds": 0.2 if reason == "deadline" else None,
    }
    with caplog.at_level(logging.WARNING, "awa_lib"):
        async with working(
            aclient, queue, deadline_rescue_interval_ms=60_000, cancel_grace_ms=50
        ) as client:
            await started.wait()
            if reason == "cancel":
                await client.cancel(job.id)
            await aeventually(lambda: any(GIVEN_UP in r.getMessage() for r in caplog.records))
            assert await in_flight(client) == 1
            state = "failed" if reason == "deadline" else "cancelled"
            await aeventually(lambda: rows.job(job.id)["state"] == state)
            go.set()
            await aeventually(lambda: _is_free(client))

    assert rows.job(job.id)["state"] == state
    (logged,) = [r for r in caplog.records if GIVEN_UP in r.getMessage()]
    assert (logged.job_id, logged.kind) == (job.id, "swallows")


async def _is_free(client: awa.AsyncClient) -> bool:
    return await in_flight(client) == 0


async def test_a_drain_is_bounded_whatever_hangs(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    go, release, begun = asyncio.Event(), threading.Event(), []

    @aclient.task(dict, kind="swallows")
    async def swallows(job: awa.Job) -> None:
        begun.append(job.id)
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                pass

    @aclient.task(dict, kind="hangs")
    def hangs(job: awa.Job) -> None:
        begun.append(job.id)
        release.wait(20)

    @aclient.task(dict, kind="ends")
    async def ends(job: awa.Job) -> None:
        begun.append(job.id)
        await asyncio.Event().wait()

    jobs = [await aclient.insert({}, kind=kind) for kind in ("swallows", "hangs", "ends")]
    try:
        with caplog.at_level(logging.INFO, "awa_lib"):
            async with working(aclient) as client:
                await aeventually(lambda: len(begun) == 3)
                before = time.monotonic()
                await client.shutdown(300)
                assert time.monotonic() - before < 0.3 + 1 + 1
    finally:
        go.set()
        release.set()

    (left,) = [r.abandoned for r in caplog.records if hasattr(r, "abandoned")]
    assert sorted(left) == sorted(job.id for job in jobs[:2])
    ended = rows.job(jobs[2].id)
    assert (ended["state"], ended["attempt"]) == ("available", 0)


@pytest.mark.parametrize("verb", ["flush_progress", "register_callback", "wait_for_callback"])
async def test_sync_forms_refuse_at_once_on_the_event_loop(
    aclient: awa.AsyncClient, rows: Rows, verb: str
) -> None:
    errors: list[awa.AwaError] = []

    @aclient.task(dict, kind="wrong")
    async def wrong(job: awa.Job) -> None:
        job.set_progress(1)
        args = [awa.CallbackToken("x")] if verb == "wait_for_callback" else []
        try:
            getattr(job, f"{verb}_sync")(*args)
        except awa.AwaError as error:
            errors.append(error)

    job = await aclient.insert({}, kind="wrong")
    async with working(aclient):
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert str(errors[0]) == f"{verb}_sync was called on the event loop"
    assert errors[0].hint == f"await job.{verb}(...) instead"


async def test_a_lambda_that_gives_a_coroutine_is_cancelled_like_an_async_handler(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    seen: list[str] = []
    main = threading.current_thread().name

    async def work(job: awa.Job) -> None:
        seen.append(threading.current_thread().name)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    aclient.task(dict, kind="l")(lambda job: work(job))  # noqa: PLW0108 - a plain function that gives a coroutine
    job = await aclient.insert({}, kind="l")
    async with working(aclient, cancel_grace_ms=0) as client:
        await aeventually(lambda: seen == [main])
        await client.cancel(job.id)
        await aeventually(lambda: seen == [main, "cancelled"])


async def test_accepted_progress_is_what_is_written(aclient: awa.AsyncClient, rows: Rows) -> None:
    from datetime import UTC, datetime
    from decimal import Decimal
    from uuid import UUID

    refused: dict[str, str] = {}
    moment, number = datetime(2026, 1, 2, tzinfo=UTC), UUID(int=7)

    @aclient.task(dict, kind="notes")
    async def notes(job: awa.Job) -> None:
        later: dict[str, Any] = {"n": 1}
        job.update_metadata({"at": moment, "d": Decimal("1.10"), "u": number, "s": {2, 1}})
        job.update_metadata({"later": later})
        later["n"] = object()
        assert job.progress is not None
        job.progress["metadata"]["later"] = object()
        for name, wrong in {
            "updates.x": {"x": float("nan")},
            "updates": {1: 2},
            "updates.o": {"o": object()},
            "updates.t": {"t": "\x00"},
        }.items():
            try:
                job.update_metadata(wrong)
            except awa.SerializationError as error:
                refused[name] = str(error)
        job.set_progress(3, "three")
        raise RuntimeError

    job = await aclient.insert({}, kind="notes")
    async with working(aclient, promote_interval_ms=60_000):
        await aeventually(lambda: rows.job(job.id)["state"] == "retryable")

    assert rows.job(job.id)["progress"] == {
        "percent": 3,
        "message": "three",
        "metadata": {
            "at": moment.isoformat(),
            "d": "1.10",
            "u": str(number),
            "s": [1, 2],
            "later": {"n": 1},
        },
    }
    assert all(text.startswith(f"{name}:") for name, text in refused.items())
    assert len(refused) == 4
