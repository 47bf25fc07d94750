"""A server that restarts, stops, refuses, locks and ends connections."""

from __future__ import annotations

import signal
import time

from fix_fleet import Fleet

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
