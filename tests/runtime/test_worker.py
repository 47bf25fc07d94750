"""The worker through its public interface: outcomes, guards, cancel, deadline, shutdown."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from fix_wait import aeventually
from fix_worker import QUICK, Noop, Rows, working

import awa_lib as awa


async def ended(rows: Rows, job_id: int, *states: str) -> dict:
    wanted = states or ("completed", "failed", "cancelled")
    await aeventually(lambda: rows.job(job_id)["state"] in wanted)
    return rows.job(job_id)


async def test_async_and_blocking_handlers_complete(aclient: awa.AsyncClient, rows: Rows) -> None:
    seen: list[tuple[str, str]] = []

    @dataclass
    class Blocking:
        n: int

    @aclient.task(Noop)
    async def on_loop(job: awa.Job) -> None:
        seen.append(("async", threading.current_thread().name))

    @aclient.task(Blocking)
    def in_thread(job: awa.Job) -> None:
        seen.append((f"thread {job.args.n}", threading.current_thread().name))

    first = await aclient.insert(Noop())
    second = await aclient.insert(Blocking(7))
    async with working(aclient):
        a, b = await ended(rows, first.id), await ended(rows, second.id)

    assert (a["state"], b["state"]) == ("completed", "completed")
    assert a["attempt"] == 1
    assert 0 < a["run_lease"] < 2**53
    assert a["finalized_at"] is not None
    assert a["progress"] is None
    assert {name for name, _ in seen} == {"async", "thread 7"}
    assert dict(seen)["thread 7"] != threading.current_thread().name


async def test_decorator_needs_no_loop_and_keeps_the_handler(database_url: str) -> None:
    def register() -> object:
        client = awa.AsyncClient(database_url)

        @client.task(Noop)
        async def handler(job: awa.Job) -> int:
            return 3

        return handler

    handler = await asyncio.to_thread(register)

    assert await handler(None) == 3


async def test_typed_args_survive(aclient: awa.AsyncClient, rows: Rows) -> None:
    @dataclass
    class Inner:
        price: Decimal
        labels: set[str] = field(default_factory=set)

    @dataclass
    class Order:
        at: datetime
        inner: Inner

    got: list[Order] = []

    @aclient.task(Order)
    async def handler(job: awa.Job) -> None:
        got.append(job.args)

    order = Order(datetime(2026, 1, 2, 3, 4, 5, 678, UTC), Inner(Decimal("1.10"), {"a", "b"}))
    job = await aclient.insert(order)
    async with working(aclient):
        await ended(rows, job.id)

    assert got == [order]


async def test_error_retries_with_backoff_and_keeps_progress(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        job.set_progress(40, "half way")
        job.update_metadata({"cursor": 17})
        raise KeyError("q")

    job = await aclient.insert(Noop(), max_attempts=3)
    async with working(aclient):
        row = await ended(rows, job.id, "retryable")

    assert row["progress"] == {
        "percent": 40,
        "message": "half way",
        "metadata": {"cursor": 17},
    }
    (error,) = row["errors"]
    assert error["error"].startswith("KeyError: 'q'\n")
    assert error["attempt"] == 1
    assert "terminal" not in error
    assert datetime.fromisoformat(error["at"]).utcoffset() == timedelta(0)
    delay = (row["run_at"] - row["finalized_at"]).total_seconds()
    assert 2.0 <= delay <= 2.5
    assert row["heartbeat_at"] is row["deadline_at"] is None


async def test_last_attempt_fails(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        raise RuntimeError("no")

    job = await aclient.insert(Noop(), max_attempts=1)
    async with working(aclient):
        row = await ended(rows, job.id)

    assert row["state"] == "failed"
    assert "terminal" not in row["errors"][0]


async def test_terminal_error_and_bad_args_fail_at_once(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @dataclass
    class Typed:
        n: int

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        raise awa.TerminalError("never")

    @aclient.task(Typed)
    async def typed(job: awa.Job) -> None:
        raise AssertionError("not reached")

    job = await aclient.insert(Noop())
    bad = await aclient.insert({"n": "seven"}, kind="typed")
    async with working(aclient):
        first, second = await ended(rows, job.id), await ended(rows, bad.id)

    assert (first["state"], first["errors"][0]["terminal"]) == ("failed", True)
    assert (second["state"], second["errors"][0]["terminal"]) == ("failed", True)
    assert "args.n" in second["errors"][0]["error"]


@pytest.mark.parametrize(
    ("result", "state", "attempt", "seconds"),
    [
        (awa.RetryAfter(30.25), "retryable", 1, 30.25),
        (awa.Snooze(0.75), "scheduled", 0, 0.75),
        (awa.Snooze(40), "scheduled", 0, 40),
    ],
)
async def test_delays_keep_their_fraction(
    aclient: awa.AsyncClient,
    rows: Rows,
    result: object,
    state: str,
    attempt: int,
    seconds: float,
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> object:
        return result

    job = await aclient.insert(Noop())
    # Nobody promotes: the row stays as the worker left it.
    async with working(aclient, promote_interval_ms=60_000):
        row = await ended(rows, job.id, state)
    now = rows.one("SELECT now() AS now")["now"]

    assert row["attempt"] == attempt
    assert row["errors"] == []
    assert seconds - 5 < (row["run_at"] - now).total_seconds() <= seconds
    if state == "retryable":
        assert (row["run_at"] - row["finalized_at"]).total_seconds() == pytest.approx(seconds)


async def test_retry_after_counts_against_max_attempts(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> object:
        return awa.RetryAfter(0)

    job = await aclient.insert(Noop(), max_attempts=3)
    async with working(aclient):
        row = await ended(rows, job.id)

    assert (row["state"], row["attempt"]) == ("failed", 3)
    assert "RetryAfter" in row["errors"][0]["error"]


async def test_handler_cancels_its_job(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> object:
        return awa.Cancel("not needed")

    job = await aclient.insert(Noop())
    async with working(aclient):
        row = await ended(rows, job.id)

    assert row["state"] == "cancelled"
    assert row["errors"][0]["error"] == "cancelled: not needed"


async def test_admin_cancel_reaches_the_running_handler(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    flags: list[bool] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            flags.append(job.is_cancelled())
            stopped.set()

    job = await aclient.insert(Noop())
    async with working(aclient, heartbeat_interval_ms=60_000, heartbeat_staleness_ms=180_000):
        await asyncio.wait_for(started.wait(), 10)
        await aclient.cancel(job.id)
        await asyncio.wait_for(stopped.wait(), 10)
        row = rows.job(job.id)

    assert flags == [True]
    assert row["state"] == "cancelled"
    assert row["errors"] == []


async def test_a_cancel_that_overtakes_its_claim_is_kept(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel between the claim's commit and its rows' arrival comes as this one does."""
    monkeypatch.setattr("awa_lib.ops.leases.Leases.next", lambda self: 7)
    ended: list[str] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled" if job.is_cancelled() else "not cancelled")

    async with working(aclient):
        job_id = rows.one("SELECT nextval('awa.jobs_id_seq') + 1 AS id")["id"]
        payload = f'{{"job_id": {job_id}, "run_lease": 7}}'
        rows.all("SELECT pg_notify('awa:cancel', %s)", payload)
        job = await aclient.insert(Noop())
        assert job.id == job_id
        await aeventually(lambda: ended == ["cancelled"])


async def test_cancel_by_sql_is_noticed_by_the_heartbeat(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    job = await aclient.insert(Noop())
    async with working(aclient):
        await asyncio.wait_for(started.wait(), 10)
        rows.conn.execute("UPDATE awa.jobs SET state = 'cancelled' WHERE id = %s", (job.id,))
        await asyncio.wait_for(stopped.wait(), 10)

    assert rows.job(job.id)["state"] == "cancelled"


async def test_deadline_is_enforced_on_async_handlers(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        await asyncio.Event().wait()

    job = await aclient.insert(Noop(), max_attempts=1)
    queue = {"name": "default", "max_workers": 2, "deadline_seconds": 0.3}
    async with working(aclient, queue, deadline_rescue_interval_ms=60_000):
        row = await ended(rows, job.id)

    assert row["state"] == "failed"
    assert row["errors"][0]["error"] == "hard deadline exceeded"


async def test_stale_end_changes_nothing(aclient: awa.AsyncClient, rows: Rows) -> None:
    """A job that was taken away while its handler ran keeps what its new owner wrote."""
    started, go = asyncio.Event(), asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        started.set()
        await go.wait()

    job = await aclient.insert(Noop())
    async with working(aclient, heartbeat_interval_ms=60_000, heartbeat_staleness_ms=180_000):
        await asyncio.wait_for(started.wait(), 10)
        rows.conn.execute(
            "UPDATE awa.jobs_hot SET run_lease = 7, attempt = attempt + 1 WHERE id = %s",
            (job.id,),
        )
        go.set()
        await aeventually(lambda: aclient._runtime._completer.stale == 1)
        row = rows.job(job.id)

    assert (row["state"], row["run_lease"], row["attempt"]) == ("running", 7, 2)


async def test_unknown_kind_is_left_for_another_worker(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    await aclient.insert_many([{"n": i} for i in range(300)], kind="foreign", priority=1)
    mine = await aclient.insert(Noop())

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient):
        await ended(rows, mine.id)
        untouched = rows.all(
            "SELECT DISTINCT state::text, attempt FROM awa.jobs WHERE kind = 'foreign'"
        )
        async with awa.AsyncClient(database_url) as other:

            @other.task(dict, kind="foreign")
            async def foreign(job: awa.Job) -> None: ...

            async with working(other):
                await aeventually(lambda: rows.states() == {"completed": 301})

    assert untouched == [{"state": "available", "attempt": 0}]


async def test_priority_then_age(aclient: awa.AsyncClient, rows: Rows) -> None:
    order: list[int] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        order.append(job.args.n)

    for n, priority in [(1, 4), (2, 1), (3, 2), (4, 1)]:
        await aclient.insert(Noop(n), priority=priority)
    async with working(aclient, ("default", 1)):
        await aeventually(lambda: len(order) == 4)

    assert order == [2, 4, 3, 1]


async def test_several_kinds_follow_priority(aclient: awa.AsyncClient) -> None:
    order: list[str] = []
    for kind in ("a", "b", "c"):

        @aclient.task(dict, kind=kind)
        async def handler(job: awa.Job) -> None:
            order.append(job.kind)

    for kind, priority in [("a", 3), ("b", 1), ("c", 2)]:
        await aclient.insert({}, kind=kind, priority=priority)
    async with working(aclient, ("default", 1)):
        await aeventually(lambda: len(order) == 3)

    assert order == ["b", "c", "a"]


async def test_pause_stops_claims_and_resume_wakes(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    await aclient.pause_queue("default", "me")
    first = await aclient.insert(Noop())
    other = await aclient.insert(Noop(), queue="other")
    async with working(aclient, ("default", 5), ("other", 5)):
        await ended(rows, other.id)
        assert rows.job(first.id)["state"] == "available"
        await aclient.resume_queue("default")
        await ended(rows, first.id)


async def test_shutdown_hands_back_what_does_not_end(aclient: awa.AsyncClient, rows: Rows) -> None:
    started = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        started.set()
        await asyncio.Event().wait()

    job = await aclient.insert(Noop())
    await aclient.start([("default", 2)], **QUICK)
    await asyncio.wait_for(started.wait(), 10)
    await aclient.shutdown(100)
    row = rows.job(job.id)

    assert (row["state"], row["attempt"]) == ("available", 0)
    assert row["heartbeat_at"] is row["deadline_at"] is None


async def test_shutdown_waits_for_handlers_and_writes_their_ends(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    started = asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        started.set()
        while not job.is_cancelled():
            await asyncio.sleep(0)

    job = await aclient.insert(Noop())
    await aclient.start([("default", 2)], **QUICK)
    await asyncio.wait_for(started.wait(), 10)
    await aclient.shutdown(5000)

    assert rows.job(job.id)["state"] == "completed"


async def test_start_works_again_after_shutdown(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient):
        pass
    job = await aclient.insert(Noop())
    async with working(aclient):
        await ended(rows, job.id)


async def test_start_refuses_what_cannot_work(
    aclient: awa.AsyncClient, empty_database_url: str
) -> None:
    with pytest.raises(awa.AwaError, match="register at least one worker"):
        await aclient.start()

    @aclient.task(Noop, queue="email")
    async def handler(job: awa.Job) -> None: ...

    with pytest.raises(ValueError, match="email"):
        await aclient.start([("default", 1)])
    with pytest.raises(ValueError, match="did you mean: max_workers"):
        await aclient.start([{"name": "email", "max_worker": 3}])
    with pytest.raises(ValueError, match="did you mean: poll_interval_ms"):
        await aclient.start([("email", 1)], poll_interval=3)
    async with awa.AsyncClient(empty_database_url) as fresh:
        fresh.task(Noop)(handler)
        with pytest.raises(awa.SchemaNotMigrated) as caught:
            await fresh.start()
    assert "awa migrate" in (caught.value.hint or "")


async def test_progress_is_flushed_and_live(aclient: awa.AsyncClient, rows: Rows) -> None:
    flushed, go = asyncio.Event(), asyncio.Event()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        job.set_progress(250)
        assert job.progress == {"percent": 100}
        await job.flush_progress()
        flushed.set()
        await go.wait()

    job = await aclient.insert(Noop())
    async with working(aclient):
        await asyncio.wait_for(flushed.wait(), 10)
        assert rows.job(job.id)["progress"] == {"percent": 100}
        go.set()
        await ended(rows, job.id)


async def test_heartbeat_writes_progress_of_blocking_handlers(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    go = threading.Event()

    @aclient.task(Noop)
    def handler(job: awa.Job) -> None:
        job.set_progress(10)
        job.flush_progress_sync()
        job.set_progress(55)
        go.wait(20)

    job = await aclient.insert(Noop())
    async with working(aclient):
        await aeventually(lambda: (rows.job(job.id)["progress"] or {}).get("percent") == 55)
        go.set()
        await ended(rows, job.id)


async def test_progress_methods_outside_a_run_are_an_error(aclient: awa.AsyncClient) -> None:
    job = await aclient.insert(Noop())

    with pytest.raises(RuntimeError, match="set_progress is only available during job execution"):
        job.set_progress(1)
    assert job.is_cancelled() is False


async def test_blocked_event_loop_keeps_its_leases(
    aclient: awa.AsyncClient, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        end = time.monotonic() + 7.5
        while time.monotonic() < end:
            pass

    caplog.set_level(logging.WARNING)
    job = await aclient.insert(Noop())
    # Another process would rescue after 1.5 s without a heartbeat; the leader here is blocked too,
    # so the beats themselves are what is looked at.
    async with working(aclient):
        row = await ended(rows, job.id)

    assert row["attempt"] == 1
    assert (row["finalized_at"] - row["heartbeat_at"]).total_seconds() < 1.5
    (warning,) = [r for r in caplog.records if "event loop is blocked" in r.getMessage()]
    assert "test_worker.py" in warning.getMessage()


async def test_health(aclient: awa.AsyncClient) -> None:
    before = await aclient.health_check()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient, ("default", 3)):
        await aeventually(_leads(aclient))
        during = await aclient.health_check()
    after = await aclient.health_check()

    assert (before.healthy, before.postgres_connected, before.queues) == (False, True, {})
    assert (during.healthy, during.poll_loop_alive, during.heartbeat_alive) == (True, True, True)
    assert during.queues["default"] == awa.QueueHealth(in_flight=0, available=0, max_workers=3)
    assert after.healthy is False


def _leads(client: awa.AsyncClient):
    async def check() -> bool:
        return (await client.health_check()).leader

    return check


# Its twenty thousand jobs begin a collection of garbage, which finds what an earlier test left.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kinds", [["mine"], ["mine", "other", "third"]])
def test_claims_look_only_at_their_own_kinds(rows: Rows, database_url: str, kinds: list) -> None:
    """The plan holds whatever the statistics say: here they do not cover the jobs of other kinds."""
    import psycopg

    from awa_lib import _sql
    from awa_lib.db.connect import as_options
    from awa_lib.ops import claims
    from awa_lib.runtime.sessions import HOT_PLANS

    rows.conn.execute("ANALYZE awa.jobs_hot")
    with awa.Client(database_url) as client:
        client.insert_many([Noop(n) for n in range(20_000)], kind="foreign", priority=1)
        client.insert_many([Noop(n) for n in range(300)], kind="mine")
    statement = next(claims.claim("default", kinds, 200, 300.0, lease=1))
    assert isinstance(statement, _sql.Statement)
    options = as_options(HOT_PLANS)
    with psycopg.connect(database_url, options=options, autocommit=True) as conn:
        plan = "\n".join(
            row[0]
            for row in psycopg.RawCursor(conn).execute(
                f"EXPLAIN (ANALYZE, COSTS off, TIMING off, BUFFERS) {statement.query.text}",
                statement.values,
            )
        )

    assert "awa_jobs_hot_claim_by_kind" in plan
    assert "idx_awa_jobs_hot_dequeue" not in plan
    assert "Seq Scan" not in plan
    hits = int(plan.split("Buffers: shared hit=")[1].split()[0])
    assert hits < 10_000, plan


@pytest.mark.parametrize("blocking", [False, True])
async def test_sys_exit_fails_a_job_and_not_the_worker(aclient, rows: Rows, blocking) -> None:
    if blocking:

        @aclient.task(Noop)
        def leave(job: awa.Job) -> None:
            sys.exit(3)

    else:

        @aclient.task(Noop)
        async def aleave(job: awa.Job) -> None:
            sys.exit(3)

    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=1)
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    assert rows.job(job.id)["errors"][0]["error"].startswith("SystemExit: 3\n")


async def test_stop_iteration_in_a_thread_fails_the_job(aclient, rows: Rows) -> None:
    @aclient.task(Noop)
    def handler(job: awa.Job) -> None:
        next(iter(()))

    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=1)
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    assert "the handler raised StopIteration" in rows.job(job.id)["errors"][0]["error"]


async def test_a_result_that_was_not_made_fails_the_job(aclient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> object:
        return awa.Cancel

    async with working(aclient):
        job = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    (error,) = rows.job(job.id)["errors"]
    assert error["error"] == "TypeError: return Cancel(...), not the class Cancel"


async def test_weighted_queues_never_run_more_than_all_slots(aclient, rows: Rows) -> None:
    """Also while the claims of several queues are under way at once."""
    running, most = 0, 0

    def declare(queue: str) -> None:
        @aclient.task(dict, kind=queue, queue=queue)
        async def handler(job: awa.Job) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1

    names = ["a", "b", "c"]
    for name in names:
        declare(name)
        await aclient.insert_many([{}] * 60, kind=name, queue=name)
    queues = [
        {"name": name, "min_workers": 1, "weight": place + 1} for place, name in enumerate(names)
    ]
    async with working(aclient, *queues, global_max_workers=7):
        await aeventually(lambda: rows.states() == {"completed": 180})

    assert most == 7


async def test_log_handlers_that_raise_harm_nothing(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch
) -> None:
    """Each record of the library raises: the worker starts, leads, loses its sessions and stops."""

    class Full(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("no space left on device")

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        if job.args.n:
            raise ValueError("a failure is logged too")

    library = logging.getLogger("awa_lib")
    monkeypatch.setattr(library, "handlers", [Full()])
    monkeypatch.setattr(library, "level", logging.DEBUG)
    async with working(aclient):
        await aeventually(lambda: aclient._runtime.snapshot().leader)
        for _ in range(2):
            soon = datetime.now(UTC) + timedelta(seconds=0.2)
            due = await aclient.insert(Noop(), run_at=soon)
            failing = await aclient.insert(Noop(1), max_attempts=1)
            await aeventually(lambda due=due: rows.job(due.id)["state"] == "completed")
            await aeventually(lambda job=failing: rows.job(job.id)["state"] == "failed")
            rows.conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'awa worker%'"
            )
        await aeventually(lambda: aclient._runtime.snapshot().healthy)
