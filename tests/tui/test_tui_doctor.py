"""The doctor page: findings, what to do, copy."""

from __future__ import annotations

from fix_wait import aeventually


async def test_what_is_wrong_is_shown_with_the_command_that_mends_it(monitor, put, look) -> None:
    put(kind="mail", queue="email")
    look("UPDATE awa.jobs_hot SET run_at = now() - interval '1 hour'")
    async with monitor(screen="doctor", size=(120, 30)) as driver:
        page = await driver.at("doctor")
        row = next(one for one in page.grid.rows if one.check == "queues")
        page.grid.put_cursor(page.key(row))
        await driver.shows(
            "no worker works the queue email", "do   awa worker", "passed; press ctrl+r"
        )
        await driver.press("y")
        await aeventually(lambda: driver.app.clipboard == row.do)
        found = len(page.grid.rows)
        await driver.press("a")
        await aeventually(lambda: len(page.grid.rows) > found)
        assert "ok" in {one.severity.value for one in page.grid.rows}
