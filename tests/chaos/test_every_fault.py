"""Every kind of fault in turn, under load: each job ends as its handler decided.

The short form is one round of chosen faults.  The long form (``-m soak``) plays all of them in
random order: ``FAULTS_SEED`` and ``FAULTS_SECONDS`` say which order and how long.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from fix_fleet import QUEUES, SLOTS, Fleet
from fix_wait import eventually

import awa_lib as awa

pytestmark = pytest.mark.chaos

Fault = Callable[[Fleet], None]
OURS = "datname = 'awa' AND application_name LIKE 'awa worker%'"


def cancels_in_a_storm(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        for _ in range(20):
            rows = conn.execute(
                "SELECT id FROM awa.jobs_hot WHERE state IN ('running', 'available') LIMIT 10"
            ).fetchall()
            for (job_id,) in rows:
                _asked(fleet, job_id, "cancel")
                with suppress(awa.AwaError):
                    awa.Client.on(conn).cancel(job_id)
            time.sleep(0.05)


def retries_of_waiting_jobs(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        for _ in range(10):
            rows = conn.execute(
                "SELECT id FROM awa.jobs_hot WHERE state = 'waiting_external' LIMIT 10"
            ).fetchall()
            for (job_id,) in rows:
                _asked(fleet, job_id, "retry")
                with suppress(awa.AwaError):
                    awa.Client.on(conn).retry(job_id)
            time.sleep(0.1)


def _asked(fleet: Fleet, job_id: int, what: str) -> None:
    # By id: the producer may not have its answer yet.
    fleet.asked.setdefault(job_id, set()).add(what)


def sigterm_of_a_worker(fleet: Fleet) -> None:
    member = fleet.random.choice(fleet.living)
    member.kill(signal.SIGTERM)
    if member.process.wait(15) != 0:
        fleet.problems.append(f"{member.name} ended with {member.process.returncode}")
    fleet.replace_dead()


def kill_9_of_a_worker(fleet: Fleet) -> None:
    fleet.random.choice(fleet.living).kill()
    time.sleep(1)
    fleet.replace_dead()


def a_transaction_on_running_rows(fleet: Fleet) -> None:
    with fleet.admin() as conn, conn.transaction():
        conn.execute("SELECT id FROM awa.jobs_hot WHERE state = 'running' LIMIT 20 FOR UPDATE")
        time.sleep(4)


def a_locked_table(fleet: Fleet) -> None:
    with fleet.admin() as conn, conn.transaction():
        conn.execute("LOCK TABLE awa.jobs_hot IN ACCESS EXCLUSIVE MODE")
        time.sleep(fleet.random.uniform(2, 4))


def a_table_locked_for_long(fleet: Fleet) -> None:
    with fleet.admin() as conn, conn.transaction():
        conn.execute("LOCK TABLE awa.jobs_hot IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        fleet.expect_unhealthy(fleet.living, began)
        time.sleep(max(0.0, began + 15 - time.monotonic()))


def an_open_unique_key(fleet: Fleet) -> None:
    """A retry needs the key that another job is about to take."""
    options = {"by_args": True, "states": 6}
    with fleet.admin() as conn:
        jobs = [
            awa.Client.on(conn).insert(
                {"n": -n, "sleep": 0, "fails": 1}, kind="flaky", queue="one", unique_opts=options
            )
            for n in range(5)
        ]
        # One that ran beside two killed workers runs alone now, and others wait meanwhile.
        eventually(lambda: _states(conn, jobs) <= {"retryable", "completed"}, 40)
        with suppress(awa.AwaError, psycopg.Error), conn.transaction(force_rollback=True):
            for n in range(5):
                awa.Client.on(conn).insert(
                    {"n": -n, "sleep": 0, "fails": 1},
                    kind="flaky",
                    queue="one",
                    unique_opts=options,
                )
            time.sleep(2)
        eventually(lambda: _states(conn, jobs) == {"completed"}, 15)


def _states(conn: psycopg.Connection, jobs: list[awa.Job]) -> set[str]:
    rows = conn.execute(
        "SELECT state::text FROM awa.jobs WHERE id = ANY(%s)", ([job.id for job in jobs],)
    )
    return {state for (state,) in rows}


def time_outs_of_the_role(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        conn.execute("ALTER ROLE postgres SET statement_timeout = '30ms'")
        conn.execute("ALTER ROLE postgres SET lock_timeout = '5ms'")
        conn.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
        time.sleep(2)
        conn.execute("SET statement_timeout = 0")
        conn.execute("ALTER ROLE postgres RESET ALL")
        conn.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")


def terminated_in_a_storm(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        for _ in range(40):
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE {OURS} AND random() < 0.3"
            )
            time.sleep(0.05)


def cancelled_in_a_storm(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        for _ in range(150):
            conn.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                f"WHERE {OURS} AND random() < 0.5"
            )
            time.sleep(0.02)


def immediate_restarts(fleet: Fleet) -> None:
    for _ in range(3):
        fleet.server.stop("immediate")
        fleet.server.start()
        time.sleep(fleet.random.uniform(0, 1))


def a_server_that_is_away(fleet: Fleet) -> None:
    began = time.monotonic()
    fleet.server.stop("fast")
    fleet.expect_unhealthy(fleet.living, began)
    time.sleep(fleet.random.uniform(0, 6))
    fleet.server.start()


def a_stopped_server(fleet: Fleet) -> None:
    began = time.monotonic()
    fleet.server.signal(signal.SIGSTOP)
    try:
        fleet.expect_unhealthy(fleet.living, began)
        time.sleep(fleet.random.uniform(0, 6))
    finally:
        fleet.server.signal(signal.SIGCONT)


def a_read_only_server(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        conn.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        conn.execute("SELECT pg_reload_conf()")
        began = time.monotonic()
        fleet.expect_unhealthy(fleet.living, began)
        time.sleep(2)
        conn.execute("SET default_transaction_read_only = off")
        conn.execute("ALTER SYSTEM RESET default_transaction_read_only")
        conn.execute("SELECT pg_reload_conf()")


def a_silent_network(fleet: Fleet) -> None:
    began = time.monotonic()
    fleet.proxy.hold()
    for member in fleet.living:
        # Silent for longer than the staleness: no other process can know that it is alive.
        member.hurt = member.hurt or member.proxied
    try:
        fleet.expect_unhealthy([m for m in fleet.living if m.proxied], began)
        time.sleep(fleet.random.uniform(0, 4))
    finally:
        fleet.proxy.let_go()


def a_cut_network(fleet: Fleet) -> None:
    for _ in range(5):
        fleet.proxy.cut_all()
        time.sleep(0.3)


def a_stopped_leader(fleet: Fleet) -> None:
    leader = fleet.leader()
    leader.kill(signal.SIGSTOP)
    try:
        eventually(
            lambda: [m for m in fleet.living if m is not leader and m.last.get("leader")], 20
        )
    except BaseException as error:
        fleet.problems.append(f"no other process leads: {error!r}")
    finally:
        leader.kill(signal.SIGCONT)


def a_poison_job(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        job = awa.Client.on(conn).insert({}, kind="poison", queue="two")
        until = time.monotonic() + 150
        while _states(conn, [job]) != {"failed"}:
            for member in fleet.members:
                if member.process.poll() == -signal.SIGKILL:
                    member.hurt = True
            fleet.replace_dead()
            time.sleep(0.1)
            if time.monotonic() > until:
                fleet.problems.append("the poison job has not ended")
                break
        died = sum(line["what"] == "poison" for m in fleet.members for line in m.lines())
        fleet.notes.append(f"{died} workers died of poison")
    time.sleep(0.5)
    for member in fleet.members:
        member.hurt = member.hurt or member.process.poll() == -signal.SIGKILL
    fleet.replace_dead()


def odd_rows(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        conn.execute(
            "INSERT INTO awa.cron_jobs (name, cron_expr, timezone, kind, queue, args, last_enqueued_at) "
            "VALUES ('odd1', 'never', 'UTC', 'ok', 'one', '{}', NULL),"
            " ('odd2', '* * * * *', 'Mars/Base', 'ok', 'one', '{}', NULL),"
            " ('odd3', '* * * * *', 'UTC', 'ok', 'one', '[1]', 'infinity'),"
            " ('odd4', '* * * * *', 'UTC', '', '', 'null', '-infinity') ON CONFLICT DO NOTHING"
        )
        for column, value in (
            ("max_rate", "'NaN'"),
            ("max_rate", "'infinity'"),
            ("deadline_seconds", "'NaN'"),
            ("deadline_seconds", "1e300"),
            ("poll_interval_ms", "2147483647"),
            ("claim_batch", "2147483647"),
            ("updated_at", "'infinity'"),
            ("completed_retention_hours", "'infinity'"),
            ("failed_retention_hours", "1e300"),
        ):
            with suppress(psycopg.Error):  # where a check of the table refuses it
                conn.execute(
                    f"INSERT INTO awa.queue_policies (queue, {column}) VALUES ('one', {value}) "
                    f"ON CONFLICT (queue) DO UPDATE SET {column} = {value}"
                )
        conn.execute("SELECT pg_notify('awa_policy', 'one')")
        time.sleep(2)
        conn.execute("DELETE FROM awa.queue_policies")
        conn.execute("DELETE FROM awa.cron_jobs")
        conn.execute("SELECT pg_notify('awa_policy', 'one')")


def moves_between_queues(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        for _ in range(20):
            rows = conn.execute(
                "SELECT id, queue FROM awa.jobs WHERE state IN ('available', 'retryable', 'running') "
                "LIMIT 20"
            ).fetchall()
            for job_id, queue in rows:
                with suppress(awa.AwaError):
                    awa.Client.on(conn).move_queue(job_id, QUEUES[queue == QUEUES[0]])
            time.sleep(0.05)


def an_open_policy(fleet: Fleet) -> None:
    with fleet.admin() as conn, conn.transaction(force_rollback=True):
        awa.Client.on(conn).set_queue_policy("one", max_running=5)
        time.sleep(2)


ALL: list[Fault] = [
    cancels_in_a_storm,
    retries_of_waiting_jobs,
    sigterm_of_a_worker,
    kill_9_of_a_worker,
    a_transaction_on_running_rows,
    a_locked_table,
    a_table_locked_for_long,
    an_open_unique_key,
    time_outs_of_the_role,
    terminated_in_a_storm,
    cancelled_in_a_storm,
    immediate_restarts,
    a_server_that_is_away,
    a_stopped_server,
    a_read_only_server,
    a_silent_network,
    a_cut_network,
    a_stopped_leader,
    a_poison_job,
    odd_rows,
    moves_between_queues,
    an_open_policy,
]
SHORT: list[Fault] = [
    cancels_in_a_storm,
    retries_of_waiting_jobs,
    odd_rows,
    sigterm_of_a_worker,
    a_transaction_on_running_rows,
    an_open_unique_key,
    terminated_in_a_storm,
    cancelled_in_a_storm,
    immediate_restarts,
    a_cut_network,
    kill_9_of_a_worker,
    moves_between_queues,
]


@contextmanager
def running(seed: int) -> Iterator[Fleet]:
    place = Path(tempfile.mkdtemp(prefix="awa-faults-"))
    place.chmod(0o755)
    fleet = Fleet(place, seed)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()
        if "FAULTS_KEEP" in os.environ:
            print(place)
        else:
            shutil.rmtree(place)


def play(fleet: Fleet, faults: list[Fault]) -> None:
    fleet.settled(20)
    for fault in faults:
        fleet.notes.append(f"{datetime.now(UTC):%H:%M:%S} {fault.__name__}")
        before = len(fleet.problems)
        try:
            fault(fleet)
        except (Exception, pytest.fail.Exception) as error:
            fleet.problems.append(f"{type(error).__name__}: {error}")
        fleet.settled()
        if len(fleet.problems) > before:
            fleet.problems.append(f"... after {fault.__name__}")


def finish(fleet: Fleet) -> list[str]:
    """Let everything end, prove every slot, and judge."""
    fleet.stop_load()
    left = (
        "SELECT id, kind, queue, state::text, attempt, run_at, metadata, errors FROM awa.jobs "
        "WHERE state NOT IN ('completed', 'failed', 'cancelled')"
    )
    with fleet.admin() as conn:
        try:
            eventually(lambda: not conn.execute(left).fetchall(), 40)
        except BaseException:
            fleet.problems.append(f"not ended: {conn.execute(left).fetchall()[:5]}")
        guests, room = SLOTS * len(fleet.living), f"room-{time.monotonic()}"
        jobs = awa.Client.on(conn).insert_many(
            awa.NewJob(
                {"room": room, "guests": guests},
                kind="meeting",
                queue=QUEUES[n % 2],
                max_attempts=1,
            )
            for n in range(guests)
        )
        # All of one room.
        try:
            eventually(lambda: _states(conn, jobs) == {"completed"}, 30)
        except BaseException as error:
            fleet.problems.append(f"slots are missing: {error!r}")
        eventually(lambda: all(m.last.get("in_flight") == 0 for m in fleet.living), 10)
        rows = conn.execute(
            "SELECT pid, healthy, leader FROM awa.runtime_instances WHERE pid = ANY(%s) "
            "AND last_seen_at > now() - interval '1 minute'",
            ([m.pid for m in fleet.living],),
        ).fetchall()
        if sorted(pid for pid, healthy, _ in rows if healthy) != sorted(
            m.pid for m in fleet.living
        ):
            fleet.problems.append(f"published: {rows}")
    return fleet.judge()


def test_faults_in_turn() -> None:
    with running(7) as fleet:
        play(fleet, SHORT)
        problems = finish(fleet)
        print("\n".join([*fleet.notes, *problems[:50]]))
    assert problems == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_faults_in_random_order() -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.randrange(10_000))
    until = time.monotonic() + float(os.environ.get("FAULTS_SECONDS") or 300)
    print(f"FAULTS_SEED={seed}")
    with running(seed) as fleet:
        while time.monotonic() < until:
            for fault in fleet.random.sample(ALL, len(ALL)):
                if time.monotonic() < until:
                    play(fleet, [fault])
        problems = finish(fleet)
        print("\n".join([*fleet.notes, *problems[:50]]))
    assert problems == []
