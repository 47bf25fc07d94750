"""Unique jobs: who holds a key, and what on_conflict does about it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fix_clients import make_client

import awa_lib as awa

UNIQUE: dict[str, Any] = {"unique_opts": {"by_args": True}}
NOT_STARTED: dict[str, Any] = {"unique_opts": {"by_args": False, "states": 0b00010011}}
LATER = datetime.now(UTC) + timedelta(hours=1)


def stored(look) -> list[dict[str, Any]]:
    return look("SELECT id, state::text, args, run_at FROM awa.jobs ORDER BY id")


@pytest.mark.parametrize("many", ["insert", "insert_many", "insert_many_copy"])
async def test_conflict_names_the_holder(client, look, many: str) -> None:
    holder = await client.insert({"n": 1}, **UNIQUE)
    args: Any = {"n": 1} if many == "insert" else [{"n": 2}, {"n": 1}]

    with pytest.raises(awa.UniqueConflict, match=f"unique key: job {holder.id}\n") as raised:
        await getattr(client, many)(args, **UNIQUE)

    assert raised.value.job_id == holder.id
    assert raised.value.hint == f"show that job: awa job show {holder.id}"
    assert [row["id"] for row in stored(look)] == [holder.id]


@pytest.mark.parametrize("many", ["insert_many", "insert_many_copy"])
async def test_jobs_of_one_call_conflict_with_each_other(client, look, many: str) -> None:
    """No holder is named: it went with the call."""
    words = "two jobs of this call have the same unique key: positions 1 and 2"
    with pytest.raises(awa.UniqueConflict, match=words) as raised:
        await getattr(client, many)([{"n": 0}, {"n": 1}, {"n": 1}], **UNIQUE)

    assert raised.value.job_id is None
    assert stored(look) == []


async def test_retry_into_a_taken_key_names_the_holder(client) -> None:
    first = await client.insert({"n": 1}, **UNIQUE)
    await client.cancel(first.id)
    second = await client.insert({"n": 1}, **UNIQUE)

    with pytest.raises(awa.UniqueConflict) as raised:
        await client.retry(first.id)

    assert raised.value.job_id == second.id


async def test_skip(client, look) -> None:
    first = await client.insert({"n": 1}, **UNIQUE, on_conflict="skip")
    again = await client.insert({"n": 1}, **UNIQUE, on_conflict="skip")
    many = await client.insert_many([{"n": n} for n in (3, 1, 2, 3)], **UNIQUE, on_conflict="skip")

    assert first is not None
    assert again is None
    assert [job.args["n"] for job in many] == [3, 2]
    assert [row["args"]["n"] for row in stored(look)] == [1, 3, 2]


async def test_return_existing(client, look) -> None:
    first = await client.insert({"n": 1}, **UNIQUE, run_at=LATER)
    again = await client.insert({"n": 1}, **UNIQUE, on_conflict="return_existing")
    many = await client.insert_many_copy(
        [{"n": n} for n in (3, 1, 3)], **UNIQUE, on_conflict="return_existing"
    )

    assert (again.id, again.state) == (first.id, awa.JobState.Scheduled)
    assert [job.args["n"] for job in many] == [3, 1, 3]
    assert many[1].id == first.id
    assert many[0].id == many[2].id
    assert len(stored(look)) == 2


@pytest.mark.parametrize("before", [None, LATER])
@pytest.mark.parametrize("after", [None, LATER + timedelta(hours=1)])
async def test_replace_gives_a_job_that_has_not_started_new_args_and_time(
    client, look, before, after
) -> None:
    first = await client.insert({"n": 1}, kind="k", run_at=before, **NOT_STARTED)

    again = await client.insert(
        {"n": 2}, kind="k", run_at=after, on_conflict="replace", **NOT_STARTED
    )

    (row,) = stored(look)
    assert again.id == row["id"] == first.id
    assert row["args"] == {"n": 2}
    assert row["state"] == ("scheduled" if after else "available")
    assert str(again.state) == row["state"]
    if after:
        assert row["run_at"] == after
    (claim,) = look("SELECT job_id FROM awa.job_unique_claims")
    assert claim["job_id"] == first.id


async def test_replaced_job_wakes_a_worker(client, heard) -> None:
    await client.insert({"n": 1}, kind="k", run_at=LATER, **NOT_STARTED)
    assert heard() == []

    await client.insert({"n": 2}, kind="k", on_conflict="replace", **NOT_STARTED)

    assert heard() == [("awa:default", "")]


async def test_the_last_of_several_replacements_wins(client, look) -> None:
    jobs = await client.insert_many(
        [{"n": n} for n in range(5)], kind="k", on_conflict="replace", **NOT_STARTED
    )

    assert len({job.id for job in jobs}) == 1
    assert [row["args"] for row in stored(look)] == [{"n": 4}]


async def test_a_started_job_is_not_replaced(client, look, database_url) -> None:
    first = await client.insert({"n": 1}, kind="k", unique_opts={"by_args": False})
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE awa.jobs_hot SET state = 'running', run_lease = 1")

    with pytest.raises(awa.UniqueConflict) as raised:
        await client.insert_many(
            [awa.NewJob({"n": 9}, kind="other"), awa.NewJob({"n": 2}, kind="k")],
            unique_opts={"by_args": False},
            on_conflict="replace",
        )

    assert raised.value.job_id == first.id
    assert raised.value.why == "it is running: only a job that has not started can be replaced"
    assert [row["args"] for row in stored(look)] == [{"n": 1}]


async def test_states_outside_the_mask_do_not_conflict(client, look) -> None:
    only_running = {"unique_opts": {"states": 0b100}}
    jobs = await client.insert_many([{"n": 1}] * 3, **only_running, on_conflict="skip")

    assert len(jobs) == len(stored(look)) == 3
    assert look("SELECT job_id FROM awa.job_unique_claims") == []


@pytest.mark.parametrize("verb", ["insert_many", "insert_many_copy"])
async def test_no_jobs_are_no_mistake(client, verb: str) -> None:
    """A producer's batch may be empty."""
    assert await getattr(client, verb)([], **UNIQUE, on_conflict="skip") == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on_conflict": "ignore", **UNIQUE}, "on_conflict must be one of .*, got 'ignore'"),
        ({"on_conflict": "skip"}, "on_conflict='skip' needs a unique key"),
        ({"on_conflict": None, **UNIQUE}, "on_conflict must be one of"),
    ],
)
async def test_bad_mode(client, look, given, message: str) -> None:
    for verb, args in (("insert", {"n": 1}), ("insert_many", [{"n": 1}])):
        with pytest.raises(awa.ValidationError, match=message):
            await getattr(client, verb)(args, **given)

    assert stored(look) == []


@pytest.mark.parametrize("mode", ["skip", "return_existing", "replace"])
async def test_writers_at_the_same_moment_agree_on_one_job(database_url, look, mode: str) -> None:
    """Keys in opposite orders: neither a deadlock nor a second job."""
    async with awa.AsyncClient(database_url, 8) as client:
        orders = [list(range(50)), list(range(49, -1, -1))] * 4
        many = await asyncio.gather(
            *(
                client.insert_many(
                    [awa.NewJob({"n": n}, kind=f"k{n}") for n in order],
                    unique_opts={"by_args": False, "states": 0b00010011},
                    on_conflict=mode,
                )
                for order in orders
            )
        )

    ids = {row["id"] for row in stored(look)}
    assert len(ids) == 50
    assert {job.id for jobs in many for job in jobs} == ids
    if mode == "skip":
        assert sum(map(len, many)) == 50


async def test_conflict_modes_inside_the_callers_transaction(client, look, database_url) -> None:
    holder = await client.insert({"n": 1}, **UNIQUE)
    async with client.using(database_url, autocommit=False) as (conn, bound):
        assert await bound.insert({"n": 1}, **UNIQUE, on_conflict="skip") is None
        existing = await bound.insert({"n": 1}, **UNIQUE, on_conflict="return_existing")
        await bound.insert({"n": 2}, **UNIQUE, on_conflict="return_existing")
        assert existing.id == holder.id
        await conn.rollback()

    assert len(stored(look)) == 1


@pytest.mark.parametrize(
    ("inserted", "sought"),
    [
        ({}, {"args": {"a": 1}}),
        ({"by_queue": True}, {"args": {"a": 1}, "queue": "q"}),
        ({"by_args": False, "by_period": 7}, {"period_bucket": 7}),
        ({"states": 1}, {"args": {"a": 1}}),  # holds no claim while available
    ],
)
async def test_cancel_by_unique_key(client, look, inserted, sought) -> None:
    job = await client.insert({"a": 1}, kind="k", queue="q", unique_opts=inserted)
    other = await client.insert({"a": 1}, kind="k", queue="q")

    assert await client.cancel_by_unique_key("other", **sought) is None
    cancelled = await client.cancel_by_unique_key("k", **sought)
    again = await client.cancel_by_unique_key("k", **sought)

    assert (cancelled.id, cancelled.state) == (job.id, awa.JobState.Cancelled)
    assert again is None
    assert [row["state"] for row in stored(look) if row["id"] == other.id] == ["available"]


async def test_two_flavours_agree_on_the_key(database_url) -> None:
    async with make_client("sync", database_url) as one, make_client("async", database_url) as two:
        await one.insert({"a": [1.5, "é"]}, kind="k", **UNIQUE)
        with pytest.raises(awa.UniqueConflict):
            await two.insert({"a": [1.5, "é"]}, kind="k", **UNIQUE)
