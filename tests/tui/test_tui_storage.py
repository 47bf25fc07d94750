"""The storage page: prepare and abort."""

from __future__ import annotations

from fix_wait import aeventually


async def test_an_engine_is_prepared_and_forgotten(monitor, look) -> None:
    async with monitor(screen="storage") as driver:
        page = await driver.at("storage")
        await driver.shows("canonical → prepared", "no live worker knows the new engine")
        assert not page.check_action("abort", ())
        await driver.press("p")
        await driver.shows("Prepare which engine?")
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
        await driver.shows("Prepare which engine?")
        await driver.press(*["backspace"] * 13, *"canonical", "enter")
        await driver.answer("y")
        await driver.shows("already active")
