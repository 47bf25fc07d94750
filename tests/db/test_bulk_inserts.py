"""Jobs with options of their own, streams in flat memory, shared single inserts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import awa_lib as awa

LATER = datetime(2050, 1, 1, tzinfo=UTC)


def stored(look) -> list[dict]:
    return look("SELECT * FROM awa.jobs ORDER BY id")


@pytest.mark.parametrize("verb", ["insert_many", "insert_many_copy"])
async def test_each_job_may_have_options_of_its_own(client, look, verb: str) -> None:
    jobs = await getattr(client, verb)(
        [
            {"n": 0},
            awa.NewJob({"n": 1}, kind="x", queue="other", priority=1, max_attempts=3,
                       tags=["a", 'b"'], metadata={"m": 1}, run_at=LATER),
            awa.NewJob({"n": 2}, unique_opts={}),
            awa.NewJob({"n": 3}, tags=[]),
        ],
        kind="k", queue="q", priority=3, max_attempts=7, tags=["t"], metadata={"d": 1},
    )  # fmt: skip

    rows = stored(look)
    assert [job.id for job in jobs] == [row["id"] for row in rows]
    assert [row["args"]["n"] for row in rows] == [0, 1, 2, 3]
    assert [row["kind"] for row in rows] == ["k", "x", "k", "k"]
    assert [row["queue"] for row in rows] == ["q", "other", "q", "q"]
    assert [row["priority"] for row in rows] == [3, 1, 3, 3]
    assert [row["max_attempts"] for row in rows] == [7, 3, 7, 7]
    assert [row["tags"] for row in rows] == [["t"], ["a", 'b"'], ["t"], []]
    assert [row["metadata"] for row in rows] == [{"d": 1}, {"m": 1}, {"d": 1}, {"d": 1}]
    assert [row["state"] for row in rows] == ["available", "scheduled", "available", "available"]
    assert rows[1]["run_at"] == LATER
    assert [row["unique_key"] is not None for row in rows] == [False, False, True, False]
    for job, row in zip(jobs, rows, strict=True):
        assert (job.kind, job.queue, job.priority, job.tags, job.metadata, str(job.state)) == (
            row["kind"], row["queue"], row["priority"], row["tags"], row["metadata"], row["state"],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 9}, "priority must be a whole number from 1 to 4: 9"),
        ({"queue": 7}, "queue must be text"),
        ({"tags": "t"}, "tags must be a list of texts"),
        ({"run_at": "soon"}, "run_at must be a datetime"),
        ({"unique_opts": {"by_arg": True}}, "unknown unique_opts key 'by_arg'"),
        ({"kind": "x" * 201}, "kind must be 1 to 200 characters"),
        ({"metadata": 1}, "metadata must be a dict"),
    ],
)
async def test_one_bad_job_and_nothing_is_written(client, look, options, message: str) -> None:
    jobs = [{"n": 0}, awa.NewJob({"n": 1}, **options)]
    for verb in ("insert_many", "insert_many_copy", "enqueue_many_copy"):
        with pytest.raises(awa.AwaError, match=message):
            await getattr(client, verb)(jobs, kind="k")

    assert stored(look) == []


async def test_stream_of_any_iterable_with_progress(client, look) -> None:
    seen: list[int] = []

    count = await client.enqueue_many_copy(
        ({"n": n} for n in range(12_001)), kind="k", on_progress=seen.append
    )

    assert count == 12_001
    assert seen == [5_000, 10_000, 12_001]
    (row,) = look(
        "SELECT count(*) AS n, bool_and((args ->> 'n')::int = id - 1) AS ordered FROM awa.jobs"
    )
    assert (row["n"], row["ordered"]) == (12_001, True)


async def test_stream_that_fails_at_its_end_leaves_nothing(client, look) -> None:
    def jobs():
        yield from ({"n": n} for n in range(6_000))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.enqueue_many_copy(jobs(), kind="k")
    with pytest.raises(awa.UniqueConflict):
        await client.enqueue_many_copy(
            ({"n": n % 5_500} for n in range(6_000)), kind="k", unique_opts={}
        )

    assert stored(look) == []


def test_stream_takes_flat_memory(database_url) -> None:
    """A hundred thousand jobs grow the process by less than a tenth of what they weigh."""
    source = """
import resource, sys
import awa_lib as awa
client = awa.Client(sys.argv[1])
pad = "x" * 1000
def run(count):
    client.enqueue_many_copy(({"n": n, "pad": pad + str(n)} for n in range(count)), kind="k")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small = run(10_000)
large = run(100_000)
print(large - small)
"""
    grown = subprocess.run(
        [sys.executable, "-c", source, database_url], capture_output=True, text=True, check=True
    ).stdout

    assert int(grown) < 10_000  # KiB; the arguments alone are 100 MiB


async def test_enqueue_shares_commits_and_gives_each_its_own_job(database_url, look) -> None:
    async with awa.AsyncClient(database_url, 2) as client:
        jobs = await asyncio.gather(*(client.enqueue({"n": n}, kind="k") for n in range(500)))

    assert [job.args["n"] for job in jobs] == list(range(500))
    rows = stored(look)
    assert {job.id: job.args for job in jobs} == {row["id"]: row["args"] for row in rows}
    (commits,) = look("SELECT count(DISTINCT xmin::text) AS n FROM awa.jobs_hot")
    assert commits["n"] <= 50


async def test_enqueue_of_different_options(database_url, look) -> None:
    async with awa.AsyncClient(database_url, 2) as client:
        first, second, third = await asyncio.gather(
            client.enqueue({"n": 1}, kind="k", run_at=datetime.now(UTC) + timedelta(hours=1)),
            client.enqueue({"n": 2}, kind="k", queue="q", priority=1, unique_opts={}),
            client.enqueue({"n": 3}, kind="m"),
        )

    assert [str(job.state) for job in (first, second, third)] == [
        "scheduled", "available", "available",
    ]  # fmt: skip
    rows = {row["id"]: row for row in stored(look)}
    assert (rows[second.id]["queue"], rows[second.id]["priority"]) == ("q", 1)
    assert rows[third.id]["kind"] == "m"
    assert rows[first.id]["state"] == "scheduled"


async def test_enqueue_gives_each_its_own_error(database_url, look) -> None:
    async with awa.AsyncClient(database_url, 2) as client:
        await client.insert({"n": 3}, kind="k", unique_opts={})
        outcomes = await asyncio.gather(
            *(client.enqueue({"n": n}, kind="k", unique_opts={}) for n in range(6)),
            client.enqueue({"n": float("nan")}, kind="k"),
            client.enqueue({}, kind="k", priority=7),
            client.enqueue({}, kind="k", queue="q" * 100),  # no notification channel is so long
            return_exceptions=True,
        )

    kinds = [type(outcome).__name__ for outcome in outcomes]
    assert kinds == [
        *["Job"] * 3, "UniqueConflict", *["Job"] * 2, "SerializationError", "ValidationError",
        kinds[-1],
    ]  # fmt: skip
    assert len(stored(look)) == 6 + (kinds[-1] == "Job")


async def test_enqueue_of_a_caller_that_went_away_is_not_sent(database_url, look) -> None:
    async with awa.AsyncClient(database_url, 2) as client:
        await client.insert({}, kind="k")
        gone = asyncio.create_task(client.enqueue({"gone": True}, kind="k"))
        stays = asyncio.create_task(client.enqueue({"gone": False}, kind="k"))
        await asyncio.sleep(0)
        gone.cancel()
        await stays

    assert [row["args"] for row in stored(look)] == [{}, {"gone": False}]


async def test_a_stream_leaves_out_or_replaces_jobs_whose_key_is_taken(client, look) -> None:
    once = awa.Unique(fields=["n"])

    def jobs(turn: int):
        return ({"n": n % 5_500, "turn": turn} for n in range(6_000))

    left = [
        await client.enqueue_many_copy(jobs(turn), kind="k", unique=once, on_conflict="skip")
        for turn in range(2)
    ]
    mixed = [awa.NewJob({"n": 0}, unique=once), awa.NewJob({"n": 0})]
    left.append(await client.enqueue_many_copy(mixed, kind="k", on_conflict="skip"))
    again = await client.enqueue_many_copy(
        ({"n": n, "turn": 2} for n in range(3)), kind="k", unique=once, on_conflict="replace"
    )

    assert (left, again) == ([5_500, 0, 1], 3)
    found = look(
        "SELECT args ->> 'turn' AS turn, count(*) AS n FROM awa.jobs GROUP BY 1 ORDER BY 1"
    )
    assert [(row["turn"], row["n"]) for row in found] == [("0", 5_497), ("2", 3), (None, 1)]


async def test_a_stream_without_a_key_has_no_conflict_to_handle(client, look) -> None:
    with pytest.raises(awa.ValidationError, match="needs a unique key"):
        await client.enqueue_many_copy([{"n": 1}], kind="k", on_conflict="skip")

    assert stored(look) == []
    assert await client.enqueue_many_copy([], kind="k", on_conflict="skip") == 0
