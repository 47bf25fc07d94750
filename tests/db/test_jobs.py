"""Admin verbs on jobs: which states they take, which columns they write, whom they tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

import awa_lib as awa

STATES = [
    "scheduled", "available", "running", "completed",
    "retryable", "failed", "cancelled", "waiting_external",
]  # fmt: skip
RETRIED = ["failed", "cancelled", "waiting_external", "retryable"]
CANCELLED = ["scheduled", "available", "running", "retryable", "waiting_external"]
CALLBACK = "11111111-1111-1111-1111-111111111111"
AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)
IN_AN_HOUR = datetime.now(UTC) + timedelta(hours=1)
KEY = b"0123456789abcdef"
LIVE = "11111000"

# Every column away from its default, so that one wrongly kept or cleared shows.
FULL = {
    "kind": "full", "queue": "q", "args": '{"a": 1}', "priority": 3, "attempt": 4,
    "max_attempts": 9, "run_at": IN_AN_HOUR, "heartbeat_at": AN_HOUR_AGO,
    "deadline_at": AN_HOUR_AGO, "attempted_at": AN_HOUR_AGO, "finalized_at": AN_HOUR_AGO,
    "created_at": AN_HOUR_AGO, "errors": ['{"error": "e", "attempt": 1}'],
    "metadata": '{"m": 1}', "tags": ["t"], "unique_key": KEY, "unique_states": LIVE,
    "callback_id": CALLBACK, "callback_timeout_at": IN_AN_HOUR, "callback_filter": "f",
    "callback_on_complete": "c", "callback_on_fail": "d", "callback_transform": "t",
    "run_lease": 5, "progress": '{"percent": 50}',
}  # fmt: skip
NO_CALLBACK = {
    "callback_id": None, "callback_timeout_at": None, "callback_filter": None,
    "callback_on_complete": None, "callback_on_fail": None, "callback_transform": None,
}  # fmt: skip


def full(put, state: str) -> dict:
    return put(**FULL | {"state": state})


def changes(before: dict, after: dict) -> dict:
    return {key: after[key] for key in before if after[key] != before[key]}


def fresh(moment: datetime) -> bool:
    return timedelta(0) <= datetime.now(UTC) - moment < timedelta(minutes=1)


@pytest.mark.parametrize("state", ["failed", "cancelled", "waiting_external"])
async def test_retry_starts_over(client, put, look, heard, state) -> None:
    before = full(put, state)
    job = await client.retry(before["id"])
    (after,) = look("SELECT * FROM awa.jobs_hot")
    changed = changes(before, after)

    assert fresh(changed.pop("run_at"))
    assert changed == {
        "state": "available", "attempt": 0, "finalized_at": None, "heartbeat_at": None,
        "deadline_at": None, **NO_CALLBACK,
    }  # fmt: skip
    assert (job.id, job.state, job.attempt) == (before["id"], awa.JobState.Available, 0)
    assert (job.errors, job.progress) == ([{"error": "e", "attempt": 1}], {"percent": 50})
    assert heard() == [("awa:q", "")]
    assert look("SELECT job_id FROM awa.job_unique_claims") == [{"job_id": before["id"]}]


async def test_retry_skips_the_delay_of_a_retryable_job(client, put, look, heard) -> None:
    before = full(put, "retryable")
    job = await client.retry(before["id"])
    (after,) = look("SELECT * FROM awa.jobs_hot")
    changed = changes(before, after)

    assert fresh(changed.pop("run_at"))
    assert changed == {
        "state": "available", "finalized_at": None, "heartbeat_at": None, "deadline_at": None,
        **NO_CALLBACK,
    }  # fmt: skip
    assert (job.state, job.attempt) == (awa.JobState.Available, 4)
    assert look("SELECT count(*) AS n FROM awa.scheduled_jobs") == [{"n": 0}]
    assert heard() == [("awa:q", "")]


@pytest.mark.parametrize("state", [s for s in STATES if s not in RETRIED])
async def test_retry_refuses_other_states(client, put, look, heard, state) -> None:
    before = full(put, state)
    heard()
    with pytest.raises(awa.InvalidTransition) as caught:
        await client.retry(before["id"])

    assert str(caught.value) == f"cannot retry job {before['id']}: it is {state}"
    assert caught.value.state == state
    assert look("SELECT * FROM awa.jobs") == [before]
    assert heard() == []


@pytest.mark.parametrize("state", CANCELLED)
async def test_cancel_ends_the_job(client, put, look, heard, state) -> None:
    before = full(put, state)
    heard()
    job = await client.cancel(before["id"])
    (after,) = look("SELECT * FROM awa.jobs_hot")
    changed = changes(before, after)
    told = [json.loads(payload) for channel, payload in heard() if channel == "awa:cancel"]

    assert fresh(changed.pop("finalized_at"))
    if state in {"scheduled", "retryable"}:
        # Cold rows have no attempt running; what an earlier one left goes with the move.
        changed.pop("heartbeat_at", None)
        changed.pop("deadline_at", None)
    assert changed == {"state": "cancelled", **NO_CALLBACK}
    assert job.state is awa.JobState.Cancelled
    assert look("SELECT * FROM awa.job_unique_claims") == []
    assert look("SELECT count(*) AS n FROM awa.scheduled_jobs") == [{"n": 0}]
    if state in {"running", "waiting_external"}:
        assert told == [{"job_id": before["id"], "run_lease": 5}]
    else:
        assert told == []


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_cancel_refuses_ended_jobs(client, put, look, heard, state) -> None:
    before = full(put, state)
    with pytest.raises(awa.InvalidTransition, match=f"it is {state}"):
        await client.cancel(before["id"])

    assert look("SELECT * FROM awa.jobs") == [before]
    assert heard() == []


@pytest.mark.parametrize("verb", ["get_job", "retry", "cancel"])
async def test_unknown_id(client, verb) -> None:
    with pytest.raises(awa.JobNotFound, match="job not found: 99999") as caught:
        await getattr(client, verb)(99999)

    assert caught.value.job_id == 99999
    assert isinstance(caught.value, LookupError)


async def test_retry_against_a_taken_key(client, put, look) -> None:
    before = full(put, "failed")
    put(unique_key=KEY, unique_states=LIVE)
    with pytest.raises(awa.UniqueConflict):
        await client.retry(before["id"])

    assert look("SELECT * FROM awa.jobs WHERE id = %s", before["id"]) == [before]


async def test_get_job_reads_every_field(client, put) -> None:
    row = full(put, "running")
    job = await client.get_job(row["id"])

    assert (job.kind, job.queue, job.state) == ("full", "q", awa.JobState.Running)
    assert (job.args, job.metadata, job.tags) == ({"a": 1}, {"m": 1}, ["t"])
    assert (job.priority, job.attempt, job.max_attempts, job.run_lease) == (3, 4, 9, 5)
    assert job.errors == [{"error": "e", "attempt": 1}]
    assert job.progress == {"percent": 50}
    assert job.run_at == IN_AN_HOUR.isoformat()
    assert job.created_at == job.finalized_at == job.deadline == AN_HOUR_AGO.isoformat()


async def test_null_errors_read_as_none_at_all(client, put, look) -> None:
    row = put()
    look("UPDATE awa.jobs_hot SET errors = NULL")

    assert (await client.get_job(row["id"])).errors == []


async def test_list_filters(client, put) -> None:
    ids = {
        name: put(**columns)["id"]
        for name, columns in {
            "plain": {},
            "other kind": {"kind": "other"},
            "other queue": {"queue": "q"},
            "cold": {"state": "scheduled"},
            "tagged": {"tags": ["a", "b"]},
        }.items()
    }

    async def listed(**filters) -> set[str]:
        found = [job.id for job in await client.list_jobs(**filters)]
        assert found == sorted(found, reverse=True)
        return {name for name, job_id in ids.items() if job_id in found}

    assert await listed() == set(ids)
    assert await listed(kind="other") == {"other kind"}
    assert await listed(queue="q") == {"other queue"}
    assert await listed(state="scheduled") == {"cold"}
    assert await listed(state="available", queue="default", kind="k") == {"plain", "tagged"}
    assert await listed(tag="b") == {"tagged"}
    assert await listed(tag="c") == set()
    assert await client.list_jobs(limit=0) == []


async def test_list_pages_by_id(client, put) -> None:
    ids = [put(state="scheduled" if n % 2 else "available")["id"] for n in range(7)]
    pages, before = [], None
    while page := await client.list_jobs(limit=3, before_id=before):
        pages.append([job.id for job in page])
        before = page[-1].id

    assert pages == [ids[:3:-1], ids[3:0:-1], ids[:1]]


@pytest.mark.parametrize(
    ("filters", "message"),
    [({"state": "zz"}, "unknown job state: zz"), ({"limit": -1}, "limit must be a whole number")],
)
async def test_list_refuses(client, filters, message) -> None:
    with pytest.raises(ValueError, match=message):
        await client.list_jobs(**filters)


@pytest.mark.parametrize("by", [{"kind": "x"}, {"queue": "x"}])
async def test_retry_failed(client, put, look, by) -> None:
    chosen = [put(**by, state="failed", attempt=5)["id"] for _ in range(3)]
    spared = [put(**by, state=state)["id"] for state in STATES if state != "failed"]
    spared.append(put(state="failed")["id"])
    before = look("SELECT * FROM awa.jobs WHERE id = ANY(%s) ORDER BY id", spared)
    jobs = await client.retry_failed(**by)

    assert [(job.id, job.state, job.attempt) for job in jobs] == [
        (job_id, awa.JobState.Available, 0) for job_id in chosen
    ]
    assert look("SELECT * FROM awa.jobs WHERE id = ANY(%s) ORDER BY id", spared) == before


async def test_retry_failed_goes_through_pages(client, look) -> None:
    look(
        "INSERT INTO awa.jobs_hot (kind, state) SELECT 'x', 'failed' FROM generate_series(1, 1203)"
    )
    jobs = await client.retry_failed(kind="x")

    assert len({job.id for job in jobs}) == 1203
    assert look("SELECT DISTINCT state::text FROM awa.jobs") == [{"state": "available"}]


async def test_retry_failed_skips_what_collides(client, put, look) -> None:
    holder = put(kind="other", unique_key=KEY, unique_states=LIVE)
    failed = [
        put(kind="x", state="failed", unique_key=key, unique_states=LIVE)["id"]
        for key in (b"a" * 16, KEY, b"b" * 16, b"b" * 16)
    ]
    jobs = await client.retry_failed(kind="x")

    assert [job.id for job in jobs] == [failed[0], failed[2]]
    assert {row["job_id"] for row in look("SELECT job_id FROM awa.job_unique_claims")} == {
        holder["id"], failed[0], failed[2],
    }  # fmt: skip


@pytest.mark.parametrize("filters", [{}, {"kind": "x", "queue": "q"}])
async def test_retry_failed_needs_one_filter(client, filters) -> None:
    with pytest.raises(ValueError, match="Specify exactly one of kind or queue"):
        await client.retry_failed(**filters)


async def test_discard_failed(client, put, look) -> None:
    for _ in range(2):
        put(kind="x", state="failed", unique_key=KEY, unique_states="00000000")
    kept = [put(kind="x", state=state)["id"] for state in STATES if state != "failed"]
    kept.append(put(kind="y", state="failed")["id"])

    assert await client.discard_failed("x") == 2
    assert await client.discard_failed("x") == 0
    assert [row["id"] for row in look("SELECT id FROM awa.jobs ORDER BY id")] == kept


async def test_discard_lets_go_of_keys(client, put, look) -> None:
    put(kind="x", state="failed", unique_key=KEY, unique_states="11111111")
    await client.discard_failed("x")

    assert look("SELECT * FROM awa.job_unique_claims") == []


@pytest.mark.parametrize("state", STATES)
async def test_priority_and_queue_of_jobs_that_wait(client, put, look, state) -> None:
    before = put(**FULL | {"state": state, "metadata": '{"_awa_original_priority": 4, "m": 1}'})
    (table,) = look("SELECT tableoid::regclass::text AS name FROM awa.jobs_hot UNION ALL"
                    " SELECT tableoid::regclass::text FROM awa.scheduled_jobs")  # fmt: skip
    row = f"SELECT * FROM {table['name']}"

    if state not in {"scheduled", "available", "retryable"}:
        with pytest.raises(awa.InvalidTransition, match=f"it is {state}"):
            await client.set_priority(before["id"], 1)
        with pytest.raises(awa.InvalidTransition, match=f"cannot move job {before['id']}"):
            await client.move_queue(before["id"], "slow")
        assert look(row) == [before]
        return
    job = await client.set_priority(before["id"], 1)
    moved = await client.move_queue(before["id"], "slow")

    assert (job.priority, moved.queue) == (1, "slow")
    (after,) = look(row)
    assert changes(before, after) == {"priority": 1, "queue": "slow", "metadata": {"m": 1}}


async def test_moving_wakes_the_other_queue(client, put, heard) -> None:
    job = put(kind="k", queue="slow", state="available")
    heard()

    await client.move_queue(job["id"], "q")

    assert heard() == [("awa:q", "")]


@pytest.mark.parametrize("state", STATES)
async def test_discarding_one_job(client, put, look, state) -> None:
    before = put(kind="k", queue="q", state=state)

    if state in {"completed", "failed", "cancelled"}:
        await client.discard(before["id"])
        assert look("SELECT * FROM awa.jobs") == []
    else:
        with pytest.raises(awa.InvalidTransition, match=f"cannot discard job {before['id']}"):
            await client.discard(before["id"])
        assert len(look("SELECT * FROM awa.jobs")) == 1


@pytest.mark.parametrize("verb", [("set_priority", 1), ("move_queue", "q"), ("discard",)])
async def test_a_change_of_no_job(client, verb) -> None:
    with pytest.raises(awa.JobNotFound):
        await getattr(client, verb[0])(7, *verb[1:])
