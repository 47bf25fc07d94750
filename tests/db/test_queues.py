"""Admin verbs on queues, on both clients."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

STATES = [
    "scheduled", "available", "running", "completed",
    "retryable", "failed", "cancelled", "waiting_external",
]  # fmt: skip


def meta(look) -> list[dict]:
    return look("SELECT queue, paused, paused_by, paused_at FROM awa.queue_meta ORDER BY queue")


async def test_pause_creates_and_updates(client, look) -> None:
    await client.pause_queue("new")
    (first,) = meta(look)
    await client.pause_queue("new", "ops@example.org")
    (second,) = meta(look)

    assert (first["paused"], first["paused_by"]) == (True, None)
    assert abs((datetime.now(UTC) - first["paused_at"]).total_seconds()) < 60
    assert (second["paused"], second["paused_by"]) == (True, "ops@example.org")
    assert second["paused_at"] > first["paused_at"]


async def test_resume_wakes_the_workers(client, look, heard) -> None:
    await client.pause_queue("q", "me")
    await client.resume_queue("q")
    (row,) = meta(look)

    assert (row["paused"], row["paused_by"]) == (False, "me")
    assert heard() == [("awa:q", "")]


async def test_resume_of_a_running_queue_changes_nothing(client, look, heard) -> None:
    await client.resume_queue("q")

    assert (meta(look), heard()) == ([], [])


async def test_long_queue_names_can_be_paused_and_resumed(client, look) -> None:
    await client.pause_queue("é" * 200)
    await client.resume_queue("é" * 200)

    assert [row["paused"] for row in meta(look)] == [False]


async def test_drain_cancels_what_waits(client, put, look) -> None:
    jobs = {state: put(queue="q", state=state)["id"] for state in STATES}
    other = put()["id"]
    count = await client.drain_queue("q")
    after = {row["id"]: row["state"] for row in look("SELECT id, state::text FROM awa.jobs")}

    assert count == 4
    assert {state: after[job_id] for state, job_id in jobs.items()} == {
        "scheduled": "cancelled", "available": "cancelled", "running": "running",
        "completed": "completed", "retryable": "cancelled", "failed": "failed",
        "cancelled": "cancelled", "waiting_external": "cancelled",
    }  # fmt: skip
    assert after[other] == "available"


async def test_drain_writes_the_columns_of_a_cancel(client, put, look) -> None:
    put(queue="q", state="waiting_external", callback_id="1" * 32, callback_filter="f", attempt=2)
    await client.drain_queue("q")
    (row,) = look("SELECT * FROM awa.jobs_hot")

    assert (row["callback_id"], row["callback_filter"]) == (None, None)
    assert (row["attempt"], row["errors"]) == (2, [])
    assert row["finalized_at"] is not None


@pytest.mark.parametrize("table", ["jobs_hot", "scheduled_jobs"])
async def test_drain_goes_through_pages(client, look, table) -> None:
    look(f"INSERT INTO awa.{table} (kind, queue) SELECT 'k', 'q' FROM generate_series(1, 1203)")

    assert await client.drain_queue("q") == 1203
    assert look("SELECT state::text, count(*) AS n FROM awa.jobs GROUP BY 1") == [
        {"state": "cancelled", "n": 1203}
    ]


async def test_queue_stats(client, put) -> None:
    for state in STATES:
        put(queue="q", state=state, finalized_at=datetime.now(UTC))
    await client.pause_queue("idle")
    idle, busy = await client.queue_stats()

    assert (idle.queue, idle.paused, idle.total_queued, idle.lag_seconds) == ("idle", True, 0, None)
    assert (busy.queue, busy.paused, busy.total_queued) == ("q", False, 5)
    assert (busy.scheduled, busy.available, busy.retryable, busy.running) == (1, 1, 1, 1)
    assert (busy.failed, busy.waiting_external, busy.completed_last_hour) == (1, 1, 1)
    assert 0 <= busy.lag_seconds < 60


async def test_flush_recounts(client, put, look) -> None:
    put(queue="q")
    await client.flush_admin_metadata()

    assert look("SELECT queue, available FROM awa.queue_state_counts") == [
        {"queue": "q", "available": 1}
    ]


async def test_drain_spares_what_is_claimed_or_moved_meanwhile(
    client, put, look, database_url
) -> None:
    """What was looked at before the lock is decided again under it."""
    claimed, moved, waits, cold = (
        put(queue="q", state=state)["id"]
        for state in ("available", "available", "available", "scheduled")
    )
    with psycopg.connect(database_url) as other:
        other.execute("UPDATE awa.jobs_hot SET state = 'running' WHERE id = %s", [claimed])
        other.execute("UPDATE awa.jobs_hot SET queue = 'elsewhere' WHERE id = %s", [moved])
        ids = look("SELECT id FROM awa.jobs WHERE queue = 'q'")
        drained = await client.drain_queue("q")
        other.commit()

    found = {row["id"]: row["state"] for row in look("SELECT id, state::text FROM awa.jobs")}
    assert (len(ids), drained) == (4, 2)
    assert found == {
        claimed: "running", moved: "available", waits: "cancelled", cold: "cancelled",
    }  # fmt: skip
