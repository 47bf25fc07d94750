"""Each process declares its heartbeats, and its leases say which jobs are judged by them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually, eventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.config.workers import WorkerOptions
from awa_lib.db.drive import run
from awa_lib.ops import maintenance as ops
from awa_lib.ops import processes
from awa_lib.ops.leases import Leases
from awa_lib.reads.runtime import RuntimeInstance, runtime_instances
from awa_lib.runtime.links import Link, Outage
from awa_lib.runtime.rescues import Contact, Rescues
from awa_lib.runtime.sessions import Bounds

OF_AWA_05 = ops.Pulse(30, 90)
Declare = Callable[..., Leases]
Put = Callable[..., int]


@pytest.fixture
def conn(rows: Rows) -> psycopg.Connection[Any]:
    return rows.conn


@pytest.fixture
def declare(rows: Rows) -> Declare:
    """Insert a process that declares its heartbeats in seconds, an hour ago; return its leases."""

    def declare(interval: float, staleness: float, **columns: str) -> Leases:
        process = processes.Process(
            str(uuid.uuid4()), "web-1", 4242, "9", "v7", interval * 1000, staleness * 1000
        )
        with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
            leases = Leases()
            leases.process, _ = run(conn, processes.keep_process(process, None, None))
        given = {"started_at": "now() - interval '1 hour'", **columns}
        for column, value in given.items():
            rows.conn.execute(
                f"UPDATE awa.worker_processes SET {column} = {value} WHERE number = %s",
                [leases.process],
            )
        return leases

    return declare


@pytest.fixture
def put(rows: Rows) -> Put:
    """Insert a running job with a lease and the age of its last heartbeat."""

    def put(lease: int, silent: float, attempted: str = "now() - interval '5 minutes'") -> int:
        return rows.one(
            "INSERT INTO awa.jobs_hot (kind, state, attempt, run_lease, attempted_at, heartbeat_at)"
            f" VALUES ('noop', 'running', 1, %s, {attempted}, now() - make_interval(secs => %s))"
            " RETURNING id",
            lease,
            silent,
        )["id"]

    return put


@pytest.mark.parametrize(
    ("interval", "staleness", "silent", "stale"),
    [(3, 10, 11, True), (3, 10, 9, False), (30, 90, 60, False), (30, 90, 91, True)],
)
def test_a_job_is_judged_by_what_its_process_declares(
    rows: Rows, declare: Declare, put: Put, interval: int, staleness: int, silent: int, stale: bool
) -> None:
    leases = declare(interval, staleness)
    job_id = put(leases.next(), silent)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        found = run(conn, ops.stale_ids(ops.Pulse(1, 20)))
        rescued = run(conn, ops.rescue([job_id], "heartbeat", ops.Pulse(1, 20)))
    process = rows.one("SELECT rescued_at FROM awa.worker_processes")

    assert found == ({job_id: ops.Pulse(interval, staleness)} if stale else {})
    assert [one.id for one in rescued] == ([job_id] if stale else [])
    assert (process["rescued_at"] is not None) == stale


def test_a_rescue_does_not_wait_for_the_row_of_the_process(
    rows: Rows, declare: Declare, put: Put
) -> None:
    locked, free = declare(3, 10), declare(3, 10)
    jobs = [put(leases.next(), 11) for leases in (locked, free)]
    dsn = rows.conn.info.dsn
    with psycopg.connect(dsn) as other, psycopg.connect(dsn, autocommit=True) as conn:
        lock = "SELECT FROM awa.worker_processes WHERE number = %s FOR UPDATE"
        other.execute(lock, [locked.process])
        rescued = run(conn, ops.rescue(jobs, "heartbeat", ops.Pulse(1, 20)))
    told = rows.all("SELECT number FROM awa.worker_processes WHERE rescued_at IS NOT NULL")

    assert [one.id for one in rescued] == jobs
    assert told == [{"number": free.process}]


def test_a_job_past_its_deadline_says_nothing_of_its_process(
    rows: Rows, declare: Declare, put: Put
) -> None:
    job_id = put(declare(3, 10).next(), 1)
    rows.conn.execute("UPDATE awa.jobs_hot SET deadline_at = now() - interval '1 second'")
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        rescued = run(conn, ops.rescue([job_id], "deadline"))

    assert [one.id for one in rescued] == [job_id]
    assert rows.one("SELECT rescued_at FROM awa.worker_processes") == {"rescued_at": None}


@pytest.mark.parametrize("claims", [1, 2, 511])
def test_a_job_that_awa_05_has_claimed_since_is_judged_as_one_of_awa_05(
    rows: Rows, declare: Declare, put: Put, claims: int
) -> None:
    """It counts up the lease that it finds, which a process of ours has written."""
    lease = declare(3, 10).next() + claims
    early, late = put(lease, 89), put(lease, 91)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        assert run(conn, ops.stale_ids(OF_AWA_05)) == {late: OF_AWA_05}
        assert [one.id for one in run(conn, ops.rescue([early, late], "heartbeat", OF_AWA_05))] == [
            late
        ]


@pytest.mark.parametrize(
    ("columns", "attempted"),
    [
        # The number belongs to another process now.
        ({"started_at": "now() - interval '1 minute'"}, "now() - interval '5 minutes'"),
        # Claimed by somebody else after the process had ended.
        ({"stopped_at": "now() - interval '9 minutes'"}, "now() - interval '5 minutes'"),
        ({}, "NULL"),
    ],
)
def test_a_lease_from_another_time_names_nobody(
    rows: Rows, declare: Declare, put: Put, columns: dict[str, str], attempted: str
) -> None:
    job_id = put(declare(3, 10, **columns).next(), 89, attempted)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        assert run(conn, ops.stale_ids(OF_AWA_05)) == {}
        assert run(conn, ops.rescue([job_id], "heartbeat", OF_AWA_05)) == []


def test_a_lease_whose_process_is_unknown_is_judged_by_the_leader(rows: Rows, put: Put) -> None:
    leases = Leases()
    leases.process = 77
    early, late = put(leases.next(), 89), put(leases.next(), 91)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        assert run(conn, ops.stale_ids(OF_AWA_05)) == {late: OF_AWA_05}
        assert [one.id for one in run(conn, ops.rescue([early], "heartbeat", OF_AWA_05))] == []


@pytest.mark.parametrize(("silent", "crash"), [(7, 1), (5, None)])
def test_two_missed_heartbeats_of_its_process_make_a_deadline_a_crash(
    rows: Rows, declare: Declare, put: Put, silent: int, crash: int | None
) -> None:
    job_id = put(declare(3, 10).next(), silent)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        run(conn, ops.rescue([job_id], "heartbeat", OF_AWA_05, silent=True))

    errors = rows.job(job_id)["errors"]
    assert [error.get("crash") for error in errors] == ([crash] if crash else [])


def test_the_error_of_a_rescue_names_the_worker_and_its_last_sign_of_life(
    rows: Rows, declare: Declare, put: Put
) -> None:
    ours, theirs = put(declare(3, 10).next(), 11), put(7, 100)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        run(conn, ops.rescue([ours, theirs], "heartbeat", OF_AWA_05))

    (of_ours,), (of_theirs,) = rows.job(ours)["errors"], rows.job(theirs)["errors"]
    assert (of_ours["worker"], of_ours["app_version"]) == ("web-1:4242", "v7")
    assert of_ours["started"] < of_ours["heartbeat"] < of_ours["at"]
    assert not {"worker", "app_version"} & of_theirs.keys()


# -- graces


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def rescues(database_url: str, clock: Clock) -> AsyncIterator[Rescues]:
    link = Link("maintenance", dsn=database_url, outage=Outage(), bounds=Bounds())
    contact = Contact(link, clock)
    yield Rescues(contact, WorkerOptions(queues=()), on_rescued=lambda found: None, clock=clock)
    await link.close()


async def look(rescues: Rescues, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        await rescues.deadline()
    await rescues.stale()


async def test_after_an_outage_each_job_has_the_grace_of_its_process(
    rescues: Rescues, clock: Clock, rows: Rows, declare: Declare, put: Put
) -> None:
    await look(rescues, clock, 60)
    jobs = [put(declare(3, 10).next(), 600), put(declare(15, 45).next(), 600), put(7, 600)]
    rows.conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(awa.Unavailable):
        await rescues.stale()
    states = []
    for seconds in (1, 3, 2, 8, 2, 13, 2):  # 0, 3, 5, 13, 15, 28, 30 seconds after the first answer
        await look(rescues, clock, seconds)
        states.append([rows.job(job_id)["state"][:3] for job_id in jobs])

    run_, ret = "run", "ret"
    assert states == [
        [run_, run_, run_],
        [run_, run_, run_],
        [ret, run_, run_],
        [ret, run_, run_],
        [ret, ret, run_],
        [ret, ret, run_],
        [ret, ret, ret],
    ]


@pytest.mark.parametrize(("silence", "left"), [(3, [False, False]), (5, [True, False])])
async def test_a_silence_of_the_database_counts_for_those_that_it_can_make_look_dead(
    rescues: Rescues, clock: Clock, rows: Rows, declare: Declare, put: Put, silence: int,
    left: list[bool],
) -> None:  # fmt: skip
    await look(rescues, clock, 60)
    jobs = [put(declare(3, 10).next(), 600), put(7, 600)]
    clock.now += silence
    await rescues.stale()

    assert [rows.job(job_id)["state"] == "running" for job_id in jobs] == left


async def test_a_locked_table_of_processes_delays_rescues_and_begins_a_grace(
    rescues: Rescues, clock: Clock, rows: Rows, declare: Declare, put: Put, database_url: str
) -> None:
    await look(rescues, clock, 60)
    job_id = put(declare(3, 10).next(), 600)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE awa.worker_processes IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(awa.Transient):
            await rescues.stale()
    states = []
    for seconds in (1, 4, 1):
        await look(rescues, clock, seconds)
        states.append(rows.job(job_id)["state"])

    assert states == ["running", "running", "retryable"]


async def test_a_row_that_was_locked_has_the_grace_of_its_process(
    rescues: Rescues, clock: Clock, rows: Rows, declare: Declare, put: Put, database_url: str
) -> None:
    await look(rescues, clock, 60)
    job_id = put(declare(3, 10).next(), 600)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (job_id,))
        await look(rescues, clock, 20)
    states = []
    for seconds in (1, 4, 1):
        await look(rescues, clock, seconds)
        states.append(rows.job(job_id)["state"])

    assert states == ["running", "running", "retryable"]


# -- the table


def test_a_number_that_is_taken_is_not_shared(rows: Rows, declare: Declare) -> None:
    taken = declare(3, 10).process
    mine = processes.Process(str(uuid.uuid4()), "web-2", 1, "9", None, 3000, 10000)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        number, started = run(conn, processes.keep_process(mine, taken, None))
        again = run(conn, processes.keep_process(mine, number, started))

    assert number != taken
    assert again == (number, started)
    assert rows.one("SELECT hostname FROM awa.worker_processes WHERE number = %s", taken) == {
        "hostname": "web-1"
    }


def test_a_process_writes_that_it_lives_once_an_hour(rows: Rows, declare: Declare) -> None:
    number = declare(3, 10).process
    row = "SELECT *, xmin::text AS change FROM awa.worker_processes WHERE number = %s"
    before = rows.one(row, number)
    mine = processes.Process(str(before["instance_id"]), "web-1", 4242, "9", "v7", 3000, 10000)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        run(conn, processes.keep_process(mine, number, before["started_at"]))
        assert rows.one(row, number) == before
        rows.conn.execute("UPDATE awa.worker_processes SET last_seen_at = now() - interval '2 h'")
        run(conn, processes.keep_process(mine, number, before["started_at"]))
    after = rows.one(row, number)

    assert after["last_seen_at"] > before["last_seen_at"]
    assert after["started_at"] == before["started_at"]


def test_a_process_writes_in_which_session_it_reports(rows: Rows, declare: Declare) -> None:
    number = declare(3, 10).process
    row = "SELECT instance_id, started_at, session FROM awa.worker_processes WHERE number = %s"
    before = rows.one(row, number)
    mine = processes.Process(str(before["instance_id"]), "web-1", 4242, "9", "v7", 3000, 10000)
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        for session in (7, 8, None):
            run(conn, processes.keep_process(mine, number, before["started_at"], session))
            assert {**before, "session": session} == rows.one(row, number)


async def test_a_worker_that_lost_its_session_says_so_and_comes_back(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    def fleet() -> list[tuple[bool, bool]]:
        with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
            return [(one.stale, one.session_ended) for one in run(conn, runtime_instances())]

    session = "SELECT session FROM awa.worker_processes"
    async with working(aclient):
        await aeventually(lambda: fleet() == [(False, False)])
        first = rows.one(session)["session"]
        rows.conn.execute("SELECT pg_terminate_backend(%s)", [first])
        await aeventually(lambda: fleet() == [(True, True)])
        aclient._runtime._publisher.poke()  # type: ignore[union-attr] # every 10 s otherwise
        await aeventually(lambda: fleet() == [(False, False)])
        assert rows.one(session)["session"] != first
    # A clean stop is no death.
    assert fleet() == [(False, False)]


def test_processes_are_forgotten_after_thirty_days(rows: Rows, declare: Declare) -> None:
    old = declare(3, 10, last_seen_at="now() - interval '31 days'")
    kept = declare(3, 10, last_seen_at="now() - interval '29 days'")
    with psycopg.connect(rows.conn.info.dsn, autocommit=True) as conn:
        assert run(conn, processes.forget_processes()) == 1

    assert rows.all("SELECT number FROM awa.worker_processes") == [{"number": kept.process}]
    assert old.process != kept.process


async def test_a_worker_claims_with_leases_that_name_it(
    aclient: awa.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTNAME", "web-9")
    monkeypatch.setenv("AWA_APP_VERSION", "v3")

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient, heartbeat_interval_ms=300, heartbeat_staleness_ms=1500):
        jobs = [await aclient.insert(Noop(n)) for n in range(3)]
        await aeventually(lambda: rows.states() == {"completed": 3})
        (process,) = rows.all("SELECT * FROM awa.worker_processes")
        leases = [rows.job(job.id)["run_lease"] for job in jobs]
        # An operator deletes the row: it is written again, and older jobs keep their worker.
        rows.conn.execute("DELETE FROM awa.worker_processes")
        aclient._runtime._publisher.poke()  # type: ignore[union-attr] # every 10 s otherwise
        (again,) = await aeventually(lambda: rows.all("SELECT * FROM awa.worker_processes"))
    (ended,) = rows.all("SELECT * FROM awa.worker_processes")

    assert {lease >> 29 for lease in leases} == {process["number"]}
    assert {lease % 512 for lease in leases} == {0}
    declared = ("hostname", "app_version", "heartbeat_interval_ms", "heartbeat_staleness_ms")
    assert [process[name] for name in declared] == ["web-9", "v3", 300, 1500]
    for name in ("number", "instance_id", "started_at", "pid"):
        assert again[name] == process[name]
    assert (again["stopped_at"], ended["stopped_at"] > ended["started_at"]) == (None, True)


async def test_the_error_of_an_attempt_names_its_worker_and_its_begin(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None:
        raise ValueError("no") if job.attempt == 1 else awa.TerminalError("never")

    async with working(aclient):
        job = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == "retryable")
        rows.conn.execute("UPDATE awa.scheduled_jobs SET run_at = now()")
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")
    (process,) = rows.all("SELECT hostname || ':' || pid AS name FROM awa.worker_processes")

    errors = rows.job(job.id)["errors"]
    assert [error["worker"] for error in errors] == [process["name"]] * 2
    assert all(error["started"] <= error["at"] for error in errors)
    assert errors[0]["at"] < errors[1]["started"]


WORKER = """
import asyncio, os
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="hold")
async def hold(job):
    if not job.errors:
        await asyncio.sleep(3600)

awa.run(client, [("default", 5)], drain_timeout=0, leads=LEADS)
"""


@pytest.mark.parametrize("leads", [True, False], ids=["the leader", "another"])
def test_the_jobs_of_a_killed_worker_run_again_within_15_seconds(
    spawn_worker: Callable[..., Any], rows: Rows, database_url: str, leads: bool
) -> None:
    """With the options that a worker has by default."""
    victim = spawn_worker(WORKER.replace("LEADS", str(leads)))
    with awa.Client(database_url) as client:
        jobs = [client.insert({"n": n}, kind="hold") for n in range(5)]
    eventually(lambda: rows.states() == {"running": 5}, 30)
    spawn_worker(WORKER.replace("LEADS", "True"))
    eventually(lambda: len(rows.all("SELECT FROM awa.worker_processes")) == 2, 30)
    eventually(lambda: rows.all("SELECT FROM awa.runtime_instances WHERE leader"), 30)
    victim.kill()

    def dead() -> RuntimeInstance:
        with psycopg.connect(database_url, autocommit=True) as conn:
            return next(one for one in run(conn, runtime_instances()) if one.pid == victim.pid)

    eventually(lambda: dead().session_ended and not dead().healthy, 5)
    eventually(lambda: rows.states() == {"completed": 5}, 15)
    assert dead().rescued_at is not None
    assert {rows.job(job.id)["metadata"]["_awa_crashes"] for job in jobs} == {1}
