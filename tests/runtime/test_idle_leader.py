"""What the leader no longer asks while there is nothing to do, and what it must not miss."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib._sql import Op
from awa_lib.db.drive import run
from awa_lib.errors import DatabaseError
from awa_lib.ops import bulk, cron, dead_letters, maintenance
from awa_lib.runtime.leader import _SHORT
from awa_lib.runtime.sessions import open_sync

LOOKS = [(cron, "read_schedules"), (bulk, "advance_next"), (dead_letters, "move_failed")]


@pytest.fixture
def client(aclient: awa.AsyncClient) -> awa.AsyncClient:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    return aclient


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each duty of the leader has looked by itself."""
    found: Counter[str] = Counter()

    def counted(name: str, op: Callable[..., Op[Any]]) -> Callable[..., Op[Any]]:
        def call(*given: Any, **more: Any) -> Op[Any]:
            found[name] += 1
            return op(*given, **more)

        return call

    for module, name in LOOKS:
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    return found


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the look for due jobs fail when it asks for more."""
    due_states = maintenance.due_states

    def refused(*given: Any, others: bool = False) -> Op[Any]:
        if others:
            raise DatabaseError("the statement is wrong", sqlstate="XX000")
        return due_states(*given)

    monkeypatch.setattr(maintenance, "due_states", refused)


def version(conn: psycopg.Connection[Any]) -> str:
    _, others = run(conn, maintenance.due_states({}, others=True))
    assert others is not None
    return others.schedules


async def test_a_job_that_is_inserted_just_before_its_time_is_not_late(
    client: awa.AsyncClient, rows: Rows
) -> None:
    """The leader looks four times a second, whatever is known to be due later."""
    late = []
    async with working(client):
        for ahead in (0.0, 0.05, 0.1, 0.3):
            at = datetime.now(UTC) + timedelta(seconds=ahead)
            job = await client.insert(Noop(), run_at=at)
            await aeventually(lambda: rows.job(job.id)["state"] == "completed")  # noqa: B023 - awaited here
            late.append((rows.job(job.id)["attempted_at"] - at).total_seconds())

    assert max(late) < 0.6


async def test_a_schedule_fires_at_its_time(client: awa.AsyncClient, rows: Rows) -> None:
    client.periodic("even", "*/2 * * * * *", Noop, Noop())
    fired = "SELECT created_at, (metadata ->> 'cron_fire_time')::timestamptz AS at FROM awa.jobs"

    async with working(client):
        await aeventually(lambda: len(rows.all(fired)) >= 5, 15)

    # The first may be of the time before the start.
    late = sorted((row["created_at"] - row["at"]).total_seconds() for row in rows.all(fired))
    assert late[0] >= 0
    assert late[2] < 0.25


async def test_an_idle_leader_does_not_ask_for_each_duty(
    client: awa.AsyncClient, rows: Rows, looks: Counter[str]
) -> None:
    client.periodic("yearly", "@yearly", Noop, Noop())
    async with working(client):
        await asyncio.sleep(4)

    assert looks["read_schedules"] <= 2
    assert looks["advance_next"] <= 1
    assert looks["move_failed"] <= 1


async def test_changes_by_others_are_seen(client: awa.AsyncClient, rows: Rows) -> None:
    """Of awa 0.5, or by hand."""
    client.periodic("rare", "@yearly", Noop, Noop())
    async with working(client):
        await asyncio.sleep(1.5)
        began = time.monotonic()
        rows.conn.execute("UPDATE awa.cron_jobs SET cron_expr = '* * * * * *'")
        await aeventually(lambda: rows.all("SELECT FROM awa.jobs"))
        await client.pause_cron_job("rare")
        await asyncio.sleep(1.5)
        paused = len(rows.all("SELECT FROM awa.jobs"))
        await asyncio.sleep(1.5)
        assert len(rows.all("SELECT FROM awa.jobs")) == paused
        await client.resume_cron_job("rare")
        await aeventually(lambda: len(rows.all("SELECT FROM awa.jobs")) > paused)

    assert time.monotonic() - began < 10


@pytest.mark.parametrize("broken", [False, True], ids=["told", "refused"])
async def test_each_duty_finds_its_work(
    client: awa.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """Told by the look for due jobs, or by itself while that look may not ask."""
    if broken:
        refuse(monkeypatch)
    client.periodic("rare", "@yearly", Noop, Noop())
    async with working(client):
        await asyncio.sleep(1.5)
        rows.conn.execute(
            "INSERT INTO awa.jobs_hot (kind, queue, state, finalized_at)"
            " VALUES ('k', 'letters', 'failed', now()), ('old', 'gone', 'failed', now())"
        )
        began = time.monotonic()
        await client.set_dead_letters("letters", True)
        await client.submit_bulk_operation("delete", kind="old")
        rows.conn.execute("UPDATE awa.cron_jobs SET cron_expr = '* * * * * *'")
        due = await client.insert(Noop(), run_at=datetime.now(UTC) + timedelta(seconds=0.3))
        await aeventually(lambda: rows.job(due.id)["state"] == "completed")
        await aeventually(lambda: rows.all("SELECT FROM awa.jobs WHERE metadata ? 'cron_name'"))
        await aeventually(lambda: not rows.all("SELECT FROM awa.jobs WHERE kind = 'old'"))
        await aeventually(client.dlq_depth)

    assert time.monotonic() - began < 8


def test_each_change_of_a_schedule_makes_another_version(
    database_url: str, client: awa.AsyncClient
) -> None:
    """Also one that leaves the row as it was; a lock is none."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        seen = [version(conn)]
        for change in (
            "INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES ('a', '@yearly', 'k')",
            "UPDATE awa.cron_jobs SET kind = kind",
            "INSERT INTO awa.cron_settings (name) VALUES ('a')",
            "UPDATE awa.cron_settings SET paused_at = now()",
            "DELETE FROM awa.cron_settings",
            "DELETE FROM awa.cron_jobs",
        ):
            conn.execute(change)
            seen.append(version(conn))
            with conn.transaction():
                conn.execute("SELECT FROM awa.cron_jobs FOR UPDATE")
            assert version(conn) == seen[-1]

    assert all(before != after for before, after in pairwise(seen))


def test_the_connection_of_the_looks_has_their_settings(database_url: str) -> None:
    """The looks themselves set nothing."""
    with open_sync(database_url, _SHORT.purpose("test")) as conn:
        for name, value in maintenance.INDEXES_ONLY:
            assert conn.execute(f"SHOW {name}").fetchone() == (value,)
