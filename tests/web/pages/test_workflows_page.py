"""Workflows in a browser, while a worker works on them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fix_browser import check_access, working
from fix_wait import eventually
from playwright.sync_api import expect

import awa_lib as awa

NOWHERE = {"queue": "nowhere"}
"""Options of a task that no worker runs."""


@dataclass
class Step:
    name: str


class Line:
    """A worker: steps named ``bad`` fail until they are mended, and ``long`` wait for a word."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.loop: asyncio.AbstractEventLoop | None = None
        self.mended = False
        self.go_on = asyncio.Event()

    async def step(self, job) -> None:
        if job.args.name.startswith("bad") and not self.mended:
            raise awa.TerminalError(f"{job.args.name} has no paper")
        if job.args.name.startswith("long"):
            await self.go_on.wait()

    def register(self, client) -> None:
        client.task(Step, queue="line", max_attempts=1)(self.step)

    def say(self) -> None:
        self.loop.call_soon_threadsafe(self.go_on.set)


@pytest.fixture
def line(site) -> Iterator[Line]:
    found = Line(site.database_url)
    with working(site.database_url, found.register, ("line", 8)) as loop:
        found.loop = loop
        yield found
        found.say()


@pytest.fixture
def client(site) -> Iterator[awa.Client]:
    with awa.Client(site.database_url) as found:
        found.kind(Step, queue="line", max_attempts=1)
        yield found


def node(page, name: str):
    """The node of the graph with this name."""
    return page.locator("#graph .node", has=page.locator(f"text.name:text-is('{name}')"))


def dialog(page):
    return page.get_by_role("dialog")


def ended(client, flow) -> str:
    """Wait for the end of a workflow and return its state."""
    eventually(lambda: client.get_workflow(flow.id).state != "open")
    return client.get_workflow(flow.id).state


def test_everybody_can_use_it(client, visit) -> None:
    with client.workflow("import", key="today") as flow:
        parts = flow.add_many([Step("a"), Step("b")], name="parts", **NOWHERE)
        merge = flow.add(Step("c"), name="merge", after=parts, signal="approved", **NOWHERE)
        flow.add(Step("d"), name="alert", after=merge, when="any_failed", **NOWHERE)
    page = visit("/workflows")
    check_access(page)
    page.goto(f"/workflows/{flow.id}")
    expect(page.locator("#graph .node")).to_have_count(4)
    check_access(page)
    page.get_by_role("button", name="Send signal approved").click()
    expect(dialog(page)).to_be_visible()
    check_access(page)


def test_the_list_leads_to_one(client, visit) -> None:
    with client.workflow("rare", key="k 1") as flow:
        flow.add(Step("a"), **NOWHERE)
    page = visit("/workflows")
    page.get_by_label("Name").fill("rare")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/workflows?*name=rare*")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(".head code")).to_have_text("awa workflow list --name rare")

    page.get_by_role("link", name=f"rare, workflow {flow.id}").click()
    page.wait_for_url(f"**/workflows/{flow.id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("rare k 1")


def test_the_list_is_live(client, line, visit) -> None:
    page = visit("/workflows?name=lively")
    expect(page.locator(".empty")).to_be_visible()

    with client.workflow("lively") as flow:
        flow.add(Step("long"))
    expect(page.locator("tbody .badge")).to_have_text("open")
    line.say()

    expect(page.locator("tbody .badge")).to_have_text("succeeded")
    assert ended(client, flow) == "succeeded"


def test_it_is_followed_to_its_end(client, line, visit) -> None:
    with client.workflow("import") as flow:
        parts = flow.add_many([Step("long"), Step("long")], name="parts")
        merge = flow.add(Step("merge"), name="merge", after=parts)
        flow.add(Step("report"), name="report", after=merge)
    page = visit(f"/workflows/{flow.id}")
    page.evaluate("() => { window.stays = true; }")

    expect(node(page, "parts")).to_have_class("node s-started")
    expect(node(page, "merge")).to_have_attribute("aria-label", "merge: waiting, waits for parts")
    expect(page.locator("#graph .edge")).to_have_count(2)
    line.say()

    expect(page.locator("#graph .node.s-succeeded")).to_have_count(3)
    expect(page.locator(".job-head .badge")).to_have_text("succeeded")
    expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("value", "100")
    assert page.evaluate("() => window.stays")
    expect(page.get_by_role("button", name="Cancel workflow")).to_have_count(0)


def test_a_node_leads_to_its_job(client, line, visit) -> None:
    with client.workflow("import") as flow:
        task = flow.add(Step("fetch"), name="fetch")
    assert ended(client, flow) == "succeeded"
    page = visit(f"/workflows/{flow.id}")

    node(page, "fetch").click()
    page.wait_for_url(f"**/jobs/{task.job_id}")
    page.get_by_role("link", name=f"{flow.id} import").click()
    page.wait_for_url(f"**/workflows/{flow.id}")


def test_a_large_group_is_one_node(client, visit) -> None:
    with client.workflow("large") as flow:
        steps = (Step(f"{n}") for n in range(1000))
        parts = flow.add_many(steps, name="parts", **NOWHERE)
        flow.add(Step("merge"), name="merge", after=parts, **NOWHERE)
    page = visit(f"/workflows/{flow.id}")

    expect(page.locator("#graph .node")).to_have_count(2)
    expect(node(page, "parts").locator(".words")).to_have_text("0/1,000")
    table = page.get_by_role("region", name="List of tasks")
    expect(table.locator("tbody tr")).to_have_count(2)
    node(page, "parts").click()
    page.wait_for_url("**?group=parts#tasks")
    expect(table.locator("tbody tr").first).to_contain_text("parts[0]")
    page.get_by_role("link", name="More →").click()
    expect(table.locator("tbody tr").first).to_contain_text("parts[50]")
    page.get_by_role("link", name="First").click()
    expect(table.locator("tbody tr").first).to_contain_text("parts[0]")


def test_the_bound_of_the_graph_is_said(client, visit) -> None:
    with client.workflow("long") as flow:
        last = None
        for number in range(220):
            last = flow.add(Step("x"), name=f"t{number}", after=last, **NOWHERE)
    page = visit(f"/workflows/{flow.id}")

    expect(page.locator("#graph .node")).to_have_count(200)
    expect(page.locator("section", has=page.locator("#drawn"))).to_contain_text(
        "only the first 200 tasks, groups and signals"
    )


def test_what_failed_is_retried_with_all_behind_it(client, line, visit) -> None:
    with client.workflow("import") as flow:
        bad = flow.add(Step("bad"), name="bad")
        flow.add(Step("report"), name="report", after=bad)
        flow.add(Step("alert"), name="alert", after=bad, when="any_failed")
    assert ended(client, flow) == "failed"
    page = visit(f"/workflows/{flow.id}")
    expect(node(page, "bad")).to_have_class("node s-failed")
    expect(node(page, "report")).to_have_class("node s-skipped")
    expect(page.get_by_role("region", name="List of tasks")).to_contain_text("has no paper")
    line.mended = True

    page.get_by_role("button", name="that failed").click()
    choices = dialog(page).locator("label")
    expect(choices).to_have_text(
        ["1 task: bad", "2 tasks: the same, and behind them alert"], use_inner_text=True
    )
    check_access(page)
    choices.nth(1).click()
    dialog(page).get_by_role("button", name="Retry").click()

    expect(page.locator("#notice.shown")).to_contain_text(f"Retried 2 tasks of workflow {flow.id}")
    expect(page.locator(".job-head .badge")).to_have_text("succeeded")
    expect(node(page, "report")).to_have_class("node s-succeeded")
    expect(node(page, "alert")).to_have_class("node s-skipped")


def test_one_task_is_retried(client, line, visit) -> None:
    with client.workflow("import") as flow:
        first = flow.add(Step("first"), name="first")
        flow.add(Step("bad"), name="bad", after=first)
    assert ended(client, flow) == "failed"
    page = visit(f"/workflows/{flow.id}?state=failed")
    line.mended = True

    page.get_by_role("button", name="Retry bad").click()
    expect(dialog(page).get_by_role("heading")).to_have_text("Retry bad?")
    dialog(page).get_by_role("button", name="Retry").click()

    expect(page.locator(".job-head .badge")).to_have_text("succeeded")
    entry = page.request.get("/api/audit").json()[0]
    assert (entry["action"], entry["detail"]["names"]) == ("workflow.retry", ["bad"])


def test_it_is_cancelled_after_a_question(client, visit) -> None:
    with client.workflow("doomed", key="k") as flow:
        flow.add(Step("merge"), after=flow.add(Step("a"), **NOWHERE), **NOWHERE)
    page = visit(f"/workflows/{flow.id}")

    page.get_by_role("button", name="Cancel workflow").click()
    expect(dialog(page)).to_contain_text(f"Cancel workflow {flow.id} (doomed k, 2 open tasks)?")
    dialog(page).get_by_role("button", name="Close").click()
    assert client.get_workflow(flow.id).state == "open"
    page.get_by_role("button", name="Cancel workflow").click()
    dialog(page).get_by_role("button", name="Cancel workflow").click()

    expect(page.locator(".job-head .badge")).to_have_text("cancelled")
    assert ended(client, flow) == "cancelled"


def test_a_signal_is_sent_with_its_payload(client, line, visit) -> None:
    with client.workflow("asks") as flow:
        flow.add(Step("go"), name="go", signal="approved")
    page = visit(f"/workflows/{flow.id}")
    expect(node(page, "approved").locator(".words")).to_have_text("not sent")

    page.get_by_role("button", name="Send signal approved").click()
    dialog(page).get_by_label("Payload").fill("{by: ann}")
    dialog(page).get_by_role("button", name="Send").click()
    expect(dialog(page).locator(".error")).to_contain_text("the payload is not JSON")
    dialog(page).get_by_label("Payload").fill('{"by": "ann"}')
    dialog(page).get_by_role("button", name="Send").click()

    expect(page.locator("#notice.shown")).to_contain_text("Sent signal 'approved'")
    expect(node(page, "approved").locator(".words")).to_have_text("sent")
    assert ended(client, flow) == "succeeded"


@pytest.mark.parametrize(("name", "begin"), [("Mermaid", "flowchart TD"), ("DOT", "digraph")])
def test_the_graph_is_there_for_other_programs(client, visit, name, begin) -> None:
    with client.workflow("text") as flow:
        flow.add(Step("b"), name="b", after=flow.add(Step("a"), name="a", **NOWHERE), **NOWHERE)
    page = visit(f"/workflows/{flow.id}")

    page.get_by_text(f"As {name}").click()
    expect(page.locator("details[open] pre")).to_contain_text(begin)
    with page.expect_download() as download:
        page.locator("details[open]").get_by_role("link", name="Download").click()
    assert download.value.path().read_text().startswith(begin)


def test_it_can_be_read_without_scripts(client, visit) -> None:
    with client.workflow("plain") as flow:
        parts = flow.add_many([Step("a"), Step("b")], name="parts", **NOWHERE)
        flow.add(Step("merge"), name="merge", after=parts, **NOWHERE)
    page = visit("/workflows?name=plain", java_script_enabled=False)
    page.get_by_role("link", name=f"plain, workflow {flow.id}").click()

    layers = page.locator(".layers > li")
    expect(layers).to_have_count(2)
    expect(layers.nth(0)).to_contain_text("parts")
    expect(layers.nth(1)).to_contain_text("waits for parts")
    expect(page.locator("#graph")).to_be_hidden()
    expect(page.get_by_role("button", name="Cancel workflow")).to_have_count(0)
    layers.nth(0).get_by_role("link", name="parts").click()
    expect(page.get_by_role("region", name="List of tasks")).to_contain_text("parts[1]")


def test_a_graph_that_grows_is_drawn_again(client, visit) -> None:
    with client.workflow("grows") as flow:
        flow.add(Step("a"), name="a", **NOWHERE)
    page = visit(f"/workflows/{flow.id}")
    expect(page.locator("#graph .node")).to_have_count(1)

    with client.extend_workflow(flow.id) as more:
        more.add(Step("b"), name="b", after="a", **NOWHERE)

    expect(page.locator("#graph .node")).to_have_count(2)
    expect(page.locator("#graph .edge")).to_have_count(1)


def test_a_tick_without_a_change_sends_nothing(client, visit) -> None:
    with client.workflow("still") as flow:
        parts = flow.add_many([Step("a"), Step("b")], name="parts", **NOWHERE)
        flow.add(Step("merge"), name="merge", after=parts, signal="go", **NOWHERE)
    page = visit(f"/workflows/{flow.id}")
    statuses: list[int] = []
    page.on(
        "response",
        lambda one: statuses.append(one.status) if "hx-request" in one.request.headers else None,
    )
    page.evaluate("() => { document.querySelector('#tasks').stays = true; }")

    def ticked() -> bool:
        page.wait_for_timeout(100)
        return statuses.count(304) > 2

    eventually(ticked)
    assert set(statuses[1:]) == {304}
    assert page.evaluate("() => document.querySelector('#tasks').stays")

    client.signal(flow.id, "go")
    expect(node(page, "go").locator(".words")).to_have_text("sent")


def test_a_signal_can_be_named(client, line, visit) -> None:
    with client.workflow("asks") as flow:
        flow.add(Step("go"), name="go", signal="later")
    page = visit(f"/workflows/{flow.id}")

    page.get_by_role("button", name="Send signal by name").click()
    expect(dialog(page).get_by_label("Name")).to_be_focused()
    check_access(page)
    dialog(page).get_by_label("Name").fill("later")
    dialog(page).get_by_role("button", name="Send").click()

    expect(page.locator("#notice.shown")).to_contain_text("Sent signal 'later'")
    assert ended(client, flow) == "succeeded"


def test_a_task_with_an_odd_name_is_retried(client, line, visit) -> None:
    name = "bad </script>\r\n'\"\u05d0 \U0001f600" + "n" * 170
    with client.workflow("odd", key="k" * 200) as flow:
        flow.add(Step("bad"), name=name)
    assert ended(client, flow) == "failed"
    page = visit(f"/workflows/{flow.id}")
    expect(page.locator("#graph .node")).to_have_count(1)
    check_access(page)
    line.mended = True

    page.get_by_role("button", name="Retry bad").click()
    dialog(page).get_by_role("button", name="Retry").click()

    expect(page.locator(".job-head .badge")).to_have_text("succeeded")


def test_the_keyboard_passes_the_graph(client, visit) -> None:
    with client.workflow("keys") as flow:
        for number in range(3):
            flow.add(Step("a"), name=f"t{number}", **NOWHERE)
    page = visit(f"/workflows/{flow.id}")
    expect(page.locator("#graph .node")).to_have_count(3)

    skip = page.get_by_role("link", name="Skip the graph")
    skip.focus()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    assert page.evaluate("() => !document.activeElement.closest('#graph')")


@pytest.mark.parametrize("what", ["Cancel workflow", "Retry first", "graph"])
def test_the_focus_stays_while_the_page_changes(client, line, visit, what) -> None:
    with client.workflow("focus") as flow:
        first = flow.add(Step("first"), name="first")
        flow.add(Step("second"), name="second", after=first, signal="go", **NOWHERE)
    eventually(lambda: client.get_workflow(flow.id).succeeded == 1)
    page = visit(f"/workflows/{flow.id}")
    expect(node(page, "first")).to_have_class("node s-succeeded")
    one = node(page, "first") if what == "graph" else page.get_by_role("button", name=what)
    one.focus()
    expect(one).to_be_focused()

    client.signal(flow.id, "go")

    expect(node(page, "go").locator(".words")).to_have_text("sent")
    expect(page.locator(".job-head .badge")).to_be_visible()
    expect(one).to_be_focused()
