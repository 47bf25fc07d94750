"""The leader fires schedules: once each, whoever leads, whatever was missed."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.db.drive import arun, run
from awa_lib.ops import cron as ops


def jobs_of(rows: Rows, name: str) -> list[dict[str, Any]]:
    return rows.all(
        "SELECT * FROM awa.jobs WHERE metadata ->> 'cron_name' = %s "
        "ORDER BY metadata ->> 'cron_fire_time'",
        name,
    )


@pytest.fixture
def client(aclient: awa.AsyncClient) -> awa.AsyncClient:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    return aclient


async def test_fires_each_second_once(client: awa.AsyncClient, rows: Rows) -> None:
    client.periodic("tick", "* * * * * *", Noop, Noop(7), metadata={"m": 1})

    async with working(client):
        assert rows.one("SELECT name FROM awa.cron_jobs") == {"name": "tick"}
        await aeventually(lambda: len(jobs_of(rows, "tick")) >= 3)
    jobs = jobs_of(rows, "tick")

    times = [job["metadata"]["cron_fire_time"] for job in jobs]
    assert len(set(times)) == len(times)
    assert times[0].endswith("+00")
    assert jobs[0]["args"] == {"n": 7}
    assert jobs[0]["metadata"]["m"] == 1
    assert jobs[0]["kind"] == "noop"


async def test_two_processes_that_both_think_they_lead_fire_once(
    client: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """The compare-and-swap decides, not the leader's lock."""
    client.periodic("tick", "* * * * * *", Noop, Noop())
    async with working(client):
        await aeventually(lambda: jobs_of(rows, "tick"))
    (due,) = rows.all("SELECT last_enqueued_at, now() AS now FROM awa.cron_jobs")
    fire = ops.Fire("tick", due["last_enqueued_at"], ((due["now"], due["now"]),))
    before = len(jobs_of(rows, "tick"))

    async def race(url: str) -> int:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
            return await arun(conn, ops.fire([fire]))

    fired = await asyncio.gather(*(race(database_url) for _ in range(5)))

    assert sorted(fired) == [0, 0, 0, 0, 1]
    assert len(jobs_of(rows, "tick")) == before + 1


@pytest.mark.parametrize(
    ("policy", "limit", "jobs"), [("coalesce", 100, 1), ("catch_up", 100, 5), ("catch_up", 3, 3)]
)
async def test_missed_fires(
    client: awa.AsyncClient, rows: Rows, policy: str, limit: int, jobs: int
) -> None:
    """A yearly schedule that was last enqueued five fires ago."""
    client.periodic(
        "yearly", "@yearly", Noop, Noop(), missed_fire_policy=policy, catch_up_limit=limit
    )
    year = rows.one("SELECT extract(year FROM now())::int AS year")["year"]
    async with working(client):
        pass
    rows.conn.execute(f"UPDATE awa.cron_jobs SET last_enqueued_at = '{year - 5}-01-01 00:00Z'")
    async with working(client):
        await aeventually(lambda: len(jobs_of(rows, "yearly")) >= jobs)

    times = [job["metadata"]["cron_fire_time"] for job in jobs_of(rows, "yearly")]
    assert times == [f"{y}-01-01 00:00:00+00" for y in range(year - jobs + 1, year + 1)]
    last = rows.one("SELECT last_enqueued_at FROM awa.cron_jobs")["last_enqueued_at"]
    assert (last.year, last.month) == (year, 1)


async def test_jitter_delays_the_job_not_the_fire(client: awa.AsyncClient, rows: Rows) -> None:
    client.periodic("tick", "* * * * * *", Noop, Noop(), jitter_seconds=3600)

    async with working(client):
        await aeventually(lambda: jobs_of(rows, "tick"))

    late = rows.all("SELECT state::text, run_at - created_at AS delay FROM awa.jobs")
    assert all(0 <= job["delay"].total_seconds() <= 3600 for job in late)
    assert max(job["delay"].total_seconds() for job in late) > 1


async def test_one_bad_schedule_does_not_stop_the_others(
    client: awa.AsyncClient, rows: Rows, caplog
) -> None:
    for name, column, value in [
        ("broken", "cron_expr", "'x'"),
        ("nowhere", "timezone", "'Mars'"),
        ("wild", "priority", "9"),
    ]:
        rows.conn.execute(
            "INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES (%s, '* * * * * *', 'k')",
            (name,),
        )
        rows.conn.execute(f"UPDATE awa.cron_jobs SET {column} = {value} WHERE name = '{name}'")
    client.periodic("zebra", "* * * * * *", Noop, Noop())

    async with working(client):
        await aeventually(lambda: len(jobs_of(rows, "zebra")) >= 2)

    assert jobs_of(rows, "wild") == []
    said = [r.schedule for r in caplog.records if r.message.startswith("a schedule cannot be read")]
    assert sorted(said) == ["broken", "nowhere"]


ODD = (
    "cron_expr = ''",
    "timezone = 'Mars'",
    "kind = repeat('k', 201)",
    "queue = ''",
    "priority = -1",
    "max_attempts = 0",
    "created_at = 'infinity'",
    "created_at = '-infinity'",
    "last_enqueued_at = 'infinity'",
    "last_enqueued_at = '20000-01-01'",
    "last_enqueued_at = now() + interval '9 years'",
    "metadata = '[1, 2]'",
    "tags = array_fill('t'::text, ARRAY[21])",
    "jitter_seconds = 'NaN'",
    "jitter_seconds = 1e300",
    "jitter_seconds = -5",
    "catch_up_limit = 0",
    "catch_up_limit = -1",
    "missed_fire_policy = 'whatever'",
)


async def test_odd_rows_are_named_once_each_and_stop_no_other(
    client: awa.AsyncClient, rows: Rows, caplog
) -> None:
    for constraint in ("policy", "limit", "jitter"):
        rows.conn.execute(
            f"ALTER TABLE awa.cron_settings DROP CONSTRAINT cron_settings_{constraint}"
        )
    for number, change in enumerate(ODD):
        name = f"odd {number:02}"
        rows.conn.execute(
            "INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES (%s, '* * * * * *', 'k')",
            (name,),
        )
        rows.conn.execute("INSERT INTO awa.cron_settings (name) VALUES (%s)", (name,))
        column = change.partition(" ")[0]
        settings = column in {"jitter_seconds", "catch_up_limit", "missed_fire_policy"}
        table = "cron_settings" if settings else "cron_jobs"
        rows.conn.execute(f"UPDATE awa.{table} SET {change} WHERE name = %s", (name,))
    client.periodic("zebra", "* * * * * *", Noop, Noop())

    async with working(client):
        await aeventually(lambda: len(jobs_of(rows, "zebra")) >= 3)
        assert (await client.health_check()).healthy

    said = sorted(r.schedule for r in caplog.records if hasattr(r, "schedule"))
    assert said == [f"odd {number:02}" for number in range(len(ODD))]
    assert rows.all("SELECT DISTINCT metadata ->> 'cron_name' AS name FROM awa.jobs") == [
        {"name": "zebra"}
    ]


async def test_a_job_that_cannot_be_enqueued_stops_no_other_and_is_said_once(
    client: awa.AsyncClient, rows: Rows, caplog
) -> None:
    rows.conn.execute("ALTER TABLE awa.jobs_hot ADD CHECK (kind <> 'refused')")
    for name in ("a", "b"):
        rows.conn.execute(
            "INSERT INTO awa.cron_jobs (name, cron_expr, kind)"
            " VALUES (%s, '* * * * * *', 'refused')",
            (name,),
        )
    client.periodic("zebra", "* * * * * *", Noop, Noop())

    async with working(client):
        await aeventually(lambda: len(jobs_of(rows, "zebra")) >= 3)
        rows.conn.execute("ALTER TABLE awa.jobs_hot DROP CONSTRAINT jobs_hot_kind_check")
        # It was not given up: the newest fire is made up for.
        await aeventually(lambda: jobs_of(rows, "a") and jobs_of(rows, "b"))

    said = sorted(r.schedule for r in caplog.records if hasattr(r, "schedule"))
    assert said == ["a", "b"]


async def test_a_schedule_that_somebody_has_locked_stops_no_other(
    client: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    client.periodic("locked", "* * * * * *", Noop, Noop())
    client.periodic("zebra", "* * * * * *", Noop, Noop())

    async with working(client):
        await aeventually(lambda: jobs_of(rows, "locked"))
        with psycopg.connect(database_url) as somebody:
            run(somebody, ops.pause_cron_job("locked"))
            before, others = len(jobs_of(rows, "locked")), len(jobs_of(rows, "zebra"))
            await aeventually(lambda: len(jobs_of(rows, "zebra")) >= others + 3)
            assert len(jobs_of(rows, "locked")) == before
            somebody.rollback()
        await aeventually(lambda: len(jobs_of(rows, "locked")) > before)


async def test_a_worker_starts_while_somebody_has_a_schedule_locked(
    client: awa.AsyncClient, rows: Rows, database_url: str, caplog
) -> None:
    rows.conn.execute(
        "INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES ('locked', '@daily', 'noop')"
    )
    client.periodic("locked", "0 1 * * *", Noop, Noop())
    client.periodic("zebra", "* * * * * *", Noop, Noop())

    with psycopg.connect(database_url) as somebody:
        run(somebody, ops.pause_cron_job("locked"))
        async with asyncio.timeout(10), working(client):
            await aeventually(lambda: jobs_of(rows, "zebra"))
        somebody.rollback()

    assert [r.schedules for r in caplog.records if hasattr(r, "schedules")] == [["locked"]]


async def test_a_changed_expression_makes_nothing_up(
    client: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    """Yearly before, every five minutes now: no fire of the past year is due."""
    rows.conn.execute(
        "INSERT INTO awa.cron_jobs (name, cron_expr, kind, created_at, last_enqueued_at)"
        " VALUES ('report', '0 0 1 1 *', 'noop', '2020-01-01', now() - interval '300 days')"
    )
    client.periodic("report", "*/5 * * * *", Noop, Noop(), missed_fire_policy="catch_up")
    client.periodic("zebra", "* * * * * *", Noop, Noop())
    (begun,) = rows.one("SELECT now()").values()

    async with working(client):
        await aeventually(lambda: len(jobs_of(rows, "zebra")) >= 2)

    made = [job["metadata"]["cron_fire_time"] for job in jobs_of(rows, "report")]
    # A fire in the seconds of this test is due.
    assert all(datetime.fromisoformat(at) >= begun for at in made)


async def test_what_is_not_due_by_the_clock_of_the_database_does_not_fire(
    client: awa.AsyncClient, rows: Rows
) -> None:
    (soon,) = rows.one("SELECT to_char(now() + interval '30 minutes', 'MI HH24')").values()
    client.periodic("soon", f"{soon} * * *", Noop, Noop())
    client.periodic("zebra", "* * * * * *", Noop, Noop())
    async with working(client):
        await aeventually(lambda: len(jobs_of(rows, "zebra")) >= 2)

    assert jobs_of(rows, "soon") == []


async def test_a_schedule_that_changes_while_it_is_known_fires_by_its_new_expression(
    client: awa.AsyncClient, rows: Rows
) -> None:
    client.periodic("report", "0 0 1 1 *", Noop, Noop())
    client.periodic("zebra", "* * * * * *", Noop, Noop())
    async with working(client):
        await aeventually(lambda: len(jobs_of(rows, "zebra")) >= 2)
        assert jobs_of(rows, "report") == []
        rows.conn.execute("UPDATE awa.cron_jobs SET cron_expr = '* * * * * *'")
        await aeventually(lambda: jobs_of(rows, "report"))


async def test_many_missed_fires_are_made_up_for_in_parts_and_all(
    client: awa.AsyncClient, rows: Rows
) -> None:
    client.periodic(
        "tick", "* * * * * *", Noop, Noop(), missed_fire_policy="catch_up", catch_up_limit=10_000
    )
    async with working(client):
        pass
    rows.conn.execute("UPDATE awa.cron_jobs SET last_enqueued_at = now() - interval '5000 seconds'")
    blocked: list[float] = []

    async def watch() -> None:
        while True:
            # What the thread has used: another process may take the processor meanwhile.
            began = time.thread_time()
            await asyncio.sleep(0.01)
            blocked.append(time.thread_time() - began)

    async with working(client):
        watching = asyncio.create_task(watch())
        await aeventually(
            lambda: rows.one("SELECT count(*) >= 5000 AS all FROM awa.jobs")["all"], timeout=30
        )
        watching.cancel()

    times = [job["metadata"]["cron_fire_time"] for job in jobs_of(rows, "tick")]
    assert len(set(times)) == len(times)
    # Computing them in one go takes 150 ms and more.
    assert sorted(blocked)[len(blocked) * 99 // 100] < 0.1


async def test_schedule_of_others_fires_too(client: awa.AsyncClient, rows: Rows) -> None:
    """Rows that awa 0.5 wrote lack the toolkit's settings."""
    rows.conn.execute(
        "INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES ('theirs', '* * * * * *', 'noop')"
    )

    async with working(client):
        await aeventually(lambda: jobs_of(rows, "theirs"))


async def test_periodic_is_refused_while_running(client: awa.AsyncClient) -> None:
    async with working(client):
        with pytest.raises(awa.AwaError, match=r"periodic\(\) must be called before start\(\)"):
            client.periodic("x", "@daily", Noop, Noop())
