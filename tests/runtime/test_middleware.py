"""Middleware of handlers: order, outcome, context, stops, and what is refused."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib import testing

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")


@dataclass
class Blocking:
    n: int = 0


async def ended(rows: Rows, job: awa.Job) -> dict[str, Any]:
    over = ("completed", "failed", "cancelled", "retryable")
    await aeventually(lambda: rows.job(job.id)["state"] in over)
    return rows.job(job.id)


async def test_the_first_declared_is_outermost_and_sees_job_and_outcome(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    seen: list[object] = []

    @aclient.middleware
    async def outer(job: awa.Job, call_next: Callable[[], Any]) -> object:
        seen.append(("outer", job.args.n))
        result = await call_next()
        seen.append(result)
        return result

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> awa.Cancel:
        seen.append("handler")
        return awa.Cancel("enough")

    @aclient.middleware(Noop)
    async def inner(job: awa.Job, call_next: Callable[[], Any]) -> object:
        seen.append("inner")
        return await call_next()

    job = await aclient.insert(Noop(7))
    async with working(aclient):
        assert (await ended(rows, job))["state"] == "cancelled"

    assert seen == [("outer", 7), "inner", "handler", awa.Cancel("enough")]


async def test_a_plain_middleware_runs_in_the_thread_of_the_handler(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    threads: list[object] = []

    @aclient.middleware
    def named(job: awa.Job, call_next: Callable[[], Any]) -> object:
        threads.append(threading.current_thread())
        tenant.set("ada")
        return call_next()

    @aclient.task(Blocking)
    def handler(job: awa.Job) -> None:
        threads.append(threading.current_thread())
        threads.append(tenant.get())

    @aclient.task(Noop)
    async def other(job: awa.Job) -> None:
        threads.append(tenant.get())

    job = await aclient.insert(Blocking())
    async with working(aclient):
        await ended(rows, job)
        await ended(rows, await aclient.insert(Noop()))

    assert threads[0] is threads[1]
    assert threads[0] is not threading.current_thread()
    # The async handler has no plain middleware, and no variables of another attempt.
    assert threads[2:] == ["ada", "none"]


async def test_a_context_variable_of_an_async_middleware(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    seen: list[str] = []

    @aclient.middleware
    async def named(job: awa.Job, call_next: Callable[[], Any]) -> object:
        tenant.set(f"tenant {job.args.n}")
        return await call_next()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await asyncio.sleep(0)
        seen.append(tenant.get())

    jobs = await aclient.insert_many([Noop(1), Noop(2)])
    async with working(aclient):
        for job in jobs:
            await ended(rows, job)

    assert sorted(seen) == ["tenant 1", "tenant 2"]


@pytest.mark.parametrize("blocking", [False, True])
async def test_an_error_is_raised_translated_and_replaced(
    aclient: awa.AsyncClient, rows: Rows, blocking: bool
) -> None:
    class Gone(Exception):
        pass

    def before(n: int) -> None:
        if n == 1:
            raise Gone("refused")

    def translated(error: LookupError) -> Exception:
        return awa.TerminalError(f"no such thing: {error}")

    if blocking:

        @aclient.middleware
        def around(job: awa.Job, call_next: Callable[[], Any]) -> object:
            before(job.args.n)
            try:
                return call_next()
            except LookupError as error:
                raise translated(error) from error

        @aclient.middleware
        def inner(job: awa.Job, call_next: Callable[[], Any]) -> object:
            return call_next()

        @aclient.task(Blocking)
        def handler(job: awa.Job) -> None:
            raise {2: LookupError, 3: KeyboardInterrupt}[job.args.n]("from the handler")

    else:

        @aclient.middleware
        async def aaround(job: awa.Job, call_next: Callable[[], Any]) -> object:
            before(job.args.n)
            try:
                return await call_next()
            except LookupError as error:
                raise translated(error) from error

        @aclient.task(Blocking)
        async def ahandler(job: awa.Job) -> None:
            raise {2: LookupError, 3: KeyboardInterrupt}[job.args.n]("from the handler")

    jobs = await aclient.insert_many([Blocking(1), Blocking(2), Blocking(3)])
    async with working(aclient):
        refused, gone, interrupted = [await ended(rows, job) for job in jobs]

    assert refused["state"] == "retryable"
    assert "Gone: refused" in refused["errors"][0]["error"]
    assert gone["state"] == "failed"
    assert gone["errors"][0]["error"].startswith("TerminalError: no such thing")
    assert interrupted["state"] == "retryable"
    # From the handler on, and no frame of the worker between two functions.
    for row in (refused, gone, interrupted):
        assert "/awa_lib/" not in row["errors"][0]["error"]


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_a_stop_goes_through_the_middleware(
    aclient: awa.AsyncClient, rows: Rows, how: str
) -> None:
    seen: list[str] = []
    begun = asyncio.Event()

    @aclient.middleware
    async def around(job: awa.Job, call_next: Callable[[], Any]) -> object:
        try:
            return await call_next()
        except asyncio.CancelledError:
            seen.append(f"stopped, {job.is_cancelled()}")
            raise
        finally:
            seen.append("closed")

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        begun.set()
        await asyncio.Event().wait()

    job = await aclient.insert(Noop())
    queue = {"name": "default", "max_workers": 2, "deadline_seconds": 0.3}
    if how == "cancel":
        queue["deadline_seconds"] = 60
    async with working(aclient, queue, cancel_grace_ms=50):
        await begun.wait()
        if how == "cancel":
            await aclient.cancel(job.id)
        row = await ended(rows, job)
        await aeventually(lambda: len(seen) == 2)

    assert seen == ["stopped, True", "closed"]
    assert row["state"] == ("cancelled" if how == "cancel" else "retryable")


async def test_progress_and_follow_ups_of_a_middleware(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.middleware
    async def around(job: awa.Job, call_next: Callable[[], Any]) -> object:
        job.update_metadata({"by": "middleware"})
        await job.flush_progress()
        seen = rows.job(job.id)["progress"]["metadata"]
        assert seen == {"by": "middleware"}
        return await call_next()

    @aclient.follow_up(Noop, awa.Completed)
    def after(event: awa.Completed) -> Blocking:
        return Blocking(8)

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    job = await aclient.insert(Noop())
    async with working(aclient):
        assert (await ended(rows, job))["state"] == "completed"

    assert rows.one("SELECT args FROM awa.jobs WHERE kind = 'blocking'")["args"] == {"n": 8}


async def test_the_end_is_not_written_yet(aclient: awa.AsyncClient, rows: Rows) -> None:
    states: list[str] = []

    @aclient.middleware
    async def around(job: awa.Job, call_next: Callable[[], Any]) -> object:
        result = await call_next()
        states.append(rows.job(job.id)["state"])
        return result

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    job = await aclient.insert(Noop())
    async with working(aclient):
        await ended(rows, job)

    assert states == ["running"]


async def test_the_test_helpers_run_it(aclient: awa.AsyncClient) -> None:
    seen: list[int] = []

    @aclient.middleware
    async def around(job: awa.Job, call_next: Callable[[], Any]) -> object:
        seen.append(job.args.n)
        return await call_next()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    await aclient.insert(Noop(1))
    assert (await testing.work_one(aclient)).is_completed()
    with testing.inline(aclient):
        assert (await aclient.insert(Noop(2))).state == "completed"

    assert seen == [1, 2]


async def test_what_does_not_fit_is_refused(aclient: awa.AsyncClient) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    def plain(job: awa.Job, call_next: Callable[[], Any]) -> object:
        return call_next()

    async def coroutine(job: awa.Job, call_next: Callable[[], Any]) -> object:
        return await call_next()

    def generator(job: awa.Job, call_next: Callable[[], Any]) -> Any:
        yield

    with pytest.raises(TypeError, match="plain is plain and the handler of kind 'noop' is async"):
        aclient.middleware(Noop)(plain)
    with pytest.raises(TypeError, match="must not be a generator"):
        aclient.middleware(generator)
    with pytest.raises(TypeError, match="the job and call_next"):
        aclient.middleware(lambda job: None)  # type: ignore[arg-type, misc] # the mistake
    with pytest.raises(TypeError, match="callable"):
        aclient.middleware(7)  # type: ignore[call-overload] # the mistake

    aclient.middleware("blocking", Noop)(coroutine)
    with pytest.raises(awa.ValidationError, match="'blocking', which has no handler"):
        await aclient.start()
    with pytest.raises(TypeError, match="coroutine is async and the handler of kind 'blocking'"):
        aclient.task(Blocking)(lambda job: None)
    assert list(aclient._handlers) == ["noop"]

    aclient.task(Noop, kind="blocking")(handler)
    async with working(aclient):
        with pytest.raises(awa.AwaError, match="before start"):
            aclient.middleware(plain)


async def test_insert_middleware_changes_the_jobs_of_every_insert(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    calls: list[int] = []

    @aclient.insert_middleware
    def stamped(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
        calls.append(len(jobs))
        return [
            replace(
                job,
                args=Noop(job.args.n + 100),
                tags=[*(job.tags or ()), f"{job.kind}/{job.queue}"],
                metadata={**(job.metadata or {}), "tenant": "ada"},
            )
            for job in jobs
        ]

    aclient.kind(Noop, queue="declared", tags=["own"])
    job = await aclient.insert(Noop(1), metadata={"a": 1}, priority=1)
    assert (job.args, job.tags, job.queue) == (Noop(101), ["own", "noop/declared"], "declared")
    assert (job.metadata, job.priority) == ({"a": 1, "tenant": "ada"}, 1)
    await aclient.enqueue(Noop(2))
    two = [Noop(3), awa.NewJob(Noop(4), queue="other", delay=60)]
    assert len(await aclient.insert_many(two, tags=["t"])) == 2
    async with aclient.transaction() as tx:
        await tx.insert(Noop(5))
    await aclient.insert_many([Noop(n) for n in range(2000)], kind="many")
    assert await aclient.enqueue_many_copy((Noop(n) for n in range(7000)), kind="copied") == 7000
    unique = await aclient.insert(Noop(6), debounce=5)

    assert calls == [1, 1, 2, 1, 2000, 5000, 2000, 1]
    assert unique.args == Noop(106)
    assert rows.one("SELECT count(*) AS n FROM awa.jobs WHERE metadata->>'tenant' = 'ada'") == {
        "n": 9006
    }
    found = rows.all("SELECT args, tags, queue FROM awa.jobs WHERE kind = 'noop' ORDER BY id")
    assert found[2] == {"args": {"n": 103}, "tags": ["t", "noop/declared"], "queue": "declared"}
    assert found[3] == {"args": {"n": 104}, "tags": ["t", "noop/other"], "queue": "other"}


async def test_tasks_of_a_workflow_go_through_insert_middleware(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.insert_middleware
    def stamped(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
        return [replace(job, metadata={"tenant": "ada"}) for job in jobs]

    async with aclient.workflow("w") as flow:
        parts = flow.add_many([Noop(1), Noop(2)])
        flow.add(Noop(3), after=parts)
    async with aclient.extend_workflow(flow.id) as more:
        more.add(Noop(4))

    found = rows.all("SELECT args, metadata->>'tenant' AS tenant FROM awa.jobs ORDER BY id")
    assert found == [{"args": {"n": n}, "tenant": "ada"} for n in (1, 2, 4)]
    waiting = rows.all(
        "SELECT metadata FROM awa.workflow_nodes WHERE type = 'task' AND state = 'waiting'"
    )
    assert waiting == [{"metadata": {"tenant": "ada"}}]


def test_insert_middleware_of_a_blocking_client_may_refuse(database_url: str, rows: Rows) -> None:
    kinds = awa.Kinds()

    @kinds.insert_middleware
    def checked(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
        if any(job.args.n < 0 for job in jobs):
            raise PermissionError("not below zero")
        return jobs

    with awa.Client(database_url, kinds=kinds) as client, client.transaction() as tx:
        with pytest.raises(PermissionError, match="not below zero"):
            client.insert_many([Noop(1), Noop(-1)])
        with pytest.raises(PermissionError):
            tx.insert(Noop(-1))
        assert client.insert(Noop(1)).args == Noop(1)
        with pytest.raises(TypeError, match="unexpected keyword argument 'queu'"):
            client.insert(Noop(1), queu="q")  # type: ignore[call-overload] # the mistake

        @kinds.insert_middleware
        def in_place(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
            jobs[0] = replace(jobs[0], queue="other")
            return jobs

        assert client.insert(Noop(1)).queue == "other"

    assert rows.states() == {"available": 2}


async def test_schedules_and_follow_ups_go_through_insert_middleware(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.insert_middleware
    def tagged(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
        return [replace(job, tags=["seen"]) for job in jobs]

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    @aclient.follow_up(Noop, awa.Completed)
    def after(event: awa.Completed) -> Blocking | None:
        return Blocking()

    aclient.periodic("yearly", "@yearly", Noop, Noop())
    job = await aclient.insert(Noop())
    async with working(aclient):
        await ended(rows, job)

    assert rows.one("SELECT tags FROM awa.jobs WHERE kind = 'blocking'")["tags"] == ["seen"]
    assert rows.one("SELECT tags FROM awa.cron_jobs")["tags"] == ["seen"]


def test_what_insert_middleware_may_not_be_or_return(database_url: str) -> None:
    async def coroutine(jobs: list[awa.NewJob]) -> list[awa.NewJob]:
        return jobs

    def print_nothing() -> list[awa.NewJob]:
        return []

    with awa.Client(database_url) as client:
        with pytest.raises(TypeError, match="must be a plain function"):
            client.insert_middleware(coroutine)  # type: ignore[type-var] # the mistake
        with pytest.raises(TypeError, match="must take a list of jobs"):
            client.insert_middleware(print_nothing)  # type: ignore[type-var] # the mistake
        client.insert_middleware(lambda jobs: jobs[:1])
        with pytest.raises(awa.ValidationError, match=r"list of 2 NewJob(.|\n)*returned 1 items"):
            client.insert_many([Noop(1), Noop(2)])


async def test_a_function_behind_http_keeps_its_place(aclient: awa.AsyncClient, rows: Rows) -> None:
    """Its connections are closed with the worker, although it is inside a middleware."""
    closed = asyncio.Event()
    seen: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = [
            int(line.split(b":")[1])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length")
        ]
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}")
        assert await reader.read() == b""
        closed.set()
        writer.close()

    @aclient.middleware
    async def around(job: awa.Job, call_next: Callable[[], Any]) -> object:
        seen.append(job.id)
        return await call_next()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        aclient.http_worker("remote", f"http://127.0.0.1:{port}/", mode="sync")
        job = await aclient.insert({}, kind="remote")
        async with working(aclient):
            assert (await ended(rows, job))["state"] == "retryable"
            assert not closed.is_set()
        async with asyncio.timeout(5):
            await closed.wait()

    assert seen == [job.id]
