"""A database with rows in every state, for machines that try the API out."""

from __future__ import annotations

import json
import uuid

import psycopg

import awa_lib as awa

STATES = ("available", "running", "completed", "failed", "cancelled", "waiting_external",
          "scheduled", "retryable")  # fmt: skip
ENDED = {"completed", "failed", "cancelled"}
ERROR = json.dumps({"error": "ValueError: no", "attempt": 1, "at": "2026-01-01T00:00:00Z"})


def fill(url: str) -> None:
    """Write jobs in every state, a schedule, dead letters, settings, an operation and a worker."""
    with psycopg.connect(url, autocommit=True) as conn:
        for number, state in enumerate(STATES * 3):
            table = "scheduled_jobs" if state in {"scheduled", "retryable"} else "jobs_hot"
            conn.execute(
                f"INSERT INTO awa.{table} (kind, queue, state, args, errors, progress, tags,"
                " finalized_at, attempted_at, callback_id, attempt) VALUES (%s, %s, %s, %s,"
                " %s::jsonb[], %s, %s, %s, now(), %s, 1)",
                ["email", f"queue-{number % 3}", state, '{"n": 1}', [ERROR], '{"percent": 50}', ["t"],
                 "2026-01-01T00:00Z" if state in ENDED else None,
                 uuid.uuid4() if state == "waiting_external" else None],
            )  # fmt: skip
        conn.execute(
            "INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES ('nightly', '@daily', 'report')"
        )
        conn.execute(
            "INSERT INTO awa.runtime_instances (instance_id, hostname, pid, version, started_at,"
            " last_seen_at, snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive,"
            " heartbeat_alive, shutting_down, leader, queues) VALUES (gen_random_uuid(), 'box', 7,"
            " '0.5.7', now(), now(), 10000, true, true, true, true, false, true, %s)",
            ['[{"queue": "queue-1", "in_flight": 1, "config": {"max_workers": 5}}]'],
        )
    with awa.Client(url) as client:
        client.set_dead_letters("queue-2", True)
        client.bulk_move_failed_to_dlq(queue="queue-1", reason="by hand")
        client.set_queue_policy("queue-0", max_running=3, rate_limit=(5.0, 1))
        client.submit_bulk_operation("cancel", queue="queue-0", state="scheduled")
        client.pause_queue("queue-2", paused_by="somebody")
