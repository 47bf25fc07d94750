"""Read models: the queues, the fleet and the jobs as every surface shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql as compose

from awa_lib._sql import query, sql
from awa_lib.db.drive import run
from awa_lib.errors import JobNotFound, ValidationError
from awa_lib.reads.job_dumps import dump_job, dump_run
from awa_lib.reads.jobs import job_row, job_rows
from awa_lib.reads.queues import queue_stats
from awa_lib.reads.runtime import live_instances, runtime_instances

INSTANCE = """
    INSERT INTO awa.runtime_instances (instance_id, pid, version, started_at, last_seen_at,
        snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive, heartbeat_alive,
        shutting_down, leader, queues, queue_descriptor_hashes)
    VALUES (gen_random_uuid(), %s, 'x', now(), now() - %s, %s, true, true, true, true, false,
        false, %s, %s)
"""


def instance(db, *, pid=1, ago=0, interval=10_000, queues="[]", hashes="{}") -> None:
    db.execute(INSTANCE, [pid, timedelta(seconds=ago), interval, queues, hashes])


def test_a_queue_is_listed_for_whatever_knows_it(db, add) -> None:
    db.execute("INSERT INTO awa.queue_state_counts (queue) VALUES ('b counted')")
    db.execute("INSERT INTO awa.queue_meta (queue) VALUES ('c paused once')")
    db.execute(
        "INSERT INTO awa.queue_descriptors (queue, descriptor_hash) VALUES ('a described', 'x')"
    )
    instance(db, hashes='{"d hashed": "x"}', queues='[{"queue": "e worked"}]')
    add(queue="f job")

    stats = run(db, queue_stats())

    assert [one.queue for one in stats] == [
        "a described", "b counted", "c paused once", "d hashed", "e worked", "f job",
    ]  # fmt: skip
    assert [one.total_queued for one in stats] == [0, 0, 0, 0, 0, 1]


def test_lag_is_the_age_of_the_oldest_job_that_could_run(db, add) -> None:
    for seconds in (5, 300, 60):
        add(queue="old", run_at=datetime.now(UTC) - timedelta(seconds=seconds))
    add("running", queue="busy", run_at=datetime.now(UTC) - timedelta(seconds=900))

    busy, old = run(db, queue_stats())

    assert busy.lag_seconds is None
    assert old.lag_seconds == pytest.approx(300, abs=30)


def test_counting_reads_partial_indexes_only(db) -> None:
    """A million ended jobs must not make the counts slow."""
    db.execute("SET enable_seqscan = off")
    text = sql.read_queues("queue_stats").query.text
    plan = "\n".join(row[0] for row in db.execute(f"EXPLAIN {text}"))

    assert "Seq Scan on jobs_hot" not in plan
    assert "awa_jobs_hot_claim_by_kind" in plan
    assert "awa_jobs_hot_running_by_queue" in plan
    assert "awa_jobs_hot_unsuccessful" in plan
    assert "idx_awa_jobs_hot_completed_finalized" in plan


COUNTS = [
    ("read_queues", "queue_stats", {}),
    ("read_health", "available_counts", {"queues": ["q"]}),
    ("read_statistics", "state_counts", {}),
    ("read_descriptors", "kind_counts", {}),
    ("read_storage", "storage_report", {}),
    ("bench", "unfinished", {"queue": "q"}),
    ("maintenance", "age", {"threshold": 60.0, "limit": 9}),
]


@pytest.mark.parametrize("retired", [False, True])
@pytest.mark.parametrize(("noun", "name", "values"), COUNTS)
def test_counting_available_jobs_needs_no_dequeue_index(db, noun, name, values, retired) -> None:
    """It serves workers of awa 0.5 only."""
    if retired:
        db.execute("DROP INDEX awa.idx_awa_jobs_hot_dequeue")
    db.execute("SET enable_seqscan = off")
    db.execute("SET plan_cache_mode = force_generic_plan")
    db.execute(f"PREPARE counted AS {query(noun, name).text}")
    given = ", ".join(
        compose.Literal(values[key]).as_string(db) for key in query(noun, name).params
    )
    plan = str(db.execute(f"EXPLAIN EXECUTE counted{f'({given})' if given else ''}").fetchall())

    assert "Only Scan using awa_jobs_hot_claim_by_kind" in plan
    assert "dequeue" not in plan


def test_a_snapshot_is_stale_after_three_intervals_and_30_seconds(db) -> None:
    for pid, ago, interval in ((1, 29, 100), (2, 31, 100), (3, 55, 20_000), (4, 61, 20_000)):
        instance(db, pid=pid, ago=ago, interval=interval)

    assert [one.pid for one in run(db, live_instances())] == [1, 3]
    assert [one.stale for one in run(db, runtime_instances())] == [False, True, False, True]


@pytest.mark.parametrize(
    ("columns", "stale"),
    [
        ({"session": "pg_backend_pid()"}, False),
        ({"session": "0"}, True),
        ({"session": "0", "stopped_at": "now()"}, False),
        # Behind a pooler.
        ({"session": "NULL"}, False),
        ({"rescued_at": "now()"}, True),
        # It has reported since: it was only late.
        ({"rescued_at": "now() - interval '6 seconds'"}, False),
    ],
)
def test_a_worker_is_dead_without_its_session_or_its_jobs(db, columns, stale) -> None:
    instance(db, ago=5)
    names, values = ", ".join(columns), ", ".join(columns.values())
    db.execute(
        "INSERT INTO awa.worker_processes (number, instance_id, hostname, pid, version, app_version,"
        f" heartbeat_interval_ms, heartbeat_staleness_ms, started_at, last_seen_at, {names})"
        " SELECT 1, instance_id, 'h', pid, 'x', '2.1', 3000, 10000, now() - interval '1 hour',"
        f" now() - interval '1 hour', {values} FROM awa.runtime_instances"
    )

    (one,) = run(db, runtime_instances())

    assert ("2.1", stale, not stale) == (one.app_version, one.stale, one.healthy)
    assert ("0" in columns.values() and stale) == one.session_ended
    assert ("rescued_at" in columns and stale) == (one.rescued_at is not None)
    assert len(run(db, live_instances())) == (not stale)


def test_instances_carry_their_queues(db) -> None:
    queues = [{"queue": "q", "in_flight": 3}]
    instance(db, queues=json.dumps(queues))

    (one,) = run(db, runtime_instances())

    assert one.queues == queues
    assert one.storage_capability == "canonical"


def test_unknown_job_and_negative_limit(db) -> None:
    with pytest.raises(JobNotFound):
        run(db, dump_job(1))
    with pytest.raises(ValidationError):
        run(db, job_rows(limit=-1))
    assert run(db, job_rows(limit=0)) == []


def test_old_rows_with_null_errors_can_be_read(db, add) -> None:
    job_id = add(errors=None)

    assert run(db, job_row(job_id)).errors == []
    assert run(db, dump_job(job_id)).summary.latest_error is None


def test_times_do_not_depend_on_the_session_time_zone(database_url, add) -> None:
    job_id = add("completed", finalized_at="2026-01-01T00:00:00Z", created_at="2025-12-31T00:00Z")

    with psycopg.connect(database_url, options="-c timezone=Asia/Tokyo") as conn:
        timeline = run(conn, dump_job(job_id)).timeline

    assert [event.timestamp for event in timeline] == [
        "2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z",
    ]  # fmt: skip


def test_an_error_from_before_a_retry_is_not_of_the_present_attempt(db, add) -> None:
    """Attempts count anew after a retry."""
    entry = {"error": "E: no", "attempt": 1, "at": "2026-01-01T00:01:00+00:00"}
    for state, kept in (("completed", None), ("running", None), ("failed", "E: no")):
        job_id = add(state, attempt=1, errors=[json.dumps(entry)])

        assert run(db, dump_run(job_id)).error == kept


@pytest.mark.parametrize(
    ("state", "attempt", "labels"),
    [
        ("running", 1, ["Created", "Attempt 1 running"]),
        ("completed", 1, ["Created", "Attempt 1 started", "Completed (attempt 1)"]),
        ("failed", 1, ["Created", "Attempt 1 started", "Failed after 1 attempt"]),
        ("cancelled", 2, ["Created", "Attempt 2 started", "Cancelled"]),
        ("retryable", 2, ["Created", "Attempt 2 started", "Finalized"]),
        ("waiting_external", 1, ["Created", "Attempt 1 — waiting for callback"]),
    ],
)
def test_timeline_labels(db, add, state, attempt, labels) -> None:
    times = {"created_at": "2026-01-01T00:00Z", "attempted_at": "2026-01-01T00:01Z"}
    if state not in {"running", "waiting_external"}:
        times["finalized_at"] = "2026-01-01T00:02Z"

    timeline = run(db, dump_job(add(state, attempt=attempt, **times))).timeline

    assert [event.label for event in timeline] == labels
