"""The stream of transitions: nothing is lost or reported twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from fix_wait import aeventually

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.dead_letters import move_failed_to_dlq
from awa_lib.reads.activity import Activity, Transition, recent_transitions


@dataclass
class Noop:
    n: int = 0


@pytest.fixture
def conn(database_url) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        database_url, autocommit=True, options="-c timezone=UTC -c datestyle=ISO"
    ) as conn:
        yield conn


@pytest.fixture
def look(conn):
    """Begin to follow; the call returns what is new."""
    activity = Activity()
    run(conn, activity.begin())

    def look() -> list[Transition]:
        found = run(conn, activity.step())
        while activity.more:
            found += run(conn, activity.step())
        return found

    return look


def steps_of(found: list[Transition]) -> list[tuple]:
    return [(one.id, one.event, one.attempt) for one in found]


def insert(conn, state="available", **columns) -> int:
    table = "scheduled_jobs" if state in {"scheduled", "retryable"} else "jobs_hot"
    row = {"kind": "k", "queue": "q", "state": state, **columns}
    sql = f"INSERT INTO awa.{table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"
    return conn.execute(sql + " RETURNING id", list(row.values())).fetchone()[0]


def test_the_present_is_not_told(conn, look) -> None:
    assert look() == []
    assert run(conn, recent_transitions(5)) == []


def test_a_job_is_told_from_its_start_to_its_end(conn, look) -> None:
    job = insert(conn)
    assert steps_of(look()) == [(job, "created", 0)]
    assert look() == []
    conn.execute(
        "UPDATE awa.jobs_hot SET state = 'running', attempt = 1, run_lease = 1,"
        " attempted_at = now()"
    )
    assert steps_of(look()) == [(job, "running", 1)]
    conn.execute("UPDATE awa.jobs_hot SET heartbeat_at = now()")
    assert look() == []
    conn.execute("UPDATE awa.jobs_hot SET state = 'waiting_external'")
    assert steps_of(look()) == [(job, "waiting_external", 1)]
    conn.execute("UPDATE awa.jobs_hot SET state = 'running'")
    conn.execute("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()")
    assert steps_of(look()) == [(job, "completed", 1)]
    assert look() == []


def test_all_that_happened_between_two_looks_is_told_in_order(conn, look) -> None:
    job = insert(
        conn,
        "failed",
        attempt=2,
        run_lease=2,
        attempted_at="now",
        finalized_at="now",
        errors=[
            '{"error": "a\\nb", "attempt": 1, "at": "2100-01-01T00:00:00+00:00"}',
            '{"error": "c", "attempt": 2, "at": "2100-01-02T00:00:00+00:00"}',
        ],
    )
    found = look()
    assert sorted(steps_of(found)) == [
        (job, "created", 0),
        (job, "failed", 2),
        (job, "retryable", 1),
        (job, "running", 1),
        (job, "running", 2),
    ]
    errors = {one.event: one.error for one in found}
    assert errors == {"created": None, "running": None, "failed": "c", "retryable": "a"}


def test_a_job_that_is_committed_late_is_told_once(conn, look, database_url) -> None:
    with psycopg.connect(database_url) as late, psycopg.connect(database_url) as lost:
        first = insert(late)
        insert(lost)
        second = insert(conn)
        assert steps_of(look()) == [(second, "created", 0)]
        assert look() == []
        late.commit()
        lost.rollback()
        assert steps_of(look()) == [(first, "created", 0)]
        third = insert(conn)
        assert steps_of(look()) == [(third, "created", 0)]
        assert look() == []


def test_an_end_that_is_committed_late_is_told(conn, look, database_url) -> None:
    jobs = [insert(conn) for _ in range(2)]
    look()
    with psycopg.connect(database_url) as late:
        end = "UPDATE awa.jobs_hot SET state = 'cancelled', finalized_at = now() WHERE id = %s"
        late.execute(end, [jobs[0]])
        conn.execute(end, [jobs[1]])
        assert steps_of(look()) == [(jobs[1], "cancelled", 0)]
        for _ in range(3):
            assert look() == []
        late.commit()
        assert steps_of(look()) == [(jobs[0], "cancelled", 0)]
    assert look() == []


def test_more_than_a_page(conn, look) -> None:
    conn.execute("INSERT INTO awa.jobs_hot (kind) SELECT 'k' FROM generate_series(1, 12000)")
    assert len({one.id for one in look()}) == 12_000
    assert look() == []


def test_retried_by_hand_and_run_again(conn, look) -> None:
    job = insert(conn, "failed", attempt=1, run_lease=1, attempted_at="now", finalized_at="now")
    assert steps_of(look()) == [(job, "created", 0), (job, "running", 1), (job, "failed", 1)]
    conn.execute("UPDATE awa.jobs_hot SET state = 'available', attempt = 0, finalized_at = NULL")
    assert look() == []
    conn.execute(
        "UPDATE awa.jobs_hot SET state = 'completed', attempt = 1, run_lease = 2,"
        " attempted_at = now(), finalized_at = now()"
    )
    assert steps_of(look()) == [(job, "running", 1), (job, "completed", 1)]


def entry(attempt: int, at: str = "2100-01-01T00:00:00+00:00", **more: object) -> str:
    return json.dumps({"error": "e", "attempt": attempt, "at": at, **more})


def test_an_attempt_that_began_and_failed_between_two_looks(conn, look) -> None:
    job = insert(conn)
    look()
    conn.execute(
        "UPDATE awa.jobs_hot SET state = 'running', attempt = 2, run_lease = 2,"
        " attempted_at = now(), errors = %s",
        [[entry(1)]],
    )
    assert sorted(steps_of(look())) == [
        (job, "retryable", 1),
        (job, "running", 1),
        (job, "running", 2),
    ]
    assert look() == []


@pytest.mark.parametrize(("more", "retried"), [({}, True), ({"terminal": True}, False)])
def test_a_failure_whose_wait_was_over_before_the_look(conn, look, more, retried) -> None:
    job = insert(conn, "running", attempt=1, run_lease=1, attempted_at="now")
    look()
    conn.execute("UPDATE awa.jobs_hot SET state = 'available', errors = %s", [[entry(1, **more)]])
    found = set(steps_of(look()))
    assert found == {(job, "available", 1)} | ({(job, "retryable", 1)} if retried else set())


def test_a_retry_without_an_error_that_was_over_before_the_look(conn, look) -> None:
    job = insert(conn)
    look()
    conn.execute(
        "UPDATE awa.jobs_hot SET state = 'running', attempt = 2, run_lease = 2,"
        " finalized_at = now(), attempted_at = now() + interval '1 ms'"
    )
    found = look()
    assert steps_of(found) == [(job, "running", 1), (job, "retryable", 1), (job, "running", 2)]
    assert [one.error for one in found] == [None] * 3
    assert look() == []


def test_a_snooze_tells_no_failure_again(conn, look) -> None:
    job = insert(conn, "running", attempt=2, run_lease=2, attempted_at="now", errors=[entry(1)])
    look()
    # Put back without counting the attempt, and claimed again: the lease counts, the attempt not.
    conn.execute("UPDATE awa.jobs_hot SET run_lease = 3, attempted_at = now()")
    assert steps_of(look()) == [(job, "running", 2)]


def test_cancelled_retried_and_cancelled_again(conn, look) -> None:
    job = insert(conn, attempt=1, run_lease=1, attempted_at="now")
    look()
    cancel = "UPDATE awa.jobs_hot SET state = 'cancelled', finalized_at = now()"
    for _ in range(2):
        conn.execute(cancel)
        assert steps_of(look()) == [(job, "cancelled", 1)]
        conn.execute("UPDATE awa.jobs_hot SET state = 'available', finalized_at = NULL")
        assert look() == []


def test_a_job_that_became_a_dead_letter_before_the_look(conn, look) -> None:
    seen = insert(conn, "running", attempt=1, run_lease=1, attempted_at="now")
    look()
    unseen = insert(conn, "failed", attempt=1, run_lease=1, attempted_at="now", finalized_at="now")
    conn.execute("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now()")
    for job in (seen, unseen):
        run(conn, move_failed_to_dlq(job, "why"))
    assert sorted(steps_of(look())) == [
        (seen, "failed", 1),
        (unseen, "created", 0),
        (unseen, "failed", 1),
        (unseen, "running", 1),
    ]
    assert look() == []


def test_what_was_under_way_at_the_begin(conn, database_url) -> None:
    """A job that runs and is then put back, and one whose transaction is open."""
    running = insert(conn, "running", attempt=1, run_lease=1, attempted_at="now")
    activity = Activity()
    with psycopg.connect(database_url) as late:
        committed_late = insert(late)
        insert(conn)
        run(conn, activity.begin())
        late.commit()
    conn.execute("UPDATE awa.jobs_hot SET state = 'available' WHERE id = %s", [running])

    found = steps_of(run(conn, activity.step()))

    assert sorted(found) == [(running, "available", 1), (committed_late, "created", 0)]


def test_recent_ones_and_steps_together_tell_each_thing_once(conn) -> None:
    before = insert(conn, "running", attempt=1, run_lease=1, attempted_at="now")
    activity = Activity()
    run(conn, activity.begin())
    conn.execute("UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now()")
    after = insert(
        conn, "completed", attempt=1, run_lease=1, attempted_at="now", finalized_at="now"
    )

    recent = steps_of(run(conn, activity.recent(100)))
    found = steps_of(run(conn, activity.step()))

    assert recent == [(before, "created", 0), (before, "running", 1)]
    assert found == [
        (before, "completed", 1),
        (after, "created", 0),
        (after, "running", 1),
        (after, "completed", 1),
    ]


def test_recent_ones_come_from_the_rows(conn) -> None:
    jobs = [insert(conn, created_at=f"2026-01-01T00:00:0{n}Z") for n in range(5)]
    done = insert(
        conn,
        "completed",
        attempt=1,
        attempted_at="2026-01-01T00:01Z",
        created_at="2026-01-01T00:00:30Z",
        finalized_at="2026-01-01T00:02Z",
    )
    found = steps_of(run(conn, recent_transitions(4)))
    assert found == [
        (jobs[4], "created", 0),
        (done, "created", 0),
        (done, "running", 1),
        (done, "completed", 1),
    ]


async def test_a_busy_fleet_is_told_whole(aclient, conn) -> None:
    """Jobs that come through several connections, fail, are retried and rolled back."""
    client = aclient
    activity = Activity()
    run(conn, activity.begin())

    @client.task(Noop, queue="q")
    async def noop(job: awa.Job[Noop]) -> awa.RetryAfter | None:
        if job.args.n % 50 == 0 and job.attempt == 1:
            return awa.RetryAfter(1)
        if job.args.n % 77 == 0:
            raise awa.TerminalError("no")
        return None

    async def produce(start: int) -> None:
        for n in range(start, start + 500, 5):
            async with client.transaction() as tx:
                await tx.insert_many([Noop(n + i) for i in range(5)], queue="q")
                if n % 100 == 0:
                    await asyncio.sleep(0.05)

    async def rolled_back() -> None:
        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                async with client.transaction() as tx:
                    await tx.insert(Noop(-1), queue="q")
                    raise ZeroDivisionError

    found: list[Transition] = []

    async def step() -> bool:
        found.extend(await asyncio.to_thread(run, conn, activity.step()))
        ended = {one.id for one in found if one.event in {"completed", "failed"}}
        return len(ended) == 2_000

    await client.start([("q", 50)])
    producing = asyncio.gather(*[produce(1 + 500 * n) for n in range(4)], rolled_back())
    await aeventually(step, timeout=60)
    await producing
    await client.shutdown()

    counts = Counter((one.id, one.event, one.attempt) for one in found)
    assert max(counts.values()) == 1
    rows = conn.execute("SELECT id, state::text, attempt FROM awa.jobs").fetchall()
    assert len(rows) == 2_000
    expected = set()
    for job_id, state, attempt in rows:
        expected |= {(job_id, "created", 0), (job_id, state, attempt)}
        expected |= {(job_id, "running", n) for n in range(1, attempt + 1)}
        expected |= {(job_id, "retryable", n) for n in range(1, attempt)}
    assert set(counts) == expected
