"""What the leader does besides rescues: dead letters and bulk operations, with a real worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib._sql import Op, Statement, compile_block
from awa_lib.config.workers import WorkerOptions
from awa_lib.ops.apart import Aside
from awa_lib.reads.health import ping
from awa_lib.runtime.links import Link, Outage
from awa_lib.runtime.rescues import Contact, Rescues
from awa_lib.runtime.sessions import Bounds

QUEUE = {"name": "default", "max_workers": 5, "dead_letters": True}


async def test_a_failed_job_becomes_a_dead_letter_and_runs_again(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    broken = True

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        if broken:
            raise awa.TerminalError("no luck")

    async with working(aclient, QUEUE):
        job = await aclient.insert(Noop(3))
        await aeventually(aclient.dlq_depth)
        entry = await aclient.get_dlq_job(job.id)
        broken = False
        await aclient.retry_from_dlq(job.id)
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert entry.reason == "TerminalError: no luck"
    assert (entry.job.args, entry.original_run_lease > 0) == ({"n": 3}, True)
    assert await aclient.dlq_depth() == 0


@pytest.mark.parametrize(
    ("key", "before", "after"), [(True, False, True), (False, True, False), (None, True, True)]
)
async def test_the_queue_key_is_published_at_start(
    aclient: awa.AsyncClient, rows: Rows, key: bool | None, before: bool, after: bool
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    await aclient.set_dead_letters("default", before)
    async with working(aclient, {**QUEUE, "dead_letters": key}):
        assert rows.one("SELECT dead_letters FROM awa.queue_policies") == {"dead_letters": after}


async def test_the_queue_key_is_checked(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    with pytest.raises(TypeError, match="dead_letters must be True, False or None, got 'yes'"):
        await aclient.start([{**QUEUE, "dead_letters": "yes"}])
    with pytest.raises(ValueError, match="did you mean: dead_letters"):
        await aclient.start([{**QUEUE, "dead_leters": True}])

    assert rows.all("SELECT * FROM awa.queue_policies") == []


async def test_the_leader_carries_out_bulk_operations(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    rows.conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state)"
        " SELECT 'noop', 'default', 'failed' FROM generate_series(1, 1200)"
    )
    rows.conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state)"
        " SELECT 'old', 'default', 'completed' FROM generate_series(1, 700)"
    )
    async with working(aclient, ("default", 20)):
        deleted = await aclient.submit_bulk_operation("delete", kind="old")
        retried = await aclient.submit_bulk_operation("retry", kind="noop", state="failed")

        async def over() -> bool:
            latest = [await aclient.get_bulk_operation(o.id) for o in (deleted, retried)]
            return all(operation.finished for operation in latest)

        await aeventually(over)
        await aeventually(lambda: rows.states() == {"completed": 1200})

    assert [(o.state, o.processed) for o in await aclient.list_bulk_operations()] == [
        ("completed", 1200),
        ("completed", 700),
    ]


STALE = (
    "INSERT INTO awa.jobs_hot (kind, state, attempt, run_lease, heartbeat_at)"
    " VALUES ('noop', 'running', 1, 7, now() - interval '10 minutes') RETURNING id"
)


async def test_a_crash_costs_no_attempt_and_is_told(aclient: awa.AsyncClient, rows: Rows) -> None:
    seen: list[int] = []

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        seen.append(job.attempt)

    job_id = rows.one(STALE)["id"]
    async with working(aclient):
        await aeventually(lambda: rows.job(job_id)["state"] == "completed")

    row = rows.job(job_id)
    assert seen == [1]
    assert row["metadata"] == {"_awa_crashes": 1}
    assert [(e["attempt"], e["crash"], e["error"]) for e in row["errors"]] == [
        (1, 1, "heartbeat stale: worker presumed dead")
    ]


async def test_a_term_begins_with_a_grace_for_living_workers(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """The first leader after an outage sees stale leases, whose owners are about to write."""

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    job_id = rows.one(STALE)["id"]
    async with working(aclient, heartbeat_staleness_ms=3000):
        # Promotion has run: this process leads, and has looked for stale jobs more than once.
        due = await aclient.insert(Noop(), run_at=datetime.now(UTC) + timedelta(seconds=0.6))
        await aeventually(lambda: rows.job(due.id)["state"] == "completed")
        assert rows.job(job_id)["state"] == "running"
        rows.conn.execute("UPDATE awa.jobs_hot SET heartbeat_at = now() WHERE id = %s", [job_id])
        until = time.monotonic() + 2.6
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            assert rows.job(job_id)["state"] == "running"


@pytest.fixture
async def contact(database_url: str, clock: Clock):
    link = Link("maintenance", dsn=database_url, outage=Outage(), bounds=Bounds())
    yield Contact(link, clock)
    await link.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


OPTIONS = WorkerOptions(queues=())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rescues(contact: Contact, clock: Clock) -> Rescues:
    return Rescues(contact, OPTIONS, on_rescued=lambda found: None, clock=clock)


@pytest.mark.parametrize(("waited", "state"), [(29.0, "running"), (31.0, "retryable")])
async def test_the_grace_begins_anew_when_the_database_comes_back(
    rescues: Rescues, contact: Contact, clock: Clock, rows: Rows, waited: float, state: str
) -> None:
    clock.now += 3600
    await rescues.deadline()
    job_id = rows.one(STALE)["id"]
    rows.conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(awa.Unavailable):
        await rescues.deadline()
    clock.now += 3600
    await rescues.deadline()
    for seconds in (20.0, waited - 20.0):
        clock.now += seconds
        await rescues.deadline()
    await rescues.stale()

    assert rows.job(job_id)["state"] == state


async def test_a_server_that_was_stopped_is_an_outage_too(
    rescues: Rescues, clock: Clock, rows: Rows
) -> None:
    job_id = rows.one(STALE)["id"]
    clock.now += 60
    await rescues.stale()
    assert rows.job(job_id)["state"] == "running"
    clock.now += 29
    await rescues.deadline()
    clock.now += 2
    await rescues.stale()
    assert rows.job(job_id)["state"] == "retryable"


@pytest.mark.parametrize("obstacle", ["locked", "read-only"])
async def test_a_time_without_writes_is_an_outage_too(
    rescues: Rescues, contact: Contact, clock: Clock, rows: Rows, database_url: str, obstacle: str
) -> None:
    """Reads work, heartbeats do not: CREATE INDEX, or a primary that was made read-only."""
    job_id = rows.one(STALE)["id"]
    clock.now += 3600
    await rescues.deadline()
    with psycopg.connect(database_url) as other:
        if obstacle == "locked":
            other.execute("LOCK TABLE awa.jobs_hot IN SHARE MODE")
        else:
            await contact.run(set_read_only(True))
        with pytest.raises(awa.Transient):
            await rescues.stale()
    if obstacle == "read-only":
        await contact.run(set_read_only(False))
    states = []
    for seconds in (0, 29, 2):
        clock.now += seconds
        await rescues.deadline()
        await rescues.stale()
        states.append(rows.job(job_id)["state"])

    assert states == ["running", "running", "retryable"]


def set_read_only(on: bool) -> Op[None]:
    text = f"SET default_transaction_read_only = {'on' if on else 'off'}"
    yield Statement(compile_block("set_read_only", text), ())


async def test_a_deadline_that_passed_in_an_outage_waits_for_the_end(
    rescues: Rescues, clock: Clock, rows: Rows
) -> None:
    job_id = rows.one(STALE)["id"]
    rows.conn.execute("UPDATE awa.jobs_hot SET deadline_at = now() - interval '1 s'")
    await rescues.deadline()
    assert rows.job(job_id)["state"] == "running"
    for _ in range(3):
        clock.now += 2
        await rescues.deadline()
    assert rows.job(job_id)["state"] == "retryable"


@pytest.mark.parametrize(("silent", "counted"), [(70, 0), (50, 1)])
async def test_a_deadline_that_passed_because_the_worker_died_costs_no_attempt(
    rescues: Rescues, clock: Clock, rows: Rows, silent: int, counted: int
) -> None:
    """With a deadline shorter than the staleness, of 90 s; a heartbeat is due each 30 s."""
    job_id = rows.one(STALE)["id"]
    rows.conn.execute(
        "UPDATE awa.jobs_hot SET deadline_at = now() - interval '1 s',"
        " heartbeat_at = now() - make_interval(secs => %s)",
        [silent],
    )
    await rescues.deadline()
    for _ in range(3):
        clock.now += 2
        await rescues.deadline()

    row = rows.job(job_id)
    assert (row["state"], row["attempt"]) == ("retryable", counted)
    assert row["metadata"] == ({} if counted else {"_awa_crashes": 1})
    assert [error.get("crash") for error in row["errors"]] == [None if counted else 1]


async def test_the_grace_begins_anew_when_the_table_was_locked(
    rescues: Rescues, contact: Contact, clock: Clock, rows: Rows, database_url: str
) -> None:
    """Heartbeats waited for the same lock."""
    job_id = rows.one(STALE)["id"]
    for _ in range(4):
        clock.now += 10
        await rescues.deadline()
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE awa.jobs_hot IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(awa.Transient):
            await rescues.stale()
        await contact.run(ping())  # others are not in its way
    await rescues.stale()
    assert rows.job(job_id)["state"] == "running"
    for _ in range(4):
        clock.now += 10
        await rescues.deadline()
    await rescues.stale()
    assert rows.job(job_id)["state"] == "retryable"


async def test_a_row_that_was_locked_gets_its_grace_when_it_is_free(
    rescues: Rescues, clock: Clock, rows: Rows, database_url: str
) -> None:
    async def look(seconds: float) -> str:
        for _ in range(int(seconds) // 10):
            clock.now += 10
            await rescues.deadline()
        await rescues.stale()
        return rows.job(job_id)["state"]

    job_id, free_id = rows.one(STALE)["id"], rows.one(STALE)["id"]
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (job_id,))
        locked = [await look(40), await look(40)]
        assert rows.job(free_id)["state"] == "retryable"
    after = [await look(0), await look(20), await look(20)]

    assert locked == ["running"] * 2
    assert after == ["running", "running", "retryable"]


async def test_a_row_that_was_locked_before_the_first_look_gets_its_grace_too(
    rescues: Rescues, clock: Clock, rows: Rows, database_url: str
) -> None:
    """Its heartbeat may have waited for the lock until a moment ago."""
    job_id = rows.one(STALE)["id"]
    for _ in range(4):
        clock.now += 10
        await rescues.deadline()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (job_id,))
    states = []
    for seconds in (0, 20, 20):
        clock.now += seconds
        await rescues.deadline()
        await rescues.stale()
        states.append(rows.job(job_id)["state"])

    assert states == ["running", "running", "retryable"]


async def test_a_row_that_was_locked_for_a_moment_gets_its_grace_too(
    rescues: Rescues,
    contact: Contact,
    clock: Clock,
    rows: Rows,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rescue meets the lock, the look at what is locked finds it gone."""
    job_id = rows.one(STALE)["id"]
    rescues._aside["heartbeat"] = Aside(clock)
    for _ in range(4):
        clock.now += 10
        await rescues.deadline()
    run = contact.run
    with psycopg.connect(database_url) as other:

        async def meddle(op: Op[object]) -> object:
            if op.__name__ == "rescue":
                other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (job_id,))
            elif op.__name__ == "free_ids":
                other.rollback()
            return await run(op)

        monkeypatch.setattr(contact, "run", meddle)
        await rescues.stale()
        monkeypatch.undo()
    assert job_id in rescues._aside["heartbeat"]
    states = []
    for seconds in (2, 20, 20):
        clock.now += seconds
        await rescues.deadline()
        await rescues.stale()
        states.append(rows.job(job_id)["state"])

    assert states == ["running", "running", "retryable"]


async def test_long_work_that_is_held_up_delays_no_short_work(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    with psycopg.connect(database_url) as other:
        awa.Client.on(other).flush_admin_metadata()
        other.execute("LOCK TABLE awa.callback_signatures, awa.bulk_operations")
        async with working(aclient):
            began = time.monotonic()
            for _ in range(5):
                job = await aclient.insert(
                    Noop(), run_at=datetime.now(UTC) + timedelta(seconds=0.3)
                )
                await aeventually(done(rows, job.id))
            assert time.monotonic() - began < 5
            assert (await aclient.health_check()).healthy


def done(rows: Rows, job_id: int) -> Callable[[], bool]:
    return lambda: rows.job(job_id)["state"] == "completed"


async def test_answers_of_callbacks_are_deleted_after_thirty_days(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """In batches of a thousand, one after the other."""

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    rows.conn.execute(
        "INSERT INTO awa.answered_callbacks (callback_id, job_id, action, state, answered_at)"
        " SELECT gen_random_uuid(), n, 'complete', 'completed', now() - interval '1 day' *"
        " CASE WHEN n > 2500 THEN 29 ELSE 31 END FROM generate_series(1, 2501) AS n"
    )
    kept = "SELECT job_id FROM awa.answered_callbacks"
    async with working(aclient):
        await aeventually(lambda: rows.all(kept) == [{"job_id": 2501}], 20)


async def test_cleaning_goes_on_while_there_is_more_and_past_a_bad_policy(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    rows.conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, state, finalized_at)"
        " SELECT 'k', (ARRAY['odd', 'a'])[1 + n % 2], 'completed', now() - interval '9 days'"
        " FROM generate_series(1, 2000) AS n"
    )
    rows.conn.execute(
        "INSERT INTO awa.queue_policies (queue, completed_retention_hours) VALUES"
        " ('odd', 1e300), ('a', 1), ('nan', 'NaN')"
    )
    async with working(aclient, cleanup_batch_size=8, failed_retention_hours=1e9):
        await aeventually(lambda: rows.states() == {"completed": 1000}, 20)

    assert rows.all("SELECT DISTINCT queue FROM awa.jobs") == [{"queue": "odd"}]


async def test_results_are_deleted_when_they_have_expired(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    """In batches of five hundred, one after the other."""

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    rows.conn.execute(
        "INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)"
        " SELECT n, '1', 1, at, at FROM generate_series(1, 1201) AS n CROSS JOIN LATERAL"
        " (SELECT now() + CASE WHEN n > 1200 THEN interval '1 hour' ELSE '-1 second' END) AS e(at)"
    )
    kept = "SELECT job_id FROM awa.job_results"
    async with working(aclient):
        await aeventually(lambda: rows.all(kept) == [{"job_id": 1201}], 20)
