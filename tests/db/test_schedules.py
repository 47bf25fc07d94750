"""Schedules through the clients: list, trigger, pause, resume, remove."""

from __future__ import annotations

import pytest

import awa_lib as awa
from awa_lib._drive import run
from awa_lib.ops import cron as ops


def schedule(name: str = "nightly", **fields) -> ops.Schedule:
    given = {
        "kind": "report", "timezone": "UTC", "queue": "q", "priority": 3, "max_attempts": 4,
        "tags": ["t"], "metadata": {"m": 1}, "missed_fire_policy": "coalesce",
        "catch_up_limit": 100, "jitter_seconds": 0, **fields,
    }  # fmt: skip
    return ops.Schedule.build(name, given.pop("cron_expr", "30 2 * * *"), {"a": 1}, **given)


@pytest.fixture
def declare(conn):
    def write(*schedules: ops.Schedule, fresh: bool = True) -> None:
        run(conn, ops.declare(schedules, fresh=fresh))

    return write


@pytest.fixture
def conn(database_url: str):
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


async def test_list(client, declare) -> None:
    declare(schedule(), schedule("b", missed_fire_policy="catch_up", catch_up_limit=5))

    b, nightly = await client.list_cron_jobs()

    assert (nightly.name, nightly.kind, nightly.args, nightly.tags) == (
        "nightly", "report", {"a": 1}, ["t"],
    )  # fmt: skip
    assert (b.missed_fire_policy, b.catch_up_limit) == ("catch_up", 5)
    assert nightly.declared
    assert nightly.last_enqueued_at is None
    assert f"{nightly.next_fire_at:%H:%M}" == "02:30"
    assert [one.name for one in await client.list_cron_jobs("b")] == ["b"]


async def test_trigger_leaves_the_fires_alone(client, declare, look) -> None:
    declare(schedule())

    job = await client.trigger_cron_job("nightly")

    assert (job.kind, job.queue, job.args, job.priority) == ("report", "q", {"a": 1}, 3)
    assert job.metadata == {"m": 1, "cron_name": "nightly", "triggered_manually": True}
    assert look("SELECT last_enqueued_at FROM awa.cron_jobs") == [{"last_enqueued_at": None}]


async def test_pause_and_resume(client, declare, conn) -> None:
    declare(schedule())

    await client.pause_cron_job("nightly", "me")
    await client.pause_cron_job("nightly", "you")
    (paused,) = await client.list_cron_jobs()
    assert (paused.paused_by, paused.next_fire_at) == ("you", None)
    assert run(conn, ops.read_schedules()) == []
    declare(schedule(), fresh=False)
    assert run(conn, ops.read_schedules()) == []

    await client.resume_cron_job("nightly")
    await client.resume_cron_job("nightly")
    (row,) = run(conn, ops.read_schedules())
    # What it missed while paused stays missed.
    assert row.last_enqueued_at is not None
    assert (row.now - row.last_enqueued_at).total_seconds() < 10


async def test_removed_is_told_from_missing_and_stays_removed(client, declare) -> None:
    declare(schedule())

    assert await client.delete_cron_job("nightly") is True
    assert await client.delete_cron_job("nightly") is False
    declare(schedule(), fresh=False)
    assert await client.list_cron_jobs() == []
    for verb in ("trigger_cron_job", "pause_cron_job", "resume_cron_job"):
        with pytest.raises(awa.ScheduleNotFound, match="not found: 'nightly'") as removed:
            await getattr(client, verb)("nightly")
        with pytest.raises(awa.ScheduleNotFound) as missing:
            await getattr(client, verb)("nonesuch")
        assert removed.value.why.startswith("it was removed at 2")
        assert missing.value.why == "no process that has started here declares it"

    declare(schedule())
    assert [one.name for one in await client.list_cron_jobs()] == ["nightly"]


def test_declaring_again_keeps_what_happened_and_writes_only_changes(conn, declare, look) -> None:
    declare(schedule())
    conn.execute("UPDATE awa.cron_jobs SET last_enqueued_at = '2026-01-01'")
    before = look("SELECT xmin, * FROM awa.cron_jobs")

    declare(schedule(), fresh=False)
    assert look("SELECT xmin, * FROM awa.cron_jobs") == before
    declare(schedule(cron_expr="0 3 * * *"))

    (row,) = look("SELECT cron_expr, last_enqueued_at FROM awa.cron_jobs")
    assert (row["cron_expr"], row["last_enqueued_at"].year) == ("0 3 * * *", 2026)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron_expr": "x"}, "invalid cron expression"),
        ({"timezone": "Nowhere"}, "invalid timezone: 'Nowhere'"),
        ({"priority": 5}, "priority must be a whole number from 1 to 4: 5"),
        ({"max_attempts": 0}, "max_attempts must be a whole number from 1 to 1000: 0"),
        ({"missed_fire_policy": "all"}, "missed_fire_policy must be one of"),
        ({"catch_up_limit": 0}, "catch_up_limit must be a whole number from 1 to 10000: 0"),
        ({"catch_up_limit": True}, "catch_up_limit must be a whole number"),
        ({"jitter_seconds": -1}, "jitter_seconds must be a number from 0 to 86400, got -1"),
        ({"jitter_seconds": float("nan")}, "jitter_seconds must be a number from 0"),
        ({"metadata": [1]}, "metadata must be a dict, got list"),
        ({"tags": "t"}, "tags must be a list of texts: 't'"),
    ],
)
def test_bad_schedule_is_refused_at_declaration(fields, message: str) -> None:
    with pytest.raises(awa.ValidationError, match=message):
        schedule(**fields)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00", 7])
def test_bad_name(name) -> None:
    with pytest.raises(awa.ValidationError, match=r"name (must|holds)"):
        schedule(name)
