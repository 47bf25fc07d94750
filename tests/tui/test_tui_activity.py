"""The activity page: transitions are shown, filtered and held, and never block the screen."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psycopg
from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa
from awa_cli.tui.widgets.filter_bar import FilterBar


@dataclass
class Ping:
    n: int = 0


async def test_what_happens_is_shown_from_its_beginning_to_its_end(monitor, aclient) -> None:
    @aclient.task(Ping, queue="default")
    async def ping(job: awa.Job) -> None:
        if job.args.n == 2:
            raise ValueError("no pong")

    async with working(aclient), monitor(screen="activity") as driver:
        await driver.at("activity")
        await driver.shows("No activity yet.")
        await aclient.insert(Ping(1))
        failed = await aclient.insert(Ping(2), max_attempts=1)
        await driver.shows("+ created", "▶ running", "✓ completed", "✗ failed", "no pong")
        seen = {(row.event, row.id) for row in driver.page._kept}
        assert 6 == len(driver.page._kept) == len(seen)
        times = [row.at for row in driver.page.grid.rows]
        assert times == sorted(times, reverse=True)
        await driver.press("/", *"state:failed", "enter")
        await aeventually(lambda: [row.event for row in driver.page.grid.rows] == ["failed"])
        await driver.press("enter")
        page = await driver.at("job")

        assert failed.id == page.value.job.id


async def test_past_transitions_are_shown_at_once_and_only_once(monitor, put, look) -> None:
    made = [put()["id"] for _ in range(5)]
    async with monitor(screen="activity") as driver:
        page = await driver.at("activity")
        await aeventually(lambda: len(page.grid.rows) == 5)
        new = put()["id"]
        await aeventually(lambda: [row.id for row in page.grid.rows] == [new, *reversed(made)])


async def test_moving_the_cursor_holds_the_list_and_f_goes_on(monitor, put) -> None:
    for _ in range(5):
        put()
    async with monitor(screen="activity") as driver:
        page = await driver.at("activity")
        await driver.press("j", "j")
        row = page.grid.row
        new = put()["id"]
        await driver.shows("held, 1 new")
        assert row == page.grid.row
        assert new not in [one.id for one in page.grid.rows]
        await driver.press("f")
        await aeventually(lambda: page.grid.rows[0].id == new)
        assert "held" not in driver.text()


async def test_fields_that_no_transition_has_are_refused(monitor, put) -> None:
    put()
    async with monitor(screen="activity") as driver:
        page = await driver.at("activity")
        await driver.press("/", *"since:2h", "enter")
        await driver.shows("since: '2h' does not filter activity")
        await driver.press("escape")
        await aeventually(lambda: page.grid.has_focus)
        assert "" == page.query_one(FilterBar).text


async def test_two_thousand_transitions_a_second_are_all_shown(monitor, database_url) -> None:
    """Each round writes 501 transitions."""
    seconds, rate = 4.0, 2_000

    async def load() -> int:
        done = 0
        began = time.perf_counter()
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
            while (spent := time.perf_counter() - began) < seconds:
                if done < rate * spent:
                    await conn.execute(
                        "INSERT INTO awa.jobs_hot (kind, queue, state, attempt, run_lease, "
                        "attempted_at, finalized_at) SELECT 'k', 'q', 'completed', 1, 1, now(), "
                        "now() FROM generate_series(1, 167)"
                    )
                    done += 3 * 167
                await asyncio.sleep(0.01)
        return done

    async with monitor(screen="activity", size=(160, 45)) as driver:
        page = await driver.at("activity")
        done = await load()
        await aeventually(lambda: page._seconds.total() == done)

    assert len(page._kept) == 2_000
    assert done >= 0.9 * rate * seconds
