"""Bulk operations: progress, start, carry out, stop."""

from __future__ import annotations

import psycopg
import pytest
from fix_wait import aeventually

from awa_lib.db.drive import run
from awa_lib.ops.bulk import submit_bulk_operation


@pytest.fixture
def submit(database_url):
    """Submit an operation that nobody carries out."""

    def submit(operation: str, **given):
        with psycopg.connect(database_url, autocommit=True) as conn:
            return run(conn, submit_bulk_operation(operation, submitted_by="me", **given))

    return submit


async def test_one_is_carried_out_from_here(monitor, put, look, submit) -> None:
    for _ in range(3):
        put(kind="mail")
    submit("set_priority", priority=1, kind="mail")
    async with monitor(screen="batches") as driver:
        page = await driver.at("batches")
        await driver.shows("set_priority", "pending", "0%  0 of 3 jobs", '{"kind": "mail"}')
        await driver.press("r")
        question = await driver.answer("y")
        assert "Run bulk operation set_priority of 3 jobs here?" == question
        await driver.shows("completed", "100%  3 of 3 jobs", "Completed")

        assert [{"priority": 1}] == look("SELECT DISTINCT priority FROM awa.jobs")
        assert look("SELECT 1 FROM awa.audit_log WHERE action = 'batch.run'")
        assert (False, False) == (page.check_action("run", ()), page.check_action("cancel", ()))


async def test_one_is_stopped(monitor, put, look, submit) -> None:
    put(kind="mail")
    submit("cancel", kind="mail")
    async with monitor(screen="batches") as driver:
        await driver.at("batches")
        await driver.press("c")
        assert "Stop bulk operation cancel of 1 job?" == await driver.answer("y")
        await driver.shows("cancelled", "Stopped bulk operation")

        assert [{"state": "available"}] == look("SELECT state::text FROM awa.jobs")


async def test_one_is_started_for_what_a_filter_finds(monitor, put, look) -> None:
    for _ in range(4):
        put(kind="mail")
    put(kind="other")
    async with monitor(screen="batches") as driver:
        await driver.at("batches")
        await driver.shows("No bulk operations yet")
        await driver.press("n")
        await driver.shows("Change which jobs?")
        await driver.press(*["backspace"] * 12, *"knid:mail", "enter")
        await driver.shows("is no filter; did you mean")
        await driver.press(*["backspace"] * 9, *"kind:mail", "enter")
        await driver.shows("All jobs matching kind:mail")
        await driver.press("down", "enter")
        assert "Cancel 4 jobs?" == await driver.answer("y")
        await driver.shows("Cancelled 4 jobs", "completed")

        await aeventually(
            lambda: (
                look("SELECT kind FROM awa.jobs WHERE state = 'available'") == [{"kind": "other"}]
            )
        )


async def test_a_deletion_shows_ids_and_that_it_is_final(monitor, put, look) -> None:
    ids = [put(kind="mail", state="failed")["id"] for _ in range(2)]
    async with monitor(screen="batches") as driver:
        await driver.at("batches")
        await driver.press("n")
        await driver.shows("Change which jobs?")
        await driver.press(*["backspace"] * 12, *"kind:mail", "enter")
        await driver.shows("All jobs matching kind:mail")
        await driver.press(*["down"] * 2, "enter")
        await driver.shows(
            "Permanently delete 2 jobs?", f"Ids: {ids[0]}, {ids[1]}", "This cannot be undone."
        )
        await driver.press("n")

    assert len(look("SELECT id FROM awa.jobs")) == 2
