"""Whatever a handler does at its end: its slot is released, and its job has the right state."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import QUICK, Rows, working
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import awa_lib as awa


class Unprintable(Exception):
    """An int where text belongs, as in some clients of HTTP APIs."""

    def __str__(self) -> str:
        return 502  # noqa: PLE0307 - which is the point

    __repr__ = __str__


class Exiting(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class TimedOut(BaseException):
    """As in packages that stop functions from outside."""


class Meta(type):
    def __instancecheck__(cls, other: object) -> bool:
        raise KeyboardInterrupt


class Odd(Exception, metaclass=Meta):
    """isinstance() with it raises."""


class Text(str):
    __slots__ = ()

    def __getitem__(self, at: Any) -> str:
        raise RuntimeError("not to be cut")

    def __format__(self, spec: str) -> str:
        raise RuntimeError("not to be shown")

    def replace(self, *args: Any) -> str:
        raise RuntimeError("not to be changed")


class OddText(Exception):
    def __str__(self) -> str:
        return Text("odd")


def _cycle() -> BaseException:
    error = ValueError("round")
    error.__cause__ = error
    return error


async def _give(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def _fail() -> None:
    raise TimedOut


async def _agen() -> Any:
    yield 1


# What a handler may raise: each is a failed attempt, with a text in the job's errors.
RAISED: dict[str, Callable[[], BaseException]] = {
    "plain": lambda: RuntimeError("no"),
    "unprintable": Unprintable,
    "exiting": Exiting,
    "odd text": OddText,
    "huge": lambda: RuntimeError("x" * 3_000_000),
    "not for Postgres": lambda: RuntimeError("a\x00b\udc80c"),
    "base": lambda: TimedOut("30 s"),
    "generator": GeneratorExit,
    "interrupt": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "stop": lambda: StopIteration(7),
    "async stop": StopAsyncIteration,
    "cancelled": asyncio.CancelledError,
    "group": lambda: BaseExceptionGroup("many", [KeyboardInterrupt(), ValueError("one")]),
    "cycle": _cycle,
}
# What a handler may return, and the state it makes.
RETURNED: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, "completed"),
    "data": (lambda: {"a": 1}, "completed"),
    "snooze": (lambda: awa.Snooze(10**400), "scheduled"),
    "later": (lambda: awa.RetryAfter(float("inf")), "retryable"),
    "no number": (lambda: awa.RetryAfter(float("nan")), "retryable"),
    "cancel": (lambda: awa.Cancel(Text("why")), "cancelled"),
    "coroutine": (lambda: _give(awa.Cancel("inner")), "cancelled"),
    "coroutines": (lambda: _give(_give(None)), "completed"),
    "failing coroutine": (_fail, "retryable"),
    "generator": (lambda: (n for n in range(3)), "failed"),
    "async generator": (_agen, "failed"),
    "class": (lambda: awa.Snooze, "failed"),
}


def _end(how: str) -> Any:
    group, name = how.split(": ")
    if group == "raise":
        error = RAISED[name]()
        raise error
    return RETURNED[name][0]()


ENDS = [f"raise: {name}" for name in RAISED] + [f"return: {name}" for name in RETURNED]


def _state(how: str) -> str:
    group, name = how.split(": ")
    return "retryable" if group == "raise" else RETURNED[name][1]


def _register(client: awa.AsyncClient) -> None:
    @client.task(dict, kind="async")
    async def on_loop(job: awa.Job) -> Any:
        if job.args.get("wait"):
            await asyncio.sleep(0)
        return _end(job.args["how"])

    @client.task(dict, kind="thread")
    def in_thread(job: awa.Job) -> Any:
        return _end(job.args["how"])

    client.task(dict, kind="lambda")(lambda job: _later(job.args["how"]))


async def _later(how: str) -> Any:
    await asyncio.sleep(0)
    return _end(how)


class Worker:
    """A worker on an event loop of its own, shared by all examples."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.runner = asyncio.Runner()
        self.client = awa.AsyncClient(url)
        _register(self.client)

    async def start(self) -> None:
        await self.client.start([("default", 4)], **QUICK | {"promote_interval_ms": 60_000})

    async def stop(self) -> None:
        await self.client.shutdown(2000)
        await self.client.close()

    async def check(self, ends: list[tuple[str, str, bool]]) -> None:
        jobs = [
            await self.client.insert({"how": how, "wait": wait}, kind=kind)
            for kind, how, wait in ends
        ]
        wanted = {
            (job.id, kind, how): _state(how) for job, (kind, how, _) in zip(jobs, ends, strict=True)
        }

        async def states_match() -> bool:
            async with await psycopg.AsyncConnection.connect(self.url) as conn:
                found = await conn.execute(
                    "SELECT id, kind, args->>'how', state::text FROM awa.jobs WHERE id = ANY(%s)",
                    [[job.id for job in jobs]],
                )
                states = {tuple(row[:3]): row[3] for row in await found.fetchall()}
                assert states.items() - wanted.items() == set()
                return True

        await aeventually(states_match)

        async def free() -> bool:
            health = await self.client.health_check()
            return health.healthy and health.queues["default"].in_flight == 0

        await aeventually(free)


@pytest.fixture
def worker(database_url: str) -> Iterator[Worker]:
    worker = Worker(database_url)
    with worker.runner:
        worker.runner.run(worker.start())
        yield worker
        worker.runner.run(worker.stop())


def test_random_ends_leave_every_slot_free_and_every_row_true(worker: Worker) -> None:
    @settings(
        max_examples=20,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],  # what fails waits for long, and a shorter list shows nothing new
    )
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["async", "thread", "lambda"]), st.sampled_from(ENDS), st.booleans()
            ),
            max_size=12,
        )
    )
    def run(ends: list[tuple[str, str, bool]]) -> None:
        worker.runner.run(worker.check(ends))

    run()
    everything = [(kind, how, False) for kind in ("async", "thread", "lambda") for how in ENDS]
    worker.runner.run(worker.check(everything))


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_errors_say_what_can_be_said(aclient: awa.AsyncClient, rows: Rows, kind: str) -> None:
    _register(aclient)
    jobs = {
        name: await aclient.insert({"how": f"raise: {name}"}, kind=kind, max_attempts=1)
        for name in ("unprintable", "exiting", "odd text", "huge", "not for Postgres", "group")
    }
    async with working(aclient):
        await aeventually(lambda: rows.states() == {"failed": len(jobs)})

    def said(name: str) -> str:
        return rows.job(jobs[name].id)["errors"][0]["error"].partition("\n")[0]

    assert said("unprintable") == "Unprintable: (its text cannot be shown: TypeError in __str__)"
    assert said("exiting") == "Exiting: (its text cannot be shown: SystemExit in __str__)"
    assert said("odd text") == "OddText: odd"
    assert 1_000 < len(said("huge")) <= 16_000
    assert said("not for Postgres") == "RuntimeError: a\N{REPLACEMENT CHARACTER}b?c"
    assert said("group").startswith("BaseExceptionGroup: many (2 sub-exceptions)")


async def test_policies_and_functions_that_fail_in_every_way(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(dict, kind="odd", discard_on=Odd)
    async def odd(job: awa.Job) -> None:
        raise RuntimeError

    def backoff(attempt: int, error: BaseException) -> float:
        raise SystemExit

    @aclient.task(dict, kind="backoff", backoff=backoff)
    async def backs_off(job: awa.Job) -> None:
        raise RuntimeError

    @aclient.task(dict, kind="long", backoff=awa.exponential(1, factor=10, most=float("inf")))
    def long(job: awa.Job) -> None:
        raise RuntimeError

    @aclient.task(dict, kind="follow")
    async def followed(job: awa.Job) -> None: ...

    @aclient.follow_up("follow", awa.Completed)
    def follow(event: Any) -> None:
        raise GeneratorExit

    jobs = [await aclient.insert({}, kind=kind) for kind in ("odd", "backoff", "long", "follow")]
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        conn.execute(
            "UPDATE awa.jobs_hot SET attempt = 900, max_attempts = 1000 WHERE id = %s", [jobs[2].id]
        )
    async with working(aclient, ("default", 2), promote_interval_ms=60_000):
        await aeventually(lambda: rows.states() == {"retryable": 4})
        health = await aclient.health_check()

    assert health.queues["default"].in_flight == 0
    delay = rows.job(jobs[2].id)["run_at"] - rows.job(jobs[2].id)["finalized_at"]
    assert delay.days > 36_000


async def test_rows_and_args_that_cannot_be_read(aclient: awa.AsyncClient, rows: Rows) -> None:
    """Postgres keeps JSON of a depth, and numbers of a size, that Python does not read."""
    deep = "[" * 3000 + "]" * 3000
    seen: list[Any] = []

    @aclient.task(dict, kind="noop")
    async def noop(job: awa.Job) -> None:
        seen.append(job.id)

    ids = [(await aclient.insert({}, kind="noop")).id for _ in range(4)]
    args, progress, metadata, plain = ids
    update = "UPDATE awa.jobs_hot SET {} = %s WHERE id = %s"
    for column, job_id in (("args", args), ("progress", progress), ("metadata", metadata)):
        text = '{"_awa_crashes": 2, "deep": ' + deep + "}"
        rows.conn.execute(update.format(column), (text, job_id))
    # Python 3.13 reads deeper than those before it.
    try:
        json.loads(text)
    except RecursionError:
        expected, ran = {"completed": 3, "failed": 1}, [progress, metadata, plain]
    else:
        expected, ran = {"completed": 4}, ids
    async with working(aclient, ("default", 1)):
        await aeventually(lambda: rows.states() == expected)

    assert sorted(seen) == sorted(ran)


async def test_a_cancel_before_the_first_step_costs_no_slot(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """The notification comes in the turn of the event loop that starts the attempts."""
    begun: list[int] = []

    @aclient.task(dict, kind="noop")
    async def noop(job: awa.Job) -> None:
        begun.append(job.id)

    loop, real = asyncio.get_running_loop(), None

    async with working(aclient, ("default", 2), cancel_grace_ms=0) as client:
        real = loop.create_task

        def create(coro: Any, **options: Any) -> Any:
            task = real(coro, **options)
            if coro.__qualname__ == "Executor._run":
                task.cancel()
                loop.create_task = real
            return task

        loop.create_task = create
        first = await client.insert({}, kind="noop")
        await aeventually(lambda: rows.job(first.id)["state"] != "running")
        later = [await client.insert({}, kind="noop") for _ in range(3)]
        await aeventually(lambda: {job.id for job in later} <= set(begun))
        await aeventually(lambda: rows.job(later[2].id)["state"] == "completed")
        health = await client.health_check()

    assert health.queues["default"].in_flight == 0


async def test_a_job_twice_in_one_process(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """The old attempt hangs in its thread; the new attempt runs too, and each has its slot."""
    go, ran = threading.Event(), []

    @aclient.task(dict, kind="hangs")
    def hangs(job: awa.Job) -> None:
        ran.append(job.attempt)
        if job.attempt == 1:
            go.wait(20)

    queue = {"name": "default", "max_workers": 2, "deadline_seconds": 0.3, "backoff": awa.fixed(0)}
    try:
        async with working(aclient, queue) as client:
            job = await client.insert({}, kind="hangs")
            await aeventually(lambda: rows.job(job.id)["state"] == "completed")
            health = await client.health_check()
            assert health.queues["default"].in_flight == 1
            began = asyncio.get_running_loop().time()
            with caplog.at_level(logging.INFO, "awa_lib"):
                await client.shutdown(200)
            assert asyncio.get_running_loop().time() - began < 2
            assert [r.abandoned for r in caplog.records if hasattr(r, "abandoned")] == [[job.id]]
    finally:
        go.set()

    assert ran == [1, 2]


async def test_two_ends_of_a_job_do_not_share_a_statement(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """It would find one lease for both: here that of the attempt that has lost the job."""
    begin = asyncio.Event()

    @aclient.task(dict, kind="waits")
    async def waits(job: awa.Job) -> None:
        await begin.wait()

    async with working(
        aclient, leads=False, heartbeat_interval_ms=60_000, heartbeat_staleness_ms=180_000
    ) as client:
        job = await client.insert({}, kind="waits")
        runtime = client._runtime
        (attempt,) = await aeventually(lambda: list(runtime._executor.attempts.values()))
        lost = copy.copy(attempt)
        lost.lease = attempt.lease - 1
        runtime._completer.complete(attempt)
        runtime._completer.complete(lost)
        await aeventually(lambda: runtime._completer.pending == 0)
        state = rows.job(job.id)["state"]
        begin.set()

    assert state == "completed"


async def test_text_that_the_database_refuses_is_left_out(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(dict, kind="fails")
    async def fails(job: awa.Job) -> None:
        raise awa.TerminalError("5 \N{EURO SIGN}")

    rows.conn.execute(
        "ALTER TABLE awa.jobs_hot ADD CONSTRAINT no_euro"
        " CHECK (strpos(errors::text, '\N{EURO SIGN}') = 0)"
    )
    async with working(aclient) as client:
        job = await client.insert({}, kind="fails")
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    assert rows.job(job.id)["errors"][0]["error"].startswith("TerminalError: 5 \\u20ac")


def _generator(job: awa.Job) -> Any:
    yield


async def _async_generator(job: awa.Job) -> Any:
    yield


class _Yielding:
    def __call__(self, job: awa.Job) -> Any:
        yield


@functools.wraps(_generator)
def _wrapper(job: awa.Job) -> Any:
    return _generator(job)


@pytest.mark.parametrize(
    "handler",
    [
        _generator,
        _async_generator,
        functools.partial(_generator),
        functools.partial(functools.partial(_async_generator)),
        _Yielding(),
        _Yielding().__call__,
        _wrapper,
        functools.partial(_wrapper),
        functools.lru_cache(_generator),
    ],
)
def test_generators_are_refused_at_registration(handler: Any) -> None:
    client = awa.AsyncClient("postgresql://nowhere/none")
    with pytest.raises(TypeError, match="a handler must not be a generator"):
        client.task(dict, kind="g")(handler)


@functools.wraps(_async_generator)
async def _driver(job: awa.Job) -> None:
    async for _ in _async_generator(job):
        pass


def test_a_coroutine_function_may_drive_a_generator() -> None:
    awa.AsyncClient("postgresql://nowhere/none").task(dict, kind="g")(_driver)
