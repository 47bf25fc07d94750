"""Workers, schedules and the activity in a browser, while a worker works."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import psycopg
import pytest
from fix_browser import check_access, working
from fix_wait import eventually
from playwright.sync_api import expect

import awa_lib as awa

SILENT = """
INSERT INTO awa.runtime_instances (instance_id, hostname, pid, version, started_at, last_seen_at,
    snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive, heartbeat_alive,
    maintenance_alive, shutting_down, leader, queues)
SELECT gen_random_uuid(), host, 4242, '0.0.9', now() - interval '5 h',
    now() - interval '1 min', 10000, true, true, true, true, true, stopping, false, '[]'
FROM (VALUES ('old-host', false), ('clean-host', true)) AS of (host, stopping)
"""
CRON_JOBS = """SELECT FROM awa.jobs WHERE metadata @> '{"cron_name": "leap"}'"""


@dataclass
class Ring:
    """A bell rings, or cracks."""

    cracks: bool = False


class Tower:
    """A tower with bells: its worker, which declares when they ring."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.loop: asyncio.AbstractEventLoop | None = None

    async def ring(self, job) -> None:
        if job.args.cracks:
            raise ValueError("<b>cracked</b>")

    def register(self, client) -> None:
        client.task(Ring, queue="bells")(self.ring)
        client.periodic(
            "matins", "0 2 * * mon-fri", Ring, Ring(), queue="bells", timezone="America/New_York"
        )
        client.periodic("leap", "0 0 29 2 *", Ring, Ring(), queue="bells")

    def put(self, cracks: bool = False, **options) -> int:
        async def insert() -> int:
            async with awa.AsyncClient(self.database_url) as client:
                return (await client.insert(Ring(cracks), queue="bells", **options)).id

        return asyncio.run_coroutine_threadsafe(insert(), self.loop).result(10)

    def ask(self, text: str, *values) -> list[tuple]:
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            return conn.execute(text, values).fetchall()


@pytest.fixture(scope="module")
def tower(site):
    found = Tower(site.database_url)
    with psycopg.connect(site.database_url, autocommit=True) as conn:
        conn.execute(SILENT)
    with working(site.database_url, found.register, ("bells", 4)) as loop:
        found.loop = loop
        eventually(lambda: len(found.ask("SELECT FROM awa.cron_jobs")) == 2)
        yield found


def of(page, job_id: int):
    """Return the rows of one job."""
    return page.locator(f"#activity tr[data-id='{job_id}']")


def change(page, verb: str) -> None:
    page.get_by_role("group", name="Change this schedule").get_by_role("button", name=verb).click()
    page.get_by_role("dialog").get_by_role("button", name=verb).click()


def change_of(page, name: str, verb: str, question: str) -> None:
    page.get_by_role("button", name=f"{verb} {name}").click()
    expect(page.get_by_role("dialog")).to_contain_text(question)
    page.get_by_role("dialog").get_by_role("button", name=verb).click()


def test_the_fleet(tower, visit) -> None:
    page = visit("/workers")
    rows = page.get_by_role("region", name="Workers").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("silent")
    live = rows.filter(has_text="healthy")
    expect(live.locator("[data-column=leader]")).to_have_text("yes", timeout=15_000)
    expect(page.locator(".words")).to_contain_text("1 worker · 0 in flight · leader ")
    check_access(page)

    expect(page.get_by_text("clean-host")).to_have_count(0)
    expect(page.locator(".cli code")).to_have_text("awa workers")
    page.get_by_role("link", name="Show 1 that stopped").click()
    expect(rows.last).to_contain_text("clean-host")
    expect(rows.last).to_contain_text("stopped")
    rows.first.get_by_role("link").first.click()
    expect(page.locator(".subject span.c-red").last).to_contain_text("killed, hung or cut off")
    page.go_back()
    live.get_by_role("link").first.click()
    expect(page.locator(".loops li")).to_have_count(4)
    expect(page.locator(".loops .c-green")).to_have_count(4)
    expect(page.locator(".subject")).to_contain_text("leader")
    check_access(page)
    page.get_by_role("link", name="bells").click()
    page.wait_for_url("**/queues/bells")


def test_schedules_are_said_in_words(tower, visit) -> None:
    page = visit("/cron")

    row = page.locator("tr", has_text="matins")
    expect(row).to_contain_text("Monday to Friday at 02:00")
    expect(row.locator("[data-column=next]")).to_contain_text("in ")
    expect(page.locator(".words")).to_contain_text("2 schedules · next matins in ")
    check_access(page)
    change_of(page, "leap", "Pause", "Pause schedule leap?")
    change_of(page, "leap", "Resume", "Resume schedule leap?")
    page.get_by_role("button", name="Pause leap").wait_for()
    page.get_by_role("button", name="Trigger leap").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert not tower.ask(CRON_JOBS)
    change_of(page, "leap", "Trigger", "Enqueue the job of schedule leap now?")
    eventually(lambda: tower.ask(CRON_JOBS))


def test_a_schedule_is_triggered_paused_and_removed(tower, visit) -> None:
    page = visit("/cron/matins")
    fires = page.locator(".fires tbody tr")
    expect(fires).to_have_count(10)
    # The schedule's clock, and that of who looks.
    expect(fires.first).to_contain_text(re.compile(r"02:00:00 E[SD]T.*0[78]:00:00 (CE|GMT)"))
    expect(fires.first.locator(".num")).to_contain_text("in ")
    jobs = page.get_by_role("region", name="Jobs of this schedule")
    expect(
        page.get_by_text("This schedule has no jobs, or they are no longer kept.")
    ).to_be_visible()
    check_access(page)

    change(page, "Trigger")
    expect(page.locator("#notice")).to_have_text("Triggered schedule 'matins'")
    expect(jobs.locator("tbody tr")).to_have_count(1)
    eventually(lambda: page.reload() and jobs.get_by_text("completed").is_visible())
    change(page, "Pause")
    expect(page.locator(".subject")).to_contain_text("paused")
    expect(page.get_by_text("It does not fire while it is paused.")).to_be_visible()
    change(page, "Resume")
    expect(page.locator(".subject .badge")).to_contain_text("on")
    change_of(page, "matins", "Remove", "Remove schedule matins?")

    page.wait_for_url("**/cron")
    expect(page.locator("tr", has_text="leap")).to_be_visible()
    assert page.locator("tr", has_text="matins").count() == 0
    done = tower.ask("SELECT action FROM awa.audit_log WHERE target = 'matins' ORDER BY id")
    assert [one for (one,) in done] == ["cron.trigger", "cron.pause", "cron.resume", "cron.remove"]


def test_a_fire_in_another_year_says_which(tower, visit) -> None:
    page = visit("/cron/leap", java_script_enabled=False)

    expect(page.locator(".fires tbody tr").first).to_contain_text(
        re.compile(r"29 Feb 20\d\d, 00:00:00 UTC\s*20\d\d-02-29 00:00:00 UTC")
    )


def test_activity_is_followed(tower, visit) -> None:
    before = tower.put()
    page = visit("/activity")
    expect(of(page, before).filter(has_text="completed")).to_have_count(1)

    job_id = tower.put(cracks=True, max_attempts=1)

    mine = of(page, job_id)
    expect(mine).to_have_count(3)
    expect(mine.first).to_contain_text("failed")
    expect(mine.first).to_contain_text("ValueError: <b>cracked</b>")
    expect(mine.last).to_contain_text("created")
    expect(mine.first.locator("time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))
    expect(mine.first.get_by_role("link").first).to_have_attribute("href", f"/jobs/{job_id}")
    check_access(page)


def test_a_held_list_counts_what_is_new(tower, visit) -> None:
    page = visit("/activity")
    expect(page.locator("#rate")).to_contain_text("/s")
    page.get_by_role("button", name="Hold").click()

    job_id = tower.put()

    expect(page.locator("#rate")).to_contain_text("held, 3 new")
    expect(of(page, job_id)).to_have_count(0)
    page.get_by_role("button", name="Follow").click()
    expect(of(page, job_id)).to_have_count(3)
    expect(page.locator("#rate")).not_to_contain_text("held")


def test_activity_is_filtered(tower, visit) -> None:
    page = visit("/activity")
    page.get_by_label("Event").select_option("failed")
    page.wait_for_url(re.compile("event=failed"))
    page.get_by_label("Queue").fill("bells")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(re.compile("queue=bells"))
    expect(page.locator(".cli code")).to_have_text("awa job tail -f --event failed --queue bells")
    expect(page.locator("#rate")).to_contain_text("/s")

    tower.put()
    job_id = tower.put(cracks=True, max_attempts=1)

    expect(of(page, job_id)).to_have_count(1)
    events = page.locator("#activity tbody .badge").all_inner_texts()
    assert {event.split()[-1] for event in events} == {"failed"}
    page.get_by_role("link", name="Clear").click()
    page.wait_for_url("**/activity")


def test_activity_reads_well_without_scripts(tower, visit) -> None:
    job_id = tower.put()
    eventually(
        lambda: tower.ask("SELECT FROM awa.jobs WHERE id = %s AND state = 'completed'", job_id)
    )
    page = visit("/activity?kind=ring", java_script_enabled=False)

    expect(of(page, job_id)).to_have_count(3)
    assert page.get_by_role("button").all_inner_texts() == ["Filter"]
    workers = visit("/workers", java_script_enabled=False).locator("tbody tr")
    expect(workers.filter(has_text="healthy")).to_have_count(1)
