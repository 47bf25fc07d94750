"""Dead letters: the list, its filter, the page of a dead letter, retry and purge."""

from __future__ import annotations

import json

import pytest
from fix_wait import aeventually
from textual.widgets import Input

from awa_cli.tui.widgets.filter_bar import FilterBar

ERROR = {"attempt": 1, "at": "2026-01-01T00:00:00Z", "error": "TimeoutError: too slow\n  File x"}


@pytest.fixture
def bury(put, look):
    """Make dead letters and return their ids, oldest first."""

    def bury(count: int = 1, **columns):
        made = [
            put(state="failed", attempt=1, max_attempts=1, **{"kind": "mail", **columns})["id"]
            for _ in range(count)
        ]
        look(
            "UPDATE awa.jobs_hot SET errors = ARRAY[%s::jsonb] WHERE state = 'failed'",
            json.dumps(ERROR),
        )
        from psycopg import connect

        from awa_lib.db.drive import run
        from awa_lib.ops.dead_letters import bulk_move_failed_to_dlq

        with connect(look.conn.info.dsn, autocommit=True) as conn:
            run(conn, bulk_move_failed_to_dlq(reason="smtp is down", all=True))
        return made

    return bury


async def test_dead_letters_are_filtered_by_what_they_can_be(monitor, bury) -> None:
    bury(kind="mail", queue="email")
    bury(kind="resize", queue="images", tags=["eu"])
    async with monitor(screen="dlq", size=(120, 30)) as driver:
        page = await driver.at("dlq")
        await driver.shows("TimeoutError: too slow", "smtp is down")
        assert ["resize", "mail"] == [row.kind for row in page.grid.rows]
        await aeventually(lambda: page.query_one(FilterBar).names)
        await driver.press("/", *"ta", "tab", *"eu", "enter")
        await aeventually(lambda: [row.kind for row in page.grid.rows] == ["resize"])
        await driver.press("/")
        page.query_one(Input).value = "state:failed"
        await driver.press("enter")
        await driver.shows("state: 'failed' does not filter dead letters")
        await driver.press("escape", "backspace")
        await aeventually(lambda: len(page.grid.rows) == 2)


async def test_one_dead_letter_is_read_and_retried(monitor, bury, look) -> None:
    (job_id,) = bury(args='{"to": "x"}', queue="email")
    async with monitor(screen="dlq") as driver:
        await driver.at("dlq")
        await driver.press("enter")
        await driver.shows(f"Dead letter {job_id}", "smtp is down", "too slow", 'to: "x"')
        await driver.press("r")
        assert f"Retry dead letter {job_id} (mail)?" == await driver.answer("y")
        page = await driver.at("dlq")
        await aeventually(lambda: page.grid.rows == [])

        assert [{"id": job_id}] == look("SELECT id FROM awa.jobs WHERE state = 'available'")


async def test_marked_dead_letters_are_purged_after_a_yes_only(monitor, bury, look) -> None:
    bury(3)
    async with monitor(screen="dlq") as driver:
        page = await driver.at("dlq")
        await driver.press("space", "space", "d")
        assert "Permanently delete 2 dead letters?" == await driver.answer("n")
        assert 3 == len(page.grid.rows)
        await driver.press("d")
        await driver.answer("y")
        await driver.shows("Purged 2 dead letters")
        await aeventually(lambda: len(page.grid.rows) == 1)


async def test_one_that_stays_takes_no_other_back(monitor, bury, look) -> None:
    first, second = bury(2)
    async with monitor(screen="dlq") as driver:
        page = await driver.at("dlq")
        page.feed.hold()
        look("DELETE FROM awa.dead_letters WHERE id = %s", first)
        await driver.press("*", "r")
        assert "Retry 2 dead letters?" == await driver.answer("y")
        await driver.shows("1 dead letter changed, 1 not")
        await aeventually(lambda: look("SELECT id FROM awa.jobs") == [{"id": second}])
        entries = look("SELECT target FROM awa.audit_log WHERE action = 'dlq.retry'")

        assert [{"target": str(second)}] == entries


async def test_all_that_match_are_retried_and_the_rest_is_reported(
    monitor, bury, look, put
) -> None:
    bury(3, kind="mail")
    bury(1, kind="other")
    async with monitor(screen="dlq") as driver:
        page = await driver.at("dlq")
        await driver.press("/", *"kind:mail", "enter")
        await aeventually(lambda: len(page.grid.rows) == 3)
        await driver.press("b")
        await driver.shows("All dead letters matching kind:mail", "Purge")
        await driver.press("enter")
        await driver.shows("3 dead letters match.")
        assert "Retry dead letters of kind mail?" == await driver.answer("y")
        await driver.shows("Retried 3 dead letters")
        await aeventually(lambda: page.grid.rows == [])

        assert [{"n": 3}] == look("SELECT count(*) AS n FROM awa.jobs WHERE kind = 'mail'")


async def test_more_are_read_as_the_cursor_goes_down(monitor, bury) -> None:
    bury(230)
    async with monitor(screen="dlq") as driver:
        page = await driver.at("dlq")
        assert 200 == len(page.grid.rows)
        await driver.press("G")
        await aeventually(lambda: len(page.grid.rows) == 230)


async def test_read_only_offers_neither(monitor, bury) -> None:
    bury()
    async with monitor(screen="dlq", read_only=True) as driver:
        page = await driver.at("dlq")

        assert not any(page.check_action(one, ()) for one in ("retry", "purge", "bulk"))
