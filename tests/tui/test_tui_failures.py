"""Failures: alerts that open them, groups, frames and jobs, retry with a preview, mute."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fix_wait import aeventually
from fix_worker import working

import awa_lib as awa
from awa_cli.tui.widgets.alerts import AlertList
from awa_cli.tui.widgets.confirm import Confirm

JOBS = 12


class MailDown(Exception):
    """What the handlers raise."""


@dataclass
class Mail:
    n: int = 0


@pytest.fixture
async def down(aclient: awa.AsyncClient, look) -> str:
    """Twelve jobs that failed in one way, of which one is a dead letter; the id of the failure."""

    @aclient.task(Mail, kind="send_mail", queue="mail", max_attempts=1)
    async def send(job: awa.Job) -> None:
        raise MailDown(f"mail server {job.args.n} is down")

    async with working(aclient, ("mail", 5)):
        await aclient.insert_many([Mail(n) for n in range(JOBS)])

        async def counted() -> str | None:
            found = await aclient.list_failures()
            return found[0].id if found and found[0].failed == JOBS else None

        failure = await aeventually(counted)
    (first,) = look("SELECT min(id) AS id FROM awa.jobs_hot")
    await aclient.move_failed_to_dlq(first["id"], "kept")
    return str(failure)


async def test_the_overview_leads_to_the_incident(monitor, down) -> None:
    async with monitor(size=(120, 40)) as driver:
        await driver.at("overview")
        await driver.shows(
            f"✗ send_mail fails in {JOBS} of {JOBS} attempts: MailDown: mail server <n> is down",
            f"to do: awa failure show {down}",
            "MailDown: mail server <n> is down",
        )
        assert isinstance(driver.app.focused, AlertList)
        await driver.press("enter")
        page = await driver.at("failure")

        assert down == page.failure
        await driver.shows("MailDown: mail server <n> is down", "for good", "where", ".send")


async def test_an_alert_is_chosen_and_its_command_copied(monitor, down, put) -> None:
    put(queue="idle", run_at="2026-01-01T00:00:00Z")
    async with monitor(size=(120, 40)) as driver:
        await driver.at("overview")
        await driver.shows("no worker is running, and 1 job could run", "to do: awa worker")
        await driver.press("j")
        await driver.shows(f"to do: awa failure show {down}")
        await driver.press("y")
        await driver.shows("Copied.")

        assert f"awa failure show {down}" == driver.app.clipboard


async def test_queues_in_trouble_come_first(monitor, down, put) -> None:
    put(queue="a", finalized_at="2026-01-01T00:00:00Z", state="failed")
    async with monitor(screen="queues", size=(80, 24)) as driver:
        page = await driver.at("queues")

        assert [("mail", "failing"), ("a", "")] == [(row.queue, row.word) for row in page.grid.rows]


async def test_the_bar_counts_failures_and_dead_letters(monitor, down) -> None:
    for size, words in (((160, 30), ("Failures 1", "Dead letters 1")), ((80, 24), ("Failures 1",))):
        async with monitor(size=size, screen="kinds") as driver:
            await driver.shows(*words)


async def test_a_failure_is_retried_after_a_preview(monitor, down, look) -> None:
    async with monitor(screen="failures", size=(100, 30)) as driver:
        page = await driver.at("failures")
        assert [(down, JOBS)] == [(row.id, row.total) for row in page.grid.rows]
        await driver.press("r")
        await aeventually(lambda: isinstance(driver.app.screen, Confirm))
        await driver.shows(f"{JOBS - 1} failed jobs and 1 dead letter.", "Ids: ")
        await driver.answer("y")
        await driver.shows(f"Retried {JOBS - 1} failed jobs and 1 dead letter")

    assert [{"jobs": JOBS}] == look(
        "SELECT count(*) AS jobs FROM awa.jobs_hot WHERE state = 'available'"
    )
    assert [{"action": "dlq.retry-all"}, {"action": "failure.retry"}] == look(
        "SELECT DISTINCT action FROM awa.audit_log WHERE via = 'tui' ORDER BY action"
    )


async def test_a_failure_is_muted_and_shown_again(monitor, down, look) -> None:
    async with monitor(screen="failures", size=(100, 30)) as driver:
        await driver.at("failures")
        await driver.press("z")
        await driver.answer("y")
        await driver.shows("No failures in this time.")
        await driver.press("a")
        await driver.shows("1 muted")
        await driver.press("z")
        await driver.answer("y")
        await aeventually(lambda: look("SELECT 1 FROM awa.failures WHERE muted_until IS NULL"))


async def test_a_failure_shows_its_jobs(monitor, down) -> None:
    async with monitor(screen="failures", size=(100, 40)) as driver:
        await driver.at("failures")
        await driver.press("enter")
        page = await driver.at("failure")
        states = {row.state for row in page.value.jobs}
        assert states in ({"failed", "dead"}, {"failed"})
        await driver.shows(f"example    {page.value.example}")
        await driver.press("e")
        page = await driver.at("jobs")
        await aeventually(lambda: len(page.grid.rows) == JOBS - 1)


async def test_without_rights_nothing_is_offered(monitor, down) -> None:
    async with monitor(screen="failures", read_only=True) as driver:
        page = await driver.at("failures")
        for action in page.ACTIONS:
            assert not page.check_action(action, ())


async def test_failures_without_a_group_are_listed_too(monitor, put, look) -> None:
    """Workers of awa 0.5 write rows alone."""
    job = put(kind="old", queue="mail", state="failed", attempt=1)
    look(
        "UPDATE awa.jobs_hot SET finalized_at = now(), errors = ARRAY[%s]::jsonb[]",
        '{"attempt": 1, "error": "disk 7 is full"}',
    )
    async with monitor(screen="failures", size=(100, 30)) as driver:
        page = await driver.at("failures")
        await driver.shows("disk <n> is full", "old")
        assert not page.check_action("retry", ())
        assert not page.check_action("mute", ())
        await driver.press("enter")
        page = await driver.at("job")

    assert job["id"] == page.visit.subject
