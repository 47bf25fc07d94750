"""Counts of ends and failures stay true when the jobs have changed: with real workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa
from awa_lib.reads.failures import Ended, ended_since
from awa_lib.runtime import counts
from awa_lib.telemetry.failures import group_of_text


class MailDown(Exception):
    pass


@dataclass
class Mail:
    to: str = "a@example.org"


COUNTS = (
    "SELECT outcome, sum(ends)::int AS ends FROM awa.job_ends WHERE minutes = 1 GROUP BY outcome"
)


def counted(rows: Rows) -> dict[str, int]:
    return {row["outcome"]: row["ends"] for row in rows.all(COUNTS)}


@pytest.fixture
async def failing(aclient: awa.AsyncClient) -> Callable[[bool], None]:
    """A handler whose mail server can be down."""
    down = True

    @aclient.task(Mail, queue="mail")
    async def send(job: awa.Job) -> None:
        if down:
            raise MailDown(f"mail server {job.id} refused '{job.args.to}'")

    def set_down(value: bool) -> None:
        nonlocal down
        down = value

    return set_down


async def test_a_first_failure_is_counted_at_once(
    aclient: awa.AsyncClient,
    rows: Rows,
    failing: Callable[[bool], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts, "_SECONDS", 600.0)
    async with working(aclient, ("mail", 10)):
        await aclient.insert(Mail(), queue="mail", max_attempts=1)
        await aeventually(lambda: counted(rows) == {"failed": 1})


async def test_an_outage_stays_visible_after_its_jobs_were_retried_and_deleted(
    aclient: awa.AsyncClient, rows: Rows, failing: Callable[[bool], None]
) -> None:
    async with working(aclient, ("mail", 10)):
        await aclient.insert_many(
            [Mail(f"{n}@x.org") for n in range(40)], queue="mail", max_attempts=1
        )
        await aeventually(lambda: counted(rows) == {"failed": 40})
        (failure,) = await aclient.list_failures()
        failing(False)
        retried = await aclient.retry_failure(failure.id)
        await aeventually(lambda: counted(rows).get("completed") == 40)
    rows.conn.execute("DELETE FROM awa.jobs_hot")

    assert retried == 40
    assert counted(rows) == {"failed": 40, "completed": 40, "requeued": 40}
    (after,) = await aclient.list_failures(queue="mail", kind="mail")
    assert (after.id, after.failed, after.requeued) == (failure.id, 40, 40)
    assert after.error_type.endswith(".MailDown")
    assert after.message == "mail server <n> refused '...'"
    assert after.frames[-1].endswith("failing.<locals>.send")
    assert (after.queues, after.kinds) == (["mail"], ["mail"])
    assert after.first_seen_at <= after.last_seen_at


async def test_each_outcome_is_counted_once(aclient: awa.AsyncClient, rows: Rows) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> Any:
        match job.args.n:
            case 1:
                return awa.Cancel("no")
            case 2 if job.attempt == 1 and not job.errors:
                raise ValueError("once")
            case 3 if job.progress is None:
                job.set_progress(1)
                return awa.Snooze(0.01)
            case 4:
                raise awa.TerminalError("never")
        return None

    async with working(aclient):
        await aclient.insert_many([Noop(n) for n in range(6)])
        await aeventually(lambda: counted(rows).get("completed") == 4, 20)

    assert counted(rows) == {
        "completed": 4, "cancelled": 1, "retried": 1, "snoozed": 1, "failed": 1,
    }  # fmt: skip
    hours = rows.all(COUNTS.replace("minutes = 1", "minutes = 60"))
    assert {row["outcome"]: row["ends"] for row in hours} == counted(rows)


async def test_the_last_counts_are_written_at_shutdown(
    aclient: awa.AsyncClient, rows: Rows, failing: Callable[[bool], None]
) -> None:
    await aclient.start([("mail", 5)])
    aclient._runtime._completer.counts.duty._seconds = 3_600.0  # type: ignore[union-attr]
    await aclient.insert_many([Mail(), Mail()], queue="mail", max_attempts=1)
    await aeventually(lambda: rows.states() == {"failed": 2})
    await aclient.shutdown(2000)

    assert counted(rows) == {"failed": 2}


async def test_a_dead_worker_and_a_deadline_are_counted_by_the_leader(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    async with working(aclient):
        for max_attempts, deadline in (
            (5, "now() + interval '1 h'"),
            (1, "now() - interval '1 s'"),
        ):
            rows.conn.execute(
                "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, max_attempts, run_lease,"
                " heartbeat_at, deadline_at) VALUES ('foreign', 'other', 'running', 1, %s, 7,"
                f" now() + CASE WHEN %s = 1 THEN interval '1 h' ELSE interval '-1 h' END, {deadline})",
                [max_attempts, max_attempts],
            )
        await aeventually(lambda: counted(rows) == {"retried": 1, "failed": 1}, 30)
        found = {one.message: one for one in await aclient.list_failures()}

    crash = group_of_text("heartbeat stale: worker presumed dead")
    assert found[crash.message].id == crash.id
    assert found["hard deadline exceeded"].failed == 1
    written = rows.all("SELECT errors[cardinality(errors)] ->> 'failure' AS id FROM awa.jobs")
    assert sorted(row["id"] for row in written) == sorted(one.id for one in found.values())


async def test_a_retry_by_hand_after_a_dead_worker_is_counted_and_a_rescue_is_not(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    @aclient.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    for max_attempts in (1, 5):
        await aclient.insert(Noop(max_attempts), max_attempts=max_attempts)
    rows.conn.execute(
        "UPDATE awa.jobs_hot SET state = 'running', attempt = 1, run_lease = 7,"
        " heartbeat_at = now() - interval '1 h', deadline_at = now() + interval '1 h'"
    )
    async with working(aclient):
        await aeventually(lambda: counted(rows) == {"failed": 1, "retried": 1, "completed": 1}, 30)
        (failure,) = await aclient.list_failures()
        retried = await aclient.retry_failure(failure.id)
        await aeventually(lambda: counted(rows).get("completed") == 2)

    assert retried == 1
    assert counted(rows) == {"failed": 1, "retried": 1, "completed": 2, "requeued": 1}
    (after,) = await aclient.list_failures()
    assert (after.id, after.requeued) == (failure.id, 1)


async def test_counts_are_kept_while_the_tables_cannot_be_written(
    aclient: awa.AsyncClient, rows: Rows, failing: Callable[[bool], None]
) -> None:
    rows.conn.execute("ALTER TABLE awa.job_ends RENAME TO job_ends_away")
    async with working(aclient, ("mail", 5)):
        await aclient.insert_many([Mail()] * 7, queue="mail", max_attempts=1)
        await aeventually(lambda: rows.states() == {"failed": 7})
        counts = aclient._runtime._completer.counts  # type: ignore[union-attr]
        await aeventually(lambda: counts.duty.state.trouble_seconds > 0)
        rows.conn.execute("ALTER TABLE awa.job_ends_away RENAME TO job_ends")
        counts.duty.poke()
        await aeventually(lambda: counted(rows) == {"failed": 7})


WORKER = """
import os, awa_lib as awa
from dataclasses import dataclass

@dataclass
class Mail:
    to: str = ""

class MailDown(Exception):
    pass

client = awa.AsyncClient(os.environ["DATABASE_URL"])

@client.task(Mail, queue="mail")
async def send(job):
    raise MailDown(f"down: {job.id}")

awa.run(client, [("mail", 5)])
"""


async def test_processes_agree_on_a_failure_and_name_the_version_that_brought_it(
    aclient: awa.AsyncClient,
    rows: Rows,
    spawn_worker: Callable[[str], Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "shop.py").write_text(WORKER)
    for version in ("2.1", "2.2"):
        monkeypatch.setenv("AWA_APP_VERSION", version)
        worker = spawn_worker("import shop")
        jobs = await aclient.insert_many([Mail()] * 3, queue="mail", max_attempts=1, kind="mail")
        last = max(job.id for job in jobs)
        await aeventually(lambda: rows.job(last)["state"] == "failed", 30)  # noqa: B023 - now
        worker.terminate()
        assert await asyncio.to_thread(worker.wait) == 0

    (failure,) = await aclient.list_failures()
    assert (failure.failed, failure.first_version) == (6, "2.1")
    assert (failure.error_type, failure.message) == ("shop.MailDown", "down: <n>")
    assert failure.frames == ["shop.py send"]


async def test_a_failure_that_is_older_than_the_retention_is_forgotten(
    aclient: awa.AsyncClient, rows: Rows, failing: Callable[[bool], None]
) -> None:
    rows.conn.execute(
        "INSERT INTO awa.job_ends SELECT minutes, now() - interval '1 day' * age, 'mail', 'mail',"
        " 'failed', 'f' || age, 1"
        " FROM (VALUES (1), (60)) AS m (minutes), (VALUES (1), (3), (40)) AS a (age)"
    )
    rows.conn.execute(
        "INSERT INTO awa.failures (id, rule, kind, error_type, message, job_id, last_seen_at,"
        " muted_until) SELECT 'f' || age, 1, 'mail', '', '', 1, now() - interval '1 day' * age,"
        " CASE WHEN age = 50 THEN now() + interval '1 day' END"
        " FROM (VALUES (1), (3), (40), (50)) AS a (age)"
    )
    async with working(aclient, ("mail", 5)):
        await aeventually(lambda: not rows.all("SELECT FROM awa.failures WHERE id = 'f40'"), 30)
    left = rows.all("SELECT minutes, failure FROM awa.job_ends ORDER BY 1, 2")

    assert [(row["minutes"], row["failure"]) for row in left] == [(1, "f1"), (60, "f1"), (60, "f3")]
    names = rows.all("SELECT id FROM awa.failures ORDER BY id")
    assert [row["id"] for row in names] == ["f1", "f3", "f50"]


async def test_the_total_of_a_time(aclient: awa.AsyncClient, rows: Rows) -> None:
    rows.conn.execute(
        "INSERT INTO awa.job_ends VALUES"
        " (1, date_trunc('minute', now()), 'q', 'k', 'failed', 'f', 3),"
        " (60, date_trunc('hour', now()), 'q', 'k', 'failed', 'f', 3),"
        " (60, date_trunc('hour', now() - interval '9 days'), 'q', 'k', 'failed', 'f', 5)"
    )
    now = datetime.now(UTC)

    assert await aclient._run(ended_since(now - timedelta(hours=1))) == Ended(failed=3)
    assert await aclient._run(ended_since(now - timedelta(days=10))) == Ended(failed=8)
