"""The storage transition and the doctor."""

from __future__ import annotations

from fix_wait import aeventually

# Storage


async def test_an_engine_is_prepared_and_forgotten(monitor, look) -> None:
    async with monitor(screen="storage") as driver:
        page = await driver.at("storage")
        await driver.shows("canonical → prepared", "no live worker knows the new engine")
        assert not page.check_action("abort", ())
        await driver.press("p")
        await driver.shows("Move to which engine?")
        await driver.press("enter")
        question = await driver.answer("y")
        assert "Prepare the storage engine queue_storage?" == question
        await driver.shows("Prepared the storage engine queue_storage", "prepared   queue_storage")
        await aeventually(lambda: page.check_action("abort", ()))
        await driver.press("d")
        assert "Clear the prepared storage engine?" == await driver.answer("y")
        await driver.shows("Cleared the prepared storage engine", "prepared   none")

        row = look("SELECT prepared_engine, state FROM awa.storage_transition_state")
        assert [{"prepared_engine": None, "state": "canonical"}] == row


async def test_an_engine_that_cannot_be_prepared_is_refused_in_words(monitor) -> None:
    async with monitor(screen="storage") as driver:
        await driver.at("storage")
        await driver.press("p")
        await driver.shows("Move to which engine?")
        await driver.press(*["backspace"] * 13, *"canonical", "enter")
        await driver.answer("y")
        await driver.shows("already active")


# Doctor


async def test_what_is_wrong_is_shown_with_the_command_that_mends_it(monitor, put, look) -> None:
    put(kind="mail", queue="email")
    look("UPDATE awa.jobs_hot SET run_at = now() - interval '1 hour'")
    async with monitor(screen="doctor", size=(120, 30)) as driver:
        page = await driver.at("doctor")
        row = next(one for one in page.grid.rows if one.check == "queues")
        page.grid.put_cursor(page.key(row))
        await driver.shows("no worker works the queue email", "do   awa worker", "found nothing")
        await driver.press("y")
        await aeventually(lambda: driver.app.clipboard == row.do)
        found = len(page.grid.rows)
        await driver.press("a")
        await aeventually(lambda: len(page.grid.rows) > found)
        assert "ok" in {one.severity.value for one in page.grid.rows}
