"""Operators who cancel, retry, move and configure while jobs run."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg
from fix_fleet import QUEUES, Fleet, states_of
from fix_wait import eventually

import awa_lib as awa


def cancels_in_a_storm(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        until = time.monotonic() + 3
        while time.monotonic() < until:
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


def moves_between_queues(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        until = time.monotonic() + 5
        while time.monotonic() < until:
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
        eventually(lambda: states_of(conn, jobs) <= {"retryable", "completed"}, 40)
        with suppress(awa.AwaError, psycopg.Error), conn.transaction(force_rollback=True):
            for n in range(5):
                awa.Client.on(conn).insert(
                    {"n": -n, "sleep": 0, "fails": 1},
                    kind="flaky",
                    queue="one",
                    unique_opts=options,
                )
            time.sleep(2)
        eventually(lambda: states_of(conn, jobs) == {"completed"}, 15)


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
        conn.execute("DELETE FROM awa.queue_policies WHERE queue = 'one'")
        conn.execute("DELETE FROM awa.cron_jobs WHERE name LIKE 'odd_'")
        conn.execute("SELECT pg_notify('awa_policy', 'one')")
