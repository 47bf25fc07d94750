"""The database away, silent, read-only or cut off at the worst moment."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import time

import psycopg
import pytest
from fix_proxy import Proxy
from fix_wait import aeventually, eventually
from fix_worker import QUICK, Noop, Rows, working

import awa_lib as awa
from awa_lib.db.connect import Purpose, connect, connect_async
from awa_lib.embedded import acquire
from awa_lib.runtime import links, listener

# No heartbeat writes to the row of a job.
PATIENT = {"heartbeat_interval_ms": 60_000, "heartbeat_staleness_ms": 180_000}


@pytest.mark.parametrize(
    ("name", "value"),
    [("PGDATESTYLE", "German"), ("PGCLIENTENCODING", "SQL_ASCII"), ("PGTZ", "Asia/Tokyo")],
)
async def test_the_environment_changes_no_session(
    database_url: str, rows: Rows, monkeypatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with connect(database_url, Purpose()) as conn:
        found = [
            conn.execute(f"SHOW {what}").fetchone()[0]
            for what in ("datestyle", "client_encoding", "timezone", "intervalstyle")
        ]
    assert found[0].startswith("ISO")
    assert found[1:] == ["UTF8", "UTC", "postgres"]
    async with awa.AsyncClient(database_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            raise awa.TerminalError("no \N{EURO SIGN}")

        async with working(client):
            job = await client.insert(Noop())
            await aeventually(lambda: rows.job(job.id)["state"] == "failed")
    assert "no \N{EURO SIGN}" in rows.job(job.id)["errors"][0]["error"]


async def test_a_claim_without_an_answer_is_given_back_uncounted(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows
) -> None:
    ran = []
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            ran.append(job.attempt)

        async with working(client, heartbeat_staleness_ms=60_000):
            proxy.cut_answer(b"run_lease")
            with awa.Client(database_url) as other:
                job = other.insert(Noop(), max_attempts=1)
            await aeventually(lambda: rows.job(job.id)["state"] == "completed")
    assert proxy.cuts == 1
    assert ran == [1]


async def test_a_lost_claim_is_given_back_though_somebody_has_one_of_its_jobs(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows
) -> None:
    """Jobs that are locked at the first search are found by a later search."""
    ran: set[int] = set()
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            ran.add(job.id)

        async with working(client, heartbeat_staleness_ms=60_000):
            proxy.cut_answer(b"run_lease")
            proxy.hold_new_connections = True
            with awa.Client(database_url) as other:
                first, second = other.insert_many([{}, {}], kind="noop")
            with psycopg.connect(database_url) as stranger:
                await aeventually(lambda: rows.states() == {"running": 2})
                stranger.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [second.id])
                proxy.hold_new_connections = False
                await aeventually(lambda: ran == {first.id})
            await aeventually(lambda: rows.states() == {"completed": 2})
    assert ran == {first.id, second.id}


async def test_an_end_whose_answer_was_lost_is_not_taken_for_stale(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows, caplog
) -> None:
    heard = []
    begin = asyncio.Event()
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            await begin.wait()

        @client.on_event(Noop, awa.Completed)
        async def hook(event: awa.Completed) -> None:
            heard.append(event.job.id)

        # Nobody else asks for one column of ids.
        async with working(client, leads=False, **PATIENT):
            job = await client.insert(Noop())
            await aeventually(lambda: rows.job(job.id)["state"] == "running")
            proxy.cut_answer(b"T\x00\x00\x00\x1b\x00\x01id\x00")
            begin.set()
            await aeventually(lambda: rows.job(job.id)["state"] == "completed")
            await aeventually(lambda: heard == [job.id])
    assert proxy.cuts == 1
    assert not [r for r in caplog.records if "no longer own" in r.getMessage()]


async def test_an_end_that_was_overtaken_after_its_answer_was_lost_is_dropped(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows, caplog
) -> None:
    """Its row holds the lease, and not what the end made of it."""
    heard = []
    begin = asyncio.Event()
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None:
            await begin.wait()

        @client.on_event(Noop, awa.Completed)
        async def hook(event: awa.Completed) -> None:
            heard.append(event.job.id)

        async with working(client, leads=False, **PATIENT):
            job = await client.insert(Noop())
            await aeventually(lambda: rows.job(job.id)["state"] == "running")
            with psycopg.connect(database_url) as stranger:
                stranger.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [job.id])
                begin.set()
                waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                waits += " AND datname = current_database()"
                await aeventually(lambda: rows.all(waits))
                proxy.hold_new_connections = True
                proxy.cut_all()
                stranger.execute(
                    "UPDATE awa.jobs_hot SET state = 'cancelled', finalized_at = now()"
                    " WHERE id = %s", [job.id],
                )  # fmt: skip
                stranger.commit()
            proxy.hold_new_connections = False
            await aeventually(lambda: client._runtime._completer.pending == 0)
    assert rows.job(job.id)["state"] == "cancelled"
    assert not heard
    assert [r for r in caplog.records if "no longer own" in r.getMessage()]


async def test_a_retry_whose_answer_was_lost_is_known_after_another_claim(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows, caplog
) -> None:
    heard = []
    begin, seen = asyncio.Event(), asyncio.Event()
    async with awa.AsyncClient(proxied_url) as client, awa.AsyncClient(database_url) as other:

        @client.task(Noop, backoff=awa.fixed(0.01))
        async def first(job: awa.Job) -> None:
            if job.attempt > 1:  # whichever of both claims it
                await seen.wait()
                return
            await begin.wait()
            raise ValueError("again")

        @client.on_event(Noop, awa.Retried)
        async def hook(event: awa.Retried) -> None:
            heard.append(event.job.id)

        @other.task(Noop)
        async def second(job: awa.Job) -> None:
            await seen.wait()

        async with working(client, leads=False, **PATIENT):
            job = await client.insert(Noop())
            await aeventually(lambda: rows.job(job.id)["state"] == "running")
            async with working(other, **PATIENT):
                await client.pause_queue("default")
                proxy.cut_answer(b"T\x00\x00\x00\x1b\x00\x01id\x00")
                proxy.hold_new_connections = True
                begin.set()
                await aeventually(lambda: rows.job(job.id)["state"] == "available")
                rows.conn.execute("UPDATE awa.queue_meta SET paused = false")
                await aeventually(lambda: rows.job(job.id)["attempt"] == 2)
                proxy.hold_new_connections = False
                await aeventually(lambda: heard == [job.id])
                seen.set()
                await aeventually(lambda: rows.job(job.id)["state"] == "completed")
    assert proxy.cuts == 1
    assert not [r for r in caplog.records if "no longer own" in r.getMessage()]


async def test_an_outage_is_quiet_and_over_at_once(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows, caplog
) -> None:
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        async with working(client, ("default", 5), ("other", 5)):
            first = await client.insert(Noop())
            await aeventually(lambda: rows.job(first.id)["state"] == "completed")
            caplog.clear()
            away = proxy._target
            proxy._target = "/nowhere"
            proxy.cut_all()
            await aeventually(lambda: not client._runtime.snapshot().healthy)
            health = await client.health_check()
            await asyncio.sleep(4)  # the length of the outage
            proxy._target = away
            with awa.Client(database_url) as other:
                job = other.insert(Noop())
            began = time.monotonic()
            await aeventually(lambda: rows.job(job.id)["state"] == "completed")
            took = time.monotonic() - began
            await aeventually(lambda: client._runtime.snapshot().healthy)
    assert not health.postgres_connected
    assert took < 5
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    assert len(lines) < 10, lines


async def test_connections_that_are_dead_and_open_are_found(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows, monkeypatch
) -> None:
    """As some proxies and firewalls keep them: nothing arrives, and nothing is closed."""
    monkeypatch.setattr(links, "_LOOKUP_SECONDS", 1.0)
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        async with working(client, heartbeat_staleness_ms=60_000):
            await aeventually(client.health_check)
            proxy.strand()
            with awa.Client(database_url) as producer:
                job = producer.insert(Noop())
            # A claim hangs, and health must not say otherwise though its own connection works.
            hung = await aeventually(lambda: _health_if_overdue(client), timeout=8)
            assert not hung.healthy
            await aeventually(lambda: rows.job(job.id)["state"] == "completed", timeout=15)


async def test_when_all_connections_are_dead_and_open_a_new_one_tells(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows
) -> None:
    """The connection for health checks is dead too, and must not be waited for."""
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        async with working(client, heartbeat_staleness_ms=60_000):
            await aeventually(client.health_check)
            proxy.strand()
            began = time.monotonic()
            with awa.Client(database_url) as producer:
                job = producer.insert(Noop())
            await client.health_check()
            await aeventually(lambda: rows.job(job.id)["state"] == "completed", timeout=20)
            took = time.monotonic() - began
    # The answer of a health check has a bound of nine seconds.
    assert took < 9


async def _health_if_overdue(client: awa.AsyncClient) -> awa.HealthCheck | None:
    overdue = client._runtime._outage.overdue_links
    health = await client.health_check()
    return health if any(link.name == "claims" for link in overdue) else None


async def test_an_idle_worker_is_healthy_again_after_an_outage(
    proxied_url: str, proxy: Proxy, rows: Rows
) -> None:
    """Its heartbeat has nothing to renew, its publisher comes every ten seconds."""
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        async with working(client):
            await aeventually(lambda: client._runtime.snapshot().healthy)
            proxy.cut_all()
            await aeventually(client.health_check)

            async def healthy() -> bool:
                row = rows.all("SELECT healthy FROM awa.runtime_instances")
                return (await client.health_check()).healthy and row == [{"healthy": True}]

            await aeventually(healthy)


async def test_what_is_due_seldom_is_healthy_soon_after_an_outage(
    proxied_url: str, proxy: Proxy
) -> None:
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        client.periodic("yearly", "0 0 1 1 *", Noop, Noop())
        async with working(client):
            await aeventually(lambda: client._runtime.snapshot().healthy)
            away, proxy._target = proxy._target, "/nowhere"
            proxy.cut_all()
            declarer = client._runtime._declarer.duty
            declarer.poke()  # its round, once a minute, falls into the outage
            await aeventually(lambda: declarer.state.failures)
            proxy._target = away
            await aeventually(lambda: not declarer.state.trouble_seconds)
            await aeventually(lambda: client._runtime.snapshot().healthy)


async def test_health_is_told_in_time_though_the_database_is_silent(
    proxied_url: str, proxy: Proxy
) -> None:
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        async with working(client):
            assert (await client.health_check()).postgres_connected
            proxy.hold()
            began = time.monotonic()
            both = await asyncio.gather(client.health_check(), client.health_check())
            took = time.monotonic() - began
            proxy.cut_all()
            proxy.let_go()
    assert [health.postgres_connected for health in both] == [False, False]
    assert took < 3


async def test_a_network_that_speaks_again_is_used_at_once(
    database_url: str, proxied_url: str, proxy: Proxy, rows: Rows
) -> None:
    """What was said meanwhile is lost, of connections that were being opened too."""
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        async with working(client):
            with awa.Client(database_url) as other:
                first = other.insert(Noop())
                await aeventually(lambda: rows.job(first.id)["state"] == "completed")
                proxy.hold()
                await asyncio.sleep(8)  # the point: shorter than the time-out of connecting
                proxy.let_go()
                job = other.insert(Noop())
            await aeventually(lambda: rows.job(job.id)["state"] == "completed", 5)


async def test_connecting_is_bounded_where_a_pooler_greets_and_then_waits(
    proxied_url: str, proxy: Proxy
) -> None:
    proxy.lose_question(b"pg_backend_pid")
    purpose = Purpose(connect_seconds=1)
    began = time.monotonic()
    with pytest.raises(psycopg.OperationalError):
        await asyncio.wait_for(connect_async(proxied_url, purpose), 10)
    with pytest.raises(psycopg.OperationalError):
        await asyncio.wait_for(asyncio.to_thread(connect, proxied_url, purpose), 10)
    assert time.monotonic() - began < 6


async def test_a_listener_without_an_answer_listens_anew(
    proxied_url: str, proxy: Proxy, monkeypatch
) -> None:
    monkeypatch.setattr(listener, "_ANSWER_SECONDS", 0.2)
    async with awa.AsyncClient(proxied_url) as client:

        @client.task(Noop)
        async def handler(job: awa.Job) -> None: ...

        async with working(client):
            listens = client._runtime._listener.listens
            await aeventually(lambda: listens("default"))
            proxy.lose_question(b"LISTEN")
            proxy.cut_all()
            await aeventually(lambda: proxy.losses)
            proxy.lose_question(None)
            await aeventually(lambda: listens("default"), timeout=4)


WORKER = """
import asyncio, os, sys, threading
import awa_lib as awa
client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(dict, kind="blocking")
def blocking(job):
    threading.Event().wait()

@client.task(dict, kind="swallows")
async def swallows(job):
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

@client.task(dict, kind="loop")
async def loop(job):
    import time
    time.sleep(600)

@client.on_event("hooked", awa.Completed)
def hook(event):
    threading.Event().wait()

@client.task(dict, kind="hooked")
async def hooked(job): ...

awa.run(client, [("default", 5)], drain_timeout=1)
"""


@pytest.mark.parametrize("kind", ["blocking", "swallows", "loop", "hooked"])
def test_a_worker_stops_in_time_whatever_hangs(
    rows: Rows, database_url: str, spawn_worker, kind: str
) -> None:
    with awa.Client(database_url) as client:
        job = client.insert({}, kind=kind)
    process = spawn_worker(WORKER)
    wanted = "completed" if kind == "hooked" else "running"
    eventually(lambda: rows.job(job.id)["state"] == wanted, timeout=30)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.wait(30)
    took = time.monotonic() - began

    assert took < 1 + 2 + 3  # the bound, and a busy machine's share
    if kind in {"blocking", "swallows"}:
        row = rows.job(job.id)
        assert (row["state"], row["attempt"]) == ("available", 0)


def test_a_worker_stops_in_time_when_the_server_is_stopped(scratch) -> None:
    with acquire(scratch / "stopped") as server:
        with awa.Client(server.url) as client:
            client.migrate()
            job = client.insert({}, kind="swallows")
        with psycopg.connect(server.url, autocommit=True) as conn:
            process = subprocess.Popen(
                [os.sys.executable, "-c", WORKER], env={**os.environ, "DATABASE_URL": server.url}
            )

            def state() -> str:
                row = conn.execute("SELECT state::text FROM awa.jobs WHERE id = %s", (job.id,))
                return row.fetchone()[0]

            eventually(lambda: state() == "running", timeout=30)
            pids = conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'awa worker%'"
            ).fetchall()
            for (pid,) in pids:
                os.kill(pid, signal.SIGSTOP)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            try:
                process.wait(30)
                took = time.monotonic() - began
            finally:
                process.kill()
                for (pid,) in pids:
                    os.kill(pid, signal.SIGCONT)
    assert took < 1 + 2 + 3


LEADER = """
import asyncio, os
import awa_lib as awa

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="never", queue="never")
    async def never(job): ...

    await client.start([("never", 1)])
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["stopped", "killed with a child"])
async def test_a_silent_leader_loses_the_lead(
    aclient: awa.AsyncClient, rows: Rows, spawn_worker, end: str
) -> None:
    source = LEADER
    if end != "stopped":
        # A child of a fork holds the parent's sockets open.
        child = "    os.fork() or __import__('time').sleep(60)\n"
        source = source.replace("    await asyncio.Event", f"{child}    await asyncio.Event")
    process = spawn_worker(source)
    leaders = "SELECT 1 FROM awa.runtime_instances WHERE leader"
    await aeventually(lambda: rows.all(leaders), timeout=30)
    os.kill(process.pid, signal.SIGSTOP if end == "stopped" else signal.SIGKILL)
    began = time.monotonic()

    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient, leader_election_interval_ms=10_000):

        async def leads() -> bool:
            return (await aclient.health_check()).leader

        await aeventually(leads, timeout=25)
    assert time.monotonic() - began < 15


async def test_a_read_only_server_is_an_outage_with_one_line(sound_url: str, caplog) -> None:
    """As a primary that was demoted under its sessions."""
    with psycopg.connect(sound_url, autocommit=True) as conn:
        async with awa.AsyncClient(sound_url) as client:

            @client.task(Noop)
            async def handler(job: awa.Job) -> None: ...

            name = conn.execute("SELECT quote_ident(current_database())").fetchone()[0]
            conn.execute("SET default_transaction_read_only = off")
            async with working(client):
                job = await client.insert(Noop())

                def state(job_id: int) -> str:
                    found = conn.execute(
                        "SELECT state::text FROM awa.jobs WHERE id = %s", (job_id,)
                    )
                    return found.fetchone()[0]

                await aeventually(lambda: state(job.id) == "completed")
                caplog.clear()
                conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await aeventually(lambda: not client._runtime.snapshot().healthy)
                conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
                again = awa.Client.on(conn).insert(Noop())
                await aeventually(lambda: state(again.id) == "completed", timeout=20)
                await aeventually(lambda: client._runtime.snapshot().healthy, timeout=20)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(said) < 10, said


async def test_one_leads_behind_a_transaction_pooler(pooled_url: str, sound_url: str) -> None:
    done = []
    clients = [awa.AsyncClient(pooled_url) for _ in range(3)]
    try:
        for client in clients:

            @client.task(Noop)
            async def handler(job: awa.Job) -> None:
                done.append(job.id)

            await client.start([("default", 5)], **QUICK)
        with awa.Client(sound_url) as producer:
            ids = [job.id for job in producer.insert_many([Noop(n) for n in range(200)])]
        await aeventually(lambda: sorted(done) == ids, timeout=30)
        with psycopg.connect(sound_url) as conn:
            found = conn.execute("SELECT session FROM awa.worker_processes").fetchall()
        # The sessions are those of the pooler: their end would say nothing of a worker.
        assert found == [(None,)] * 3

        async def leaders() -> int:
            return sum([(await client.health_check()).leader for client in clients])

        assert await leaders() == 1
    finally:
        for client in clients:
            await client.shutdown(1000)
            await client.close()
