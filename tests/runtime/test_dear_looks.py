"""Looks of the leader that dead rows make dear: seldom, or from where an earlier one has ended.

The clock of a duty goes on by a step with each look at it, so a look takes as long as the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from fix_worker import Rows

from awa_lib._sql import Op
from awa_lib.config.workers import WorkerOptions
from awa_lib.db.drive import run
from awa_lib.ops import maintenance as ops
from awa_lib.runtime.news import News
from awa_lib.runtime.promotion import Promotion
from awa_lib.runtime.rescues import Rescues

INSERT = (
    "INSERT INTO awa.scheduled_jobs (kind, queue, state, run_at)"
    " VALUES ('k', 'q', %s, now() - make_interval(secs => %s)) RETURNING id"
)


class Clock:
    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Contact:
    """A connection that always answers."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    async def run(self, op: Op[Any]) -> Any:
        return run(self.conn, op)

    def seconds(self, longest_break: float) -> float:
        return 3600.0


@pytest.fixture
def contact(database_url: str) -> Iterator[Contact]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield Contact(conn)


def told() -> News:
    """Return news that are fresh: no look asks for more than due jobs."""
    news = News(lambda: 0.0)
    news.note(ops.Others(False, False, "", datetime.now(UTC)))
    return news


def put(rows: Rows, age: float, state: str = "scheduled") -> int:
    found = rows.conn.execute(INSERT, [state, age]).fetchone()
    return found["id"]  # type: ignore[index,no-any-return] # RETURNING


def is_promoted(rows: Rows, job_id: int) -> bool:
    return bool(rows.job(job_id)["state"] == "available")


@pytest.mark.parametrize("state", ["scheduled", "retryable"])
async def test_what_is_due_behind_a_mark_waits_for_the_next_look_from_the_start(
    contact: Contact, rows: Rows, state: str
) -> None:
    clock = Clock(step=0.02)
    promotion = Promotion(contact, told(), clock)  # type: ignore[arg-type] # as much of one as it needs
    await promotion.round()
    late, soon = put(rows, 60, state), put(rows, 0.5, state)
    await promotion.round()
    at_marks = (is_promoted(rows, late), is_promoted(rows, soon))
    clock.now += 1.0
    await promotion.round()

    assert at_marks == (False, True)
    assert is_promoted(rows, late)


async def test_a_job_that_was_locked_is_promoted_behind_marks(contact: Contact, rows: Rows) -> None:
    """It is aside: others pass it, and it is tried again also when no other is due."""
    clock = Clock(step=0.02)
    promotion = Promotion(contact, told(), clock)  # type: ignore[arg-type] # as above
    locked = put(rows, 60)
    with psycopg.connect(rows.conn.info.dsn, password=rows.conn.info.password) as stranger:
        stranger.execute("SELECT FROM awa.scheduled_jobs WHERE id = %s FOR UPDATE", [locked])
        await promotion.round()
        other = put(rows, 30)
        await promotion.round()
        assert (is_promoted(rows, locked), is_promoted(rows, other)) == (False, True)
    clock.step = 0.0
    promotion._looks._due = clock.now + 60
    clock.now += 5
    await promotion.round()

    assert is_promoted(rows, locked)


def test_a_mark_passes_no_job_that_is_due(contact: Contact, rows: Rows) -> None:
    first, second, _ = put(rows, 60), put(rows, 30), put(rows, 40, "retryable")
    later = put(rows, -60)
    found = {one.state: one for one in run(contact.conn, ops.due_states({}, [first]))[0]}
    run_at = {one: rows.job(one)["run_at"] for one in (second, later)}

    assert [found[state].is_due for state in ("scheduled", "retryable")] == [True, True]
    assert datetime.fromisoformat(found["scheduled"].begin) == run_at[second]
    begins = {"scheduled": str(run_at[later])}
    assert [one.is_due for one in run(contact.conn, ops.due_states(begins))[0]] == [False, True]


async def test_cheap_looks_for_due_jobs_all_begin_at_the_start(
    contact: Contact, rows: Rows
) -> None:
    promotion = Promotion(contact, told(), Clock(step=0.001))  # type: ignore[arg-type] # as above
    await promotion.round()
    late = put(rows, 60)
    await promotion.round()

    assert is_promoted(rows, late)


@pytest.mark.parametrize(("step", "pauses"), [(0.001, [None, None, None]), (2.0, [40.0] * 3)])
async def test_rescues_look_for_at_most_a_twentieth_of_the_time(
    contact: Contact, step: float, pauses: list[float | None]
) -> None:
    rescues = Rescues(
        contact,  # type: ignore[arg-type] # as above
        WorkerOptions(queues=()),
        on_rescued=lambda _: None,
        clock=Clock(step),
    )

    assert [await one() for one in (rescues.stale, rescues.deadline, rescues.callback)] == pauses
