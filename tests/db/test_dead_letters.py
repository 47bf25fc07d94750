"""Failed jobs of chosen queues are kept apart until someone acts, on both clients."""

from __future__ import annotations

import psycopg
import pytest
from fix_leader import delete_finished

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.dead_letters import move_failed

ERRORS = ['{"error": "first", "attempt": 1}', '{"error": "no luck", "attempt": 2}']
LIVE_AND_FAILED = "01100100"


@pytest.fixture
def failed(put):
    """Insert a failed job with a history."""

    def failed(**columns):
        return put(**{
            "state": "failed", "queue": "q", "attempt": 2, "max_attempts": 2, "run_lease": 7,
            "errors": ERRORS, "tags": ["t"], "progress": '{"percent": 4}', "priority": 3,
            "metadata": '{"a": 1}', "finalized_at": "2020-01-01", **columns,
        })  # fmt: skip

    return failed


def letters(look) -> list[dict]:
    return look("SELECT * FROM awa.dead_letters ORDER BY id")


def ids(rows: list[dict]) -> list[int]:
    return [row["id"] for row in rows]


async def test_only_queues_that_were_chosen_are_emptied(client, failed, put, look) -> None:
    await client.set_dead_letters("q", True)
    dead, kept, live = failed(), failed(queue="other"), put(queue="q")
    moved = run(look.conn, move_failed())
    (row,) = letters(look)

    assert moved == 1
    assert {key: row[key] for key in dead} == dead
    assert (row["reason"], row["dead_at"] is not None) == ("no luck", True)
    assert ids(look("SELECT id FROM awa.jobs ORDER BY id")) == [kept["id"], live["id"]]


async def test_a_queue_can_be_let_go_again(client, failed, look) -> None:
    await client.set_dead_letters("q", True)
    await client.set_dead_letters("q", False)
    failed()

    assert run(look.conn, move_failed()) == 0


async def test_moves_are_bounded_and_leave_out_locked_rows(
    client, failed, look, database_url
) -> None:
    await client.set_dead_letters("q", True)
    first = failed()
    look(
        "INSERT INTO awa.jobs_hot (kind, queue, state) SELECT 'k', 'q', 'failed'"
        " FROM generate_series(1, 600)"
    )
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [first["id"]])
        moved = [run(look.conn, move_failed()) for _ in range(2)]

    assert moved == [499, 101]
    assert ids(look("SELECT id FROM awa.jobs")) == [first["id"]]


async def test_retention_waits_for_the_move(client, failed, look) -> None:
    await client.set_dead_letters("q", True)
    failed(), failed(queue="other"), failed(state="cancelled")
    deleted = run(look.conn, delete_finished(60, 60, 100))

    assert deleted == 2
    assert look("SELECT queue, state::text FROM awa.jobs") == [{"queue": "q", "state": "failed"}]


async def test_dead_letters_outlive_retention(client, failed, look) -> None:
    await client.move_failed_to_dlq(failed()["id"])
    run(look.conn, delete_finished(0, 0, 100))

    assert await client.dlq_depth() == 1


async def test_get_and_list(client, failed) -> None:
    first, second = failed(), failed(queue="other", kind="other", tags=["u"])
    await client.bulk_move_failed_to_dlq(all=True, reason="poison")
    entry = await client.get_dlq_job(first["id"])

    assert (entry.reason, entry.original_run_lease) == ("poison", 7)
    assert (entry.job.id, entry.job.state, entry.job.errors[-1]["error"]) == (
        first["id"], awa.JobState.Failed, "no luck",
    )  # fmt: skip

    async def listed(**where) -> list[int]:
        return [entry.job.id for entry in await client.list_dlq(**where)]

    assert await listed() == [second["id"], first["id"]]
    assert await listed(limit=1) == [second["id"]]
    assert await listed(before_id=second["id"]) == [first["id"]]
    for where in ({"queue": "q"}, {"kind": "k"}, {"tag": "t"}):
        assert await listed(**where) == [first["id"]]
    assert (await client.dlq_depth(), await client.dlq_depth("q")) == (2, 1)
    assert await client.dlq_depth_by_queue() == {"other": 1, "q": 1}


async def test_a_dead_letter_is_no_job(client, failed) -> None:
    job_id = failed()["id"]
    await client.move_failed_to_dlq(job_id)
    for verb in (client.get_job, client.retry, client.cancel):
        with pytest.raises(awa.JobNotFound) as raised:
            await verb(job_id)

        assert raised.value.why == "it failed and was moved to the dead letters"
        assert f"awa dlq show {job_id}" in raised.value.hint


async def test_unknown_ids(client, put) -> None:
    live = put()["id"]
    for verb in (client.get_dlq_job, client.retry_from_dlq, client.purge_dlq_job):
        with pytest.raises(awa.JobNotFound, match=f"job not found: {live}") as raised:
            await verb(live)

        assert "no dead letter has this id" in raised.value.why
    with pytest.raises(awa.JobNotFound):
        await client.move_failed_to_dlq(999)
    with pytest.raises(awa.InvalidTransition, match="it is available"):
        await client.move_failed_to_dlq(live)


async def test_a_row_that_somebody_holds_is_said_to_be_held(
    client, failed, look, database_url
) -> None:
    job_id = failed()["id"]
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [job_id])
        with pytest.raises(awa.Conflict, match="another transaction is changing it"):
            await client.move_failed_to_dlq(job_id)

    assert letters(look) == []


async def test_retry_starts_over_and_keeps_the_history(client, failed, look, heard) -> None:
    before = failed(queue="default")
    await client.move_failed_to_dlq(before["id"])
    job = await client.retry_from_dlq(before["id"])
    (row,) = look("SELECT * FROM awa.jobs")
    same = {"id", "kind", "queue", "args", "priority", "max_attempts", "errors", "metadata"}
    same |= {"tags", "progress", "run_lease", "created_at"}

    assert (job.state, job.attempt, row["attempt"]) == (awa.JobState.Available, 0, 0)
    assert {key: row[key] for key in same} == {key: before[key] for key in same}
    assert row["finalized_at"] is None
    assert (letters(look), heard()) == ([], [("awa:default", "")])


async def test_retry_with_another_time_priority_and_queue(client, failed, look) -> None:
    job_id = failed()["id"]
    await client.move_failed_to_dlq(job_id)
    job = await client.retry_from_dlq(
        job_id, run_at="2999-01-01T00:00:00Z", priority=1, queue="slow"
    )

    assert (job.state, job.priority, job.queue) == (awa.JobState.Scheduled, 1, "slow")
    assert job.run_at == "2999-01-01T00:00:00+00:00"
    assert len(look("SELECT 1 FROM awa.scheduled_jobs")) == 1


async def test_a_dead_letter_lets_go_of_its_unique_key(client, failed, put, look) -> None:
    unique = {"unique_key": b"k" * 16, "unique_states": LIVE_AND_FAILED}
    dead = failed(**unique)
    assert len(look("SELECT 1 FROM awa.job_unique_claims")) == 1
    await client.move_failed_to_dlq(dead["id"])
    assert look("SELECT 1 FROM awa.job_unique_claims") == []

    holder, free = put(**unique), failed()
    await client.move_failed_to_dlq(free["id"])
    with pytest.raises(awa.UniqueConflict):
        await client.retry_from_dlq(dead["id"])
    assert await client.bulk_retry_from_dlq(all=True) == 1
    assert ids(letters(look)) == [dead["id"]]
    assert ids(look("SELECT id FROM awa.jobs ORDER BY id")) == [holder["id"], free["id"]]

    await client.cancel(holder["id"])
    assert (await client.retry_from_dlq(dead["id"])).id == dead["id"]


async def test_bulk_verbs_take_what_fits(client, failed, look) -> None:
    jobs = {q: failed(queue=q, kind=q, tags=[q])["id"] for q in ("a", "b", "c", "d")}
    assert await client.bulk_move_failed_to_dlq(kind="d") == 1
    assert await client.bulk_move_failed_to_dlq(queue="nobody") == 0
    assert await client.bulk_move_failed_to_dlq(all=True) == 3
    assert await client.bulk_retry_from_dlq(queue="a") == 1
    assert await client.bulk_retry_from_dlq(kind="b", tag="a") == 0
    assert await client.purge_dlq(tag="b") == 1
    await client.purge_dlq_job(jobs["c"])

    assert ids(letters(look)) == [jobs["d"]]
    assert ids(look("SELECT id FROM awa.jobs")) == [jobs["a"]]
    assert await client.purge_dlq(all=True) == 1


@pytest.mark.parametrize("verb", ["bulk_move_failed_to_dlq", "bulk_retry_from_dlq", "purge_dlq"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "needs at least one of kind, queue, tag"),
        ({"all": 1}, "all must be True or False, got 1"),
        ({"kinds": "x"}, "unknown filter 'kinds'"),
        ({"kind": 3}, "kind must be text of at most 200 characters: 3"),
        ({"queue": "x" * 201}, "queue must be text of at most 200 characters"),
        ({"tag": "\0"}, "tag holds a character that Postgres cannot store"),
    ],
)
async def test_bulk_verbs_refuse_bad_filters(client, failed, look, verb, options, sentence) -> None:
    failed()
    await client.move_failed_to_dlq(failed()["id"])
    with pytest.raises(awa.ValidationError, match=sentence):
        await getattr(client, verb)(**options)

    assert (len(letters(look)), len(look("SELECT 1 FROM awa.jobs"))) == (1, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"run_at": "soon"}, "run_at must be a datetime or RFC 3339 text: 'soon'"),
        ({"priority": 5}, "priority must be a whole number from 1 to 4: 5"),
        ({"priority": "1"}, "priority must be a whole number from 1 to 4: '1'"),
        ({"queue": ""}, "queue must not be empty"),
        ({"queue": 1}, "queue must be text of at most 200 characters: 1"),
    ],
)
async def test_retry_refuses_bad_options(client, failed, look, options, sentence) -> None:
    job_id = failed()["id"]
    await client.move_failed_to_dlq(job_id)
    with pytest.raises(awa.ValidationError) as raised:
        await client.retry_from_dlq(job_id, **options)

    assert str(raised.value) == sentence
    assert len(letters(look)) == 1


@pytest.mark.parametrize(
    ("queue", "enabled", "sentence"),
    [
        ("", True, "queue must not be empty"),
        (None, True, "queue must be text of at most 200 characters: None"),
        ("q", 1, "enabled must be True or False, got 1"),
    ],
)
async def test_a_policy_is_checked(client, look, queue, enabled, sentence) -> None:
    with pytest.raises(awa.ValidationError, match=sentence):
        await client.set_dead_letters(queue, enabled)

    assert look("SELECT 1 FROM awa.queue_policies") == []


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [("", "reason must not be empty"), (3, "reason must be text of at most 1000 characters: 3")],
)
async def test_a_reason_is_checked(client, failed, look, reason, sentence) -> None:
    job_id = failed()["id"]
    with pytest.raises(awa.ValidationError, match=sentence):
        await client.move_failed_to_dlq(job_id, reason)
    with pytest.raises(awa.ValidationError, match=sentence):
        await client.bulk_move_failed_to_dlq(reason=reason, all=True)

    assert letters(look) == []


@pytest.mark.parametrize(
    ("verb", "options", "sentence"),
    [
        ("list_dlq", {"limit": -1}, "limit must be a whole number from 0 to .*-1"),
        ("list_dlq", {"before_id": "x"}, "before_id must be a whole number of at most 64 bits"),
        ("list_dlq", {"kinds": "x"}, "unknown filter 'kinds'"),
        ("dlq_depth", {"queue": 3}, "queue must be text of at most 200 characters: 3"),
    ],
)
async def test_reads_refuse_bad_options(client, verb, options, sentence) -> None:
    with pytest.raises(awa.ValidationError, match=sentence):
        await getattr(client, verb)(**options)
