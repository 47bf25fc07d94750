"""Outcomes of failed attempts, by kind and by queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa


class Busy(Exception):
    """Worth another try."""


class Gone(Exception):
    """Not worth another try."""


async def run(
    client: awa.AsyncClient, rows: Rows, error: BaseException, state: str, **options: Any
) -> dict[str, Any]:
    """Register a handler that raises, run one job, and return its row."""
    queue = options.pop("queue_options", {})

    @client.task(Noop, **options)
    async def handler(job: awa.Job) -> None:
        raise error

    async with working(client, {"name": "default", "max_workers": 1, **queue}):
        job = await client.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == state)
        return rows.one("SELECT *, run_at - finalized_at AS delay FROM awa.jobs")


@pytest.mark.parametrize(
    ("backoff", "delay"),
    [
        (awa.fixed(100), 100),
        (awa.linear(50), 50),
        (awa.exponential(30, jitter=0), 30),
        (lambda attempt, error: 70 * attempt if isinstance(error, Busy) else 1, 70),
    ],
)
@pytest.mark.parametrize("place", ["kind", "queue"])
async def test_backoff(aclient, rows: Rows, backoff, delay: int, place: str) -> None:
    options = {"backoff": backoff} if place == "kind" else {"queue_options": {"backoff": backoff}}

    row = await run(aclient, rows, Busy(), "retryable", **options)

    assert row["delay"].total_seconds() == pytest.approx(delay, abs=0.5)


async def test_kind_comes_before_queue(aclient, rows: Rows) -> None:
    row = await run(
        aclient,
        rows,
        Busy(),
        "retryable",
        backoff=awa.fixed(100),
        queue_options={"backoff": awa.fixed(9)},
    )

    assert row["delay"].total_seconds() == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize("broken", [lambda attempt, error: "x", lambda attempt, error: {}[1]])
async def test_broken_backoff_function_falls_back(aclient, rows: Rows, broken, caplog) -> None:
    row = await run(aclient, rows, Busy(), "retryable", backoff=broken)

    assert 1.5 < row["delay"].total_seconds() < 3
    assert "a backoff function failed" in caplog.text


async def test_max_attempts_of_the_kind(aclient, rows: Rows) -> None:
    row = await run(aclient, rows, Busy(), "failed", max_attempts=3, backoff=awa.fixed(0))

    assert (row["attempt"], row["max_attempts"], len(row["errors"])) == (3, 3, 3)


async def test_limit_of_the_kind_holds_after_a_rescue(aclient, rows: Rows) -> None:
    """The leader that rescues may not know the kind."""
    begun: list[int] = []

    @aclient.task(Noop, max_attempts=2)
    async def handler(job: awa.Job) -> None:
        begun.append(job.attempt)

    for attempt in (1, 2):
        rows.all(
            "INSERT INTO awa.jobs (kind, args, state, attempt, heartbeat_at, deadline_at) VALUES"
            " ('noop', '{}', 'running', %s, now() + interval '1 day', now() - interval '1 day')"
            " RETURNING id",
            attempt,
        )

    def over() -> bool:
        rows.conn.execute("UPDATE awa.jobs SET run_at = now() WHERE state = 'retryable'")
        return rows.states() == {"completed": 1, "failed": 1}

    async with working(aclient):
        await aeventually(over)

    failed = rows.one("SELECT * FROM awa.jobs WHERE state = 'failed'")
    assert begun == [2]
    assert failed["errors"][-1]["error"] == "not begun: noop has 2 attempts"


@pytest.mark.parametrize(("before", "ends"), [(0, "completed"), (1, "failed")])
async def test_limit_of_the_kind_holds_after_crashes(aclient, rows: Rows, before, ends) -> None:
    """A crash gives its attempt back; as many as the kind has attempts are enough."""
    begun: list[int] = []

    @aclient.task(Noop, max_attempts=2)
    async def handler(job: awa.Job) -> None:
        begun.append(job.attempt)

    rows.all(
        "INSERT INTO awa.jobs (kind, args, state, attempt, heartbeat_at, metadata) VALUES"
        " ('noop', '{}', 'running', 2, now() - interval '1 day',"
        " jsonb_build_object('_awa_crashes', %s::int)) RETURNING id",
        before,
    )
    async with working(aclient):
        await aeventually(lambda: rows.states() == {ends: 1})

    assert begun == ([2] if ends == "completed" else [])


async def test_lower_limit_of_the_job_wins(aclient, rows: Rows) -> None:
    @aclient.task(Noop, max_attempts=9, backoff=awa.fixed(0))
    async def handler(job: awa.Job) -> None:
        raise Busy

    async with working(aclient):
        job = await aclient.insert(Noop(), max_attempts=2)
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")

    assert rows.job(job.id)["attempt"] == 2


async def test_retry_on_fails_other_classes_for_good(aclient, rows: Rows) -> None:
    row = await run(aclient, rows, Gone("away"), "failed", retry_on=(Busy, OSError))

    (error,) = row["errors"]
    assert (row["attempt"], error["terminal"]) == (1, True)
    assert error["error"].startswith("Gone: away\n")


async def test_retry_on_retries_its_classes(aclient, rows: Rows) -> None:
    row = await run(aclient, rows, ConnectionError(), "retryable", retry_on=OSError)

    assert "terminal" not in row["errors"][0]


async def test_discard_on_cancels(aclient, rows: Rows) -> None:
    row = await run(aclient, rows, Gone("away"), "cancelled", discard_on=[Gone])

    (error,) = row["errors"]
    assert error["error"].startswith("discarded: Gone: away")


async def test_terminal_error_beats_retry_on(aclient, rows: Rows) -> None:
    row = await run(aclient, rows, awa.TerminalError("no"), "failed", retry_on=awa.AwaError)

    assert row["errors"][0]["terminal"] is True


async def test_error_entry_has_attempt_time_type_and_trace(aclient, rows: Rows) -> None:
    row = await run(aclient, rows, Busy("now"), "retryable", backoff=awa.fixed(99))

    (error,) = row["errors"]
    assert error["attempt"] == 1
    assert error["at"].endswith("+00:00")
    assert error["type"] == f"{Busy.__module__}.Busy"
    assert error["error"].startswith("Busy: now\n")
    assert "raise error" in error["error"]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_trace_begins_at_the_handler(aclient, rows: Rows, blocking: bool) -> None:
    if blocking:

        @aclient.task(Noop, max_attempts=1)
        def handle(job: awa.Job) -> None:
            raise Busy("now")
    else:

        @aclient.task(Noop, max_attempts=1)
        async def handle(job: awa.Job) -> None:
            raise Busy("now")

    async with working(aclient):
        job = await aclient.insert(Noop(1))
        await aeventually(lambda: rows.job(job.id)["state"] == "failed")
        errors = rows.job(job.id)["errors"]

    head, first, *_ = errors[0]["error"].splitlines()
    assert head == "Busy: now"
    assert Path(__file__).name in first
    assert first.endswith(", in handle")
