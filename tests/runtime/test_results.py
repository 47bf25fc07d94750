"""Results: what a handler returns is kept with the completion of its job."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, working
from pydantic import BaseModel

import awa_lib as awa
from awa_lib import _sql
from awa_lib.db.connect import as_options
from awa_lib.runtime.sessions import HOT_PLANS

OF = "SELECT value, size_bytes, expires_at - written_at AS kept FROM awa.job_results"


@dataclass
class Report:
    n: int = 1


@dataclass
class Made:
    pages: int
    tags: set[str]


class Model(BaseModel):
    name: str
    at: timedelta


class Words(TypedDict):
    words: list[str]


VALUES: list[tuple[Any, Any, Any]] = [
    (Made, Made(2, {"b", "a"}), {"pages": 2, "tags": ["a", "b"]}),
    (Model, Model(name="ü", at=timedelta(seconds=90)), {"name": "ü", "at": "PT1M30S"}),
    (Words, {"words": ["x", 'y"\\']}, {"words": ["x", 'y"\\']}),
    (list[Made], [Made(1, set())], [{"pages": 1, "tags": []}]),
    (int, 7, 7),
    (str, "{}", "{}"),
    (None, None, None),
]


@pytest.mark.parametrize(("hint", "value", "stored"), VALUES, ids=[str(v[0]) for v in VALUES])
@pytest.mark.parametrize("blocking", [False, True])
async def test_what_comes_back_is_what_was_returned(
    aclient, rows, hint, value, stored, blocking
) -> None:
    def plain(job: awa.Job) -> Any:
        return value

    async def coroutine(job: awa.Job) -> Any:
        return value

    handler = plain if blocking else coroutine
    handler.__annotations__["return"] = hint
    aclient.task(Report, result=True)(handler)
    async with working(aclient):
        found = await aclient.result(await aclient.insert(Report()), timeout=10)

    assert found == value
    assert type(found) is type(value)
    assert rows.one(OF)["value"] == stored


async def test_other_outcomes_stay_outcomes(aclient, rows) -> None:
    @aclient.task(Report, result=True)
    async def handler(job: awa.Job[Report]) -> Made | awa.Snooze | awa.Cancel | awa.RetryAfter:
        if job.args.n == 1:
            return awa.Cancel("not today")
        if job.args.n == 2:
            return awa.Snooze(60)
        return Made(1, set())

    async with working(aclient):
        jobs = [await aclient.insert(Report(n)) for n in (1, 2, 3)]
        with pytest.raises(awa.JobFailed) as cancelled:
            await aclient.result(jobs[0], timeout=10)
        assert await aclient.result(jobs[2], timeout=10) == Made(1, set())
        await aeventually(lambda: rows.job(jobs[1].id)["state"] == "scheduled")

    assert (cancelled.value.state, cancelled.value.job_id) == ("cancelled", jobs[0].id)
    assert "not today" in cancelled.value.error
    assert len(rows.all(OF)) == 1


BAD = [
    ({"a": [1, float("nan")]}, "result.a[1]: NaN cannot be stored in JSON"),
    (float("inf"), "result: Infinity cannot be stored in JSON"),
    ({"t": "secret\x00"}, "result.t: text with a NUL character: Postgres cannot store null bytes"),
    ("secret\ud800", "result: text with a lone surrogate is not valid Unicode"),
    ({"s": {object()}}, "result.s{}: object is not a JSON type"),
    ({"secret key": b"secret"}, "result[value 1]: bytes is not a JSON type"),
    ([{7: "secret"}], "result[0]: a key that is not text, or not valid Unicode without NUL"),
    (2**80, "result: an int of 81 bits does not fit 64"),
    ([1.7975e308], "result[0]: a number too close to infinity"),
]


@pytest.mark.parametrize(("value", "says"), BAD, ids=[says for _, says in BAD])
async def test_a_result_that_cannot_be_stored_fails_the_job_at_once(
    aclient, rows, caplog, value, says
) -> None:
    @aclient.task(Report, result=True)
    async def handler(job: awa.Job) -> Any:
        return value

    async with working(aclient):
        job = await aclient.insert(Report())
        with pytest.raises(awa.JobFailed) as failed:
            await aclient.result(job, timeout=10)
    row = rows.job(job.id)

    assert failed.value.error_type == "awa_lib.errors.ResultNotStorable"
    assert failed.value.error == f"ResultNotStorable: the result cannot be stored: {says}"
    assert (row["state"], row["attempt"], row["errors"][0]["terminal"]) == ("failed", 1, True)
    assert "secret" not in f"{row['errors']} {caplog.text} {failed.value}"
    assert rows.all(OF) == []


async def test_a_cycle_is_found(aclient) -> None:
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle

    @aclient.task(Report, result=True)
    async def handler(job: awa.Job) -> Any:
        return cycle

    async with working(aclient):
        with pytest.raises(awa.JobFailed) as failed:
            await aclient.result(await aclient.insert(Report()), timeout=10)

    assert "nested deeper than 64 levels" in failed.value.error


async def test_a_result_beyond_the_cap_fails_the_job_with_size_and_cap(aclient, rows) -> None:
    @aclient.task(Report, result=True, result_max_bytes=10)
    async def handler(job: awa.Job[Report]) -> str:
        return "ü" * job.args.n

    async with working(aclient):
        assert await aclient.result(await aclient.insert(Report(4)), timeout=10) == "üüüü"
        job = await aclient.insert(Report(5))
        with pytest.raises(awa.JobFailed) as failed:
            await aclient.result(job, timeout=10)

    assert rows.one(OF)["size_bytes"] == 10
    assert failed.value.error.startswith("ResultTooLarge: the result has 12 bytes of JSON, and at")
    assert rows.job(job.id)["attempt"] == 1


async def test_the_ttl_is_that_of_the_task(aclient, rows) -> None:
    @aclient.task(Report, result=True)
    async def week(job: awa.Job) -> int:
        return 1

    @aclient.task(Noop, result=True, result_ttl=timedelta(hours=3))
    async def hours(job: awa.Job) -> int:
        return 2

    async with working(aclient):
        for args in (Report(), Noop()):
            await aclient.result(await aclient.insert(args), timeout=10)

    kept = {row["value"]: row["kept"] for row in rows.all(OF)}
    assert kept == {1: timedelta(days=7), 2: timedelta(hours=3)}


async def test_an_attempt_that_lost_its_job_writes_no_result(aclient, rows) -> None:
    """The result is guarded by the lease, as the completion is."""
    began, go = asyncio.Event(), asyncio.Event()

    @aclient.task(Report, result=True)
    async def handler(job: awa.Job) -> str:
        began.set()
        await go.wait()
        return "stale"

    async with working(aclient):
        job = await aclient.insert(Report())
        await began.wait()
        rows.conn.execute(
            "UPDATE awa.jobs_hot SET run_lease = run_lease + 1 WHERE id = %s", [job.id]
        )
        go.set()
        await aeventually(lambda: aclient._runtime._completer.stale == 1)

    assert rows.all(OF) == []


async def test_batches_have_results_and_completions_without(aclient, rows) -> None:
    @aclient.task(Report, result=True)
    async def handler(job: awa.Job[Report]) -> int:
        return job.args.n

    @aclient.task(Noop)
    async def plain(job: awa.Job) -> None: ...

    async with working(aclient, ("default", 100)):
        jobs = await aclient.insert_many([Report(n) for n in range(300)])
        await aclient.insert_many([Noop() for _ in range(300)])
        found = await asyncio.gather(*(aclient.result(job, timeout=20) for job in jobs))
        await aeventually(lambda: rows.states() == {"completed": 600})

    assert found == list(range(300))
    assert rows.one("SELECT count(*) AS n FROM awa.job_results")["n"] == 300


async def test_large_results_go_in_portions(aclient, rows) -> None:
    """Together they are larger than what waits in memory and what a statement holds."""

    @aclient.task(Report, result=True, result_max_bytes=4 << 20)
    async def handler(job: awa.Job[Report]) -> str:
        return "x" * (3 << 20)

    async with working(aclient, ("default", 30)):
        jobs = await aclient.insert_many([Report(n) for n in range(30)])
        await aeventually(lambda: rows.states() == {"completed": 30}, timeout=60)
        assert len(await aclient.result(jobs[29], timeout=10)) == 3 << 20
        assert aclient._runtime._completer._result_bytes == 0


async def test_many_large_results_are_read_once(database_url, put) -> None:
    """As a worker's session plans it: a join would read all values again for each job."""
    jobs = [put(state="running", run_lease=7)["id"] for _ in range(300)]
    results = [json.dumps(["x" * 20_000])] * 300
    given = {
        "ids": jobs, "leases": [7] * 300, "flows": [0] * 300, "result_ids": jobs, "results": results,
        "ttls": [60.0] * 300,
    }  # fmt: skip
    query = _sql.query("claims", "finish_completed_with_extras")
    with psycopg.connect(database_url, options=as_options(HOT_PLANS)) as conn:
        with psycopg.RawCursor(conn) as cursor:
            cursor.execute(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT json) " + query.text,
                [given[name] for name in query.params],
            )
            ((plan,),) = cursor.fetchall()
    read = plan[0]["Plan"].get("Temp Read Blocks", 0)

    # 6 MB of values are 750 blocks.
    assert read < 3000


async def test_a_rejected_result_fails_the_job_and_no_other(aclient, rows) -> None:
    """Whatever the database says about the value of a result."""
    rows.conn.execute("ALTER TABLE awa.job_results ADD CHECK (value <> '3')")

    @aclient.task(Report, result=True)
    async def handler(job: awa.Job[Report]) -> int:
        return job.args.n

    async with working(aclient):
        jobs = await aclient.insert_many([Report(n) for n in range(6)])
        found = await asyncio.gather(
            *(aclient.result(job, timeout=20) for job in jobs), return_exceptions=True
        )

    assert [one for one in found if isinstance(one, int)] == [0, 1, 2, 4, 5]
    assert isinstance(found[3], awa.JobFailed)
    assert "its result could not be stored" in found[3].error


async def test_follow_ups_that_fail_leave_no_result(aclient, rows) -> None:
    @aclient.task(Report, result=True, max_attempts=1)
    async def handler(job: awa.Job) -> int:
        return 1

    @aclient.follow_up(Report, awa.Completed)
    def broken(event: awa.Completed) -> None:
        raise RuntimeError("no")

    async with working(aclient):
        with pytest.raises(awa.JobFailed):
            await aclient.result(await aclient.insert(Report()), timeout=10)
        assert aclient._runtime._completer._result_bytes == 0

    assert rows.all(OF) == []


async def test_a_rerun_replaces_the_result(aclient, rows) -> None:
    runs = iter((1, 2))

    @aclient.task(Report, result=True)
    async def handler(job: awa.Job) -> int:
        return next(runs)

    async with working(aclient):
        job = await aclient.insert(Report())
        assert await aclient.result(job, timeout=10) == 1
        # No verb retries a completed job; an operator with psql may.
        rows.conn.execute(
            "UPDATE awa.jobs_hot SET state = 'available', finalized_at = NULL, run_at = now()"
            " WHERE id = %s",
            [job.id],
        )
        assert await aclient.result(job, timeout=10) == 2
    # It is kept from now on, not from the first completion.
    row = rows.one("SELECT expires_at, purge_at FROM awa.job_results")
    assert row["purge_at"] == row["expires_at"]


async def test_kinds_that_are_shared_declare_it(database_url, rows) -> None:
    kinds = awa.Kinds()
    kinds.declare(Report, result=Made, result_ttl="1h")
    async with (
        awa.AsyncClient(database_url, kinds=kinds) as worker,
        awa.AsyncClient(database_url, kinds=kinds) as web,
    ):

        @worker.task(Report)
        async def handler(job: awa.Job) -> Any:
            return {"pages": 1, "tags": ["a"]}

        async with working(worker):
            found = await web.result((await web.insert(Report())).id, timeout=10)

    assert found == Made(1, {"a"})
    assert rows.one(OF)["kept"] == timedelta(hours=1)


async def test_it_may_be_declared_after_the_handler(aclient, rows) -> None:
    @aclient.task(Report)
    async def handler(job: awa.Job) -> Made:
        return Made(1, {"a"})

    aclient.kind(Report, result=True, result_ttl="1h")
    async with working(aclient):
        found = await aclient.result((await aclient.insert(Report())).id, timeout=10)

    assert found == Made(1, {"a"})
    assert rows.one(OF)["kept"] == timedelta(hours=1)


async def test_it_may_be_taken_back_after_the_handler(aclient) -> None:
    @aclient.task(Report, result=True)
    async def handler(job: awa.Job) -> None: ...

    aclient.kind(Report, result=False)
    async with working(aclient):
        with pytest.raises(awa.NoResult):
            await aclient.result((await aclient.insert(Report())).id, timeout=10)


@pytest.mark.parametrize(
    "options",
    [
        {"result_ttl": 5},
        {"result_max_bytes": 5},
        {"result": True, "result_ttl": 0},
        {"result": True, "result_ttl": "soon"},
        {"result": True, "result_max_bytes": 0},
        {"result": True, "result_max_bytes": 1 << 30},
    ],
)
def test_a_mistake_is_refused_where_it_is_declared(options) -> None:
    client = awa.AsyncClient("postgresql:///x")
    with pytest.raises(awa.ValidationError, match="result"):
        client.task(Report, **options)
    with pytest.raises(awa.ValidationError, match="result"):
        client.kind(Report, **options)
