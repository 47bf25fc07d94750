"""Each endpoint and field of awa 0.5 is here, as its own web client expects it."""

from __future__ import annotations

import json

import pytest
from fix_worker import QUICK

import awa_lib as awa

JOB = {
    "id",
    "kind",
    "queue",
    "args",
    "state",
    "priority",
    "attempt",
    "run_lease",
    "max_attempts",
    "run_at",
    "heartbeat_at",
    "deadline_at",
    "attempted_at",
    "finalized_at",
    "created_at",
    "errors",
    "metadata",
    "tags",
    "unique_key",
    "unique_states",
    "callback_id",
    "callback_timeout_at",
    "callback_filter",
    "callback_on_complete",
    "callback_on_fail",
    "callback_transform",
    "progress",
}
DESCRIBED = {*JOB, "original_priority", "queue_descriptor", "kind_descriptor"}
DESCRIPTOR = {"display_name", "description", "owner", "docs_url", "tags", "extra"}
DECLARED = {*DESCRIPTOR, "descriptor_last_seen_at", "descriptor_stale", "descriptor_mismatch"}
QUEUE = {
    "queue",
    *DECLARED,
    "total_queued",
    "scheduled",
    "available",
    "retryable",
    "running",
    "failed",
    "waiting_external",
    "completed_last_hour",
    "lag_seconds",
    "paused",
}
KIND = {"kind", *DECLARED, "job_count", "queue_count", "completed_last_hour"}
CRON = {
    "name",
    "cron_expr",
    "timezone",
    "kind",
    "queue",
    "args",
    "priority",
    "max_attempts",
    "tags",
    "metadata",
    "last_enqueued_at",
    "created_at",
    "updated_at",
    "next_fire_at",
}
RUNTIME = {
    "total_instances",
    "live_instances",
    "stale_instances",
    "healthy_instances",
    "leader_instances",
    "instances",
}
INSTANCE = {
    "instance_id",
    "hostname",
    "pid",
    "version",
    "storage_capability",
    "started_at",
    "last_seen_at",
    "snapshot_interval_ms",
    "stale",
    "healthy",
    "postgres_connected",
    "poll_loop_alive",
    "heartbeat_alive",
    "maintenance_alive",
    "shutting_down",
    "leader",
    "global_max_workers",
    "queues",
}
WORKED = {"queue", "in_flight", "waiting", "overflow_held", "config"}
CONFIG = {
    "mode",
    "max_workers",
    "min_workers",
    "weight",
    "global_max_workers",
    "poll_interval_ms",
    "deadline_duration_secs",
    "priority_aging_interval_secs",
    "rate_limit",
}
QUEUE_RUNTIME = {
    "queue",
    "instance_count",
    "live_instances",
    "stale_instances",
    "healthy_instances",
    "total_in_flight",
    "overflow_held_total",
    "config_mismatch",
    "config",
}
STATES = {
    "scheduled",
    "available",
    "running",
    "completed",
    "retryable",
    "failed",
    "cancelled",
    "waiting_external",
}


@pytest.fixture
async def fleet(database_url):
    """A worker that declares a queue, a kind and a schedule."""
    client = awa.AsyncClient(database_url)

    @client.task(dict, kind="mail", queue="email")
    async def mail(job):
        return None

    client.queue_descriptor("email", display_name="E-mail", owner="post", tags=["a"])
    client.job_kind_descriptor("mail", description="sends", extra={"x": 1})
    client.periodic("nightly", "0 2 * * *", dict, {"n": 1}, kind="mail", queue="email")
    await client.start([("email", 2)], **QUICK)
    yield client
    await client.close()


async def test_stats_have_every_state(api, add) -> None:
    add("failed")
    add("retryable")

    found = (await api.get("/api/stats")).json()

    assert set(found) == STATES
    assert (found["failed"], found["retryable"], found["completed"]) == (1, 1, 0)


async def test_timeseries_counts_what_was_created_by_minute_and_state(api, add, db) -> None:
    add("failed")
    add("failed")
    add("scheduled")
    db.execute("UPDATE awa.scheduled_jobs SET created_at = now() - interval '3 hours'")

    found = (await api.get("/api/stats/timeseries", params={"minutes": 60})).json()

    ((bucket, state, count),) = [
        tuple(one[k] for k in ("bucket", "state", "count")) for one in found
    ]
    assert (state, count) == ("failed", 2)
    assert bucket.endswith(":00Z")


async def test_names_are_sorted_lists(api, add) -> None:
    add(kind="b", queue="y")
    add(kind="a", queue="x")

    assert (await api.get("/api/stats/kinds")).json() == ["a", "b"]
    assert (await api.get("/api/stats/queues")).json() == ["x", "y"]


async def test_capabilities_tell_how_often_to_ask(api) -> None:
    found = (await api.get("/api/capabilities")).json()

    assert found["read_only"] is False
    assert found["poll_interval_ms"] == 5000


async def test_jobs_have_every_field(api, add, fleet) -> None:
    job_id = add("failed", kind="mail", queue="email", metadata='{"_awa_original_priority": 4}')

    (listed,) = (await api.get("/api/jobs", params={"state": "failed"})).json()
    shown = (await api.get(f"/api/jobs/{job_id}")).json()

    assert listed == shown
    assert set(shown) == DESCRIBED
    assert shown["original_priority"] == 4
    assert shown["queue_descriptor"] == {
        "display_name": "E-mail",
        "description": None,
        "owner": "post",
        "docs_url": None,
        "tags": ["a"],
        "extra": {},
    }
    assert shown["kind_descriptor"]["description"] == "sends"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["c", "b", "a"]),
        ({"state": "failed"}, ["a"]),
        ({"kind": "b"}, ["b"]),
        ({"queue": "q3"}, ["c"]),
        ({"tag": "t"}, ["b"]),
        ({"limit": 1}, ["c"]),
        ({"where": "args.n=2"}, ["b"]),
        ({"error": "boom"}, ["a"]),
        ({"since": "1h"}, ["c", "b", "a"]),
        ({"until": "1h"}, []),
        ({"sort": "id"}, ["a", "b", "c"]),
    ],
)
async def test_jobs_are_filtered(api, add, query, found) -> None:
    add("failed", kind="a", queue="q1", errors=['{"error": "Boom!", "attempt": 1}'])
    add("available", kind="b", queue="q2", tags=["t"], args='{"n": 2}')
    add("scheduled", kind="c", queue="q3")

    listed = (await api.get("/api/jobs", params=query)).json()

    assert [one["kind"] for one in listed] == found


async def test_pages_follow_each_other(api, add) -> None:
    ids = [add() for _ in range(5)]
    seen, address = [], "/api/jobs?limit=2"

    while address:
        response = await api.get(address)
        seen += [one["id"] for one in response.json()]
        address = response.links.get("next", {}).get("url")

    assert seen == ids[::-1]


@pytest.mark.parametrize(
    ("state", "verb", "status", "after"),
    [
        ("failed", "retry", 200, "available"),
        ("available", "cancel", 200, "cancelled"),
        ("completed", "retry", 409, "completed"),
        ("completed", "cancel", 409, "completed"),
    ],
)
async def test_a_job_is_changed(api, add, db, state, verb, status, after) -> None:
    job_id = add(state)

    response = await api.post(f"/api/jobs/{job_id}/{verb}")

    assert response.status_code == status
    if status == 200:
        assert set(response.json()) == DESCRIBED
        assert response.json()["state"] == after
    else:
        assert set(response.json()) == {"error", "what", "why", "do"}
    (found,) = db.execute("SELECT state::text FROM awa.jobs WHERE id = %s", [job_id]).fetchone()
    assert found == after


async def test_many_jobs_are_changed_and_others_skipped(api, add) -> None:
    failed, done, waiting = add("failed"), add("completed"), add("scheduled")

    retried = await api.post("/api/jobs/bulk-retry", json={"ids": [failed, done, 999]})
    cancelled = await api.post("/api/jobs/bulk-cancel", json={"ids": [waiting, done]})

    assert [(one["id"], one["state"]) for one in retried.json()] == [(failed, "available")]
    assert [(one["id"], one["state"]) for one in cancelled.json()] == [(waiting, "cancelled")]


async def test_queues_have_every_field(api, add, fleet) -> None:
    add(queue="other")

    listed = (await api.get("/api/queues")).json()
    shown = (await api.get("/api/queues/email")).json()

    assert [one["queue"] for one in listed] == ["email", "other"]
    assert QUEUE <= set(shown)
    assert set(shown) - QUEUE == {"dead_letters", "live_instances"}
    assert listed[0]["display_name"] == shown["display_name"] == "E-mail"
    missing = await api.get("/api/queues/emial")
    assert missing.status_code == 404
    assert missing.json()["error"] == "queue not found: emial"
    assert "email" in missing.json()["do"]


async def test_queues_are_paused_resumed_and_drained(api, add, db) -> None:
    add(queue="q")
    add("scheduled", queue="q")

    assert (await api.post("/api/queues/q/pause", json={"paused_by": "me"})).json() == {"ok": True}
    assert db.execute("SELECT paused, paused_by FROM awa.queue_meta").fetchone() == (True, "me")
    assert (await api.post("/api/queues/q/resume")).json() == {"ok": True}
    assert db.execute("SELECT paused FROM awa.queue_meta").fetchone() == (False,)
    assert (await api.post("/api/queues/q/drain")).json() == {"drained": 2}


async def test_a_queue_with_a_slash_in_its_name(api, add) -> None:
    add(queue="a/b?c")

    shown = (await api.get("/api/queues/a%2Fb%3Fc")).json()
    paused = await api.post("/api/queues/a%2Fb%3Fc/pause")

    assert shown["queue"] == "a/b?c"
    assert paused.json() == {"ok": True}


async def test_kinds_have_every_field(api, fleet) -> None:
    (shown,) = (await api.get("/api/kinds")).json()

    assert KIND <= set(shown)
    assert shown["kind"] == "mail"
    alone = (await api.get("/api/kinds/mail")).json()
    # The worker may have told of itself again meanwhile.
    moment = "descriptor_last_seen_at"
    assert shown == {**alone, moment: shown[moment]}


async def test_schedules_have_every_field_and_can_be_triggered(api, fleet) -> None:
    (shown,) = (await api.get("/api/cron")).json()
    triggered = (await api.post("/api/cron/nightly/trigger")).json()

    assert CRON <= set(shown)
    assert shown["next_fire_at"].endswith("Z")
    assert set(triggered) == JOB
    assert triggered["metadata"]["triggered_manually"] is True
    assert (await api.post("/api/cron/daily/trigger")).status_code == 404


async def test_the_fleet_has_every_field(api, fleet) -> None:
    overview = (await api.get("/api/runtime")).json()
    (queue,) = (await api.get("/api/queues/runtime")).json()

    assert set(overview) == RUNTIME
    (instance,) = overview["instances"]
    assert set(instance) - INSTANCE == {"app_version", "session_ended", "rescued_at"}
    assert set(instance) > INSTANCE
    (worked,) = instance["queues"]
    assert (set(worked), set(worked["config"])) == (WORKED, CONFIG)
    assert set(queue) == QUEUE_RUNTIME
    assert (queue["queue"], queue["instance_count"], queue["live_instances"]) == ("email", 1, 1)


async def test_storage_is_the_report_of_the_command(api, cli) -> None:
    assert (await api.get("/api/storage")).json() == cli("storage", "status").data


async def test_one_document_for_command_and_api(api, add, cli, fleet) -> None:
    add("failed", kind="mail", queue="email", args='{"to": "x"}')
    add("completed", kind="other", progress='{"percent": 3}', tags=["t"])

    listed = (await api.get("/api/jobs")).json()

    assert json.dumps(listed) == json.dumps(cli("job", "list", "-o", "json").data)
