"""A server that restarts, stops, refuses, locks and ends connections."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, suppress

import psycopg
from fix_fleet import Fleet
from fix_own_server import Disk
from fix_wait import eventually

OURS = "datname = 'awa' AND application_name LIKE 'awa worker%'"


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


def time_outs_of_the_role(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        conn.execute("ALTER ROLE postgres SET statement_timeout = '30ms'")
        conn.execute("ALTER ROLE postgres SET lock_timeout = '5ms'")
        conn.execute("ALTER ROLE postgres SET idle_in_transaction_session_timeout = '5ms'")
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
        until = time.monotonic() + 5
        while time.monotonic() < until:
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


def a_minute_away(fleet: Fleet) -> None:
    try:
        fleet.away(60, lambda: fleet.server.stop("fast"))
    finally:
        fleet.server.start()


def a_crash_loop(fleet: Fleet) -> None:
    for _ in range(6):
        fleet.server.stop("immediate")
        fleet.server.start()


def a_fast_restart(fleet: Fleet) -> None:
    fleet.server.stop("fast")
    fleet.server.start()


def an_immediate_restart(fleet: Fleet) -> None:
    fleet.server.stop("immediate")
    fleet.server.start()


def a_full_disk_of_the_log(fleet: Fleet) -> None:
    """The server ends itself, again and again, until there is space."""
    _full(fleet, fleet.server.wal)


def a_full_disk_of_the_rows(fleet: Fleet) -> None:
    """Changes fail that need a new page; the server goes on."""
    _full(fleet, fleet.server.rows)


def _full(fleet: Fleet, disk: Disk | None) -> None:
    if disk is None:
        fleet.notes.append("a full disk needs root")
        return
    disk.fill()
    try:
        eventually(
            lambda: _refused(fleet) and (disk is fleet.server.rows or fleet.server.full), 180
        )
        time.sleep(5)
    finally:
        disk.empty()
        fleet.server.ensure_running()
        with fleet.admin() as conn:
            conn.execute("DROP TABLE IF EXISTS public.ballast")


def _refused(fleet: Fleet) -> bool:
    """Return whether a change fails, or no connection is accepted."""
    try:
        with fleet.admin() as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS public.ballast (text text)")
            conn.execute(
                "INSERT INTO public.ballast SELECT repeat(md5(n::text), 100) "
                "FROM generate_series(1, 3000) AS n"
            )
            conn.execute("DROP TABLE public.ballast")
    except (psycopg.errors.DiskFull, psycopg.OperationalError):
        return True
    return False


def no_free_connections(fleet: Fleet) -> None:
    """Others take every slot, those of the workers too."""
    for member in fleet.living:
        # One that has no connection cannot say to one that has that it is alive.
        member.hurt = True
    with ExitStack() as stack:
        conn = stack.enter_context(fleet.admin())
        until = time.monotonic() + 4
        while time.monotonic() < until:
            with suppress(psycopg.OperationalError):
                for _ in range(100):
                    stack.enter_context(fleet.admin())
            conn.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS} "
                "ORDER BY random() LIMIT 5"
            )
            time.sleep(0.1)


def each_connection_is_terminated_in_turn(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        names = conn.execute(
            f"SELECT DISTINCT application_name FROM pg_stat_activity WHERE {OURS} ORDER BY 1"
        ).fetchall()
        for (name,) in names:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
                [name],
            )
            time.sleep(0.4)


def a_prepared_transaction_on_rows(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        with suppress(psycopg.errors.LockNotAvailable), conn.transaction():
            conn.execute("SET LOCAL lock_timeout = '2s'")
            for state in ("running", "available", "completed"):
                conn.execute(
                    "SELECT id FROM awa.jobs_hot WHERE state::text = %s "
                    "LIMIT 20 FOR UPDATE SKIP LOCKED", [state],
                )  # fmt: skip
            # The rows stay locked without a session, also over a restart of the server.
            conn.execute("PREPARE TRANSACTION 'held'")
        time.sleep(5)
        conn.execute("ROLLBACK PREPARED 'held'")


def a_pinned_snapshot(fleet: Fleet) -> None:
    """Nothing that is deleted can be removed for two minutes; jobs flow as before."""
    with fleet.admin() as conn, conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT count(*) FROM awa.jobs")
        time.sleep(120)
        fleet.settled()
