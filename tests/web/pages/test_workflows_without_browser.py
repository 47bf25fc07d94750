"""What the pages of workflows answer, asked without a browser."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass

import psycopg
import pytest
from fix_web import web_client

import awa_lib as awa
from awa_cli.access import Access, hash_token
from awa_cli.terminal.pages.workflow import workflow_page
from awa_cli.views.workflow_tree import commands_of
from awa_lib.reads.workflow_tasks import workflow_details

PAGE = {"Accept": "text/html"}


@dataclass
class Step:
    name: str


@pytest.fixture
def flow(database_url: str) -> awa.Workflow:
    with awa.Client(database_url) as client, client.workflow("import", key="<k>") as flow:
        parts = flow.add_many([Step("a"), Step("b")], name="parts")
        flow.add(Step("merge"), name="<merge>", after=parts, signal="go")
    return flow


END = """
UPDATE awa.jobs_hot AS j SET state = %(state)s::awa.job_state, attempt = 1,
    attempted_at = now() - interval '3 seconds', finalized_at = now(),
    errors = CASE %(state)s WHEN 'failed' THEN ARRAY['{"error": "no paper", "attempt": 1}'::jsonb] END
FROM awa.workflow_nodes AS n
WHERE n.workflow_id = %(flow)s AND n.job_id = j.id AND n.name = %(name)s
"""
NOTE = """
INSERT INTO awa.workflow_events (workflow_id, job_ids)
SELECT workflow_id, ARRAY[job_id] FROM awa.workflow_nodes
WHERE workflow_id = %(flow)s AND name = %(name)s
"""


def end(url: str, flow: awa.Workflow, **states: str) -> None:
    """End the jobs of tasks as a worker does."""
    with psycopg.connect(url, autocommit=True) as conn:
        for name, state in states.items():
            for text in (END, NOTE):
                conn.execute(text, {"flow": flow.id, "name": name, "state": state})
        conn.execute("SELECT awa.resolve_workflow(%s)", [flow.id])


def details_of(url: str, flow: awa.Workflow):
    with awa.Client(url) as client:
        return client._run(workflow_details(flow.id))


def row_of(page, name: str) -> str:
    """The text of the row of a task in the table."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.text, re.DOTALL)
    found = next(
        row for row in rows if re.search(rf'"name"[^>]*>(<a [^>]*>)?{re.escape(name)}<', row)
    )
    return html.unescape(re.sub(r"<[^>]+>", " ", found))


async def token(api) -> dict[str, str]:
    await api.get("/workflows")
    csrf = api.cookies["awa_csrf"]
    return {"Origin": "http://127.0.0.1:3000", "X-CSRF-Token": csrf}


def graph_of(page) -> dict:
    return json.loads(html.unescape(re.search(r'data-graph="([^"]*)"', page.text)[1]))


def ids(page) -> list[int]:
    return [int(one) for one in re.findall(r'data-key="(\d+)"', page.text)]


async def test_lists_go_on_where_the_last_ended(api, database_url) -> None:
    with awa.Client(database_url) as client:
        for number in range(52):
            with client.workflow("many" if number else "rare", key=f"{number}") as flow:
                flow.add(Step("a"))
    first = await api.get("/workflows")
    older = html.unescape(re.search(r'rel="next" href="([^"]+)"', first.text)[1])
    second = await api.get(older)
    rare = await api.get("/workflows", params={"name": "rare", "state": "open", "key": "0"})

    assert (len(ids(first)), len(ids(second)), len(ids(rare))) == (50, 2, 1)
    assert min(ids(first)) > max(ids(second))
    assert "awa workflow list --name rare --state open --key 0" in rare.text


@pytest.mark.parametrize(
    "address",
    ["/workflows?state=started", "/workflows?kind=x", "/workflows?before_id=x",
     "{one}?state=open", "{one}?group=nope", "{one}?after=-1", "{one}/graph?as=svg",
     "{one}/graph"],
)  # fmt: skip
async def test_what_cannot_be_read_is_said(api, flow, address) -> None:
    page = await api.get(address.format(one=f"/workflows/{flow.id}"), headers=PAGE)

    assert page.status_code == 422
    assert "<html" in page.text


@pytest.mark.parametrize("number", ["0", "77", "9223372036854775808"])
async def test_a_workflow_that_is_not_there(api, number) -> None:
    for path in ("", "/graph?as=dot", "/retry"):
        page = await api.get(f"/workflows/{number}{path}", headers=PAGE)

        assert page.status_code == 404
        assert f"workflow not found: {number}" in page.text
        assert 'href="/workflows"' in page.text


async def test_names_are_text(api, flow) -> None:
    page = await api.get(f"/workflows/{flow.id}")

    assert "<merge>" not in page.text
    assert "<k>" not in page.text
    names = [one["name"] for one in graph_of(page)["nodes"]]
    assert names == ["parts", "<merge>", "go"]


async def test_the_graph_says_what_each_task_waits_for(api, flow) -> None:
    graph = graph_of(await api.get(f"/workflows/{flow.id}"))

    assert graph["edges"] == [[1, 4], [5, 4]]
    parts, merge, signal = graph["nodes"]
    assert (parts["words"], parts["to"]) == ("0/2", f"/workflows/{flow.id}?group=parts#tasks")
    assert merge["more"] == "waits for parts and for signal go"
    assert (merge["to"], signal["words"]) == (None, "not sent")


async def test_a_dense_graph_is_cut_where_it_has_too_many_edges(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("dense") as flow:
        layer = [flow.add(Step("a"), name=f"a{n}") for n in range(20)]
        for n in range(20):
            flow.add(Step("b"), name=f"b{n}", after=layer)

    page = await api.get(f"/workflows/{flow.id}")

    graph = graph_of(page)
    assert (len(graph["nodes"]), len(graph["edges"])) == (35, 300)
    assert "The graph has only the first 35 tasks, groups and signals" in page.text


async def test_what_is_behind_a_prefix_stays_there(database_url, flow) -> None:
    async with web_client(database_url, path_prefix="/awa") as client:
        page = await client.get(f"/awa/workflows/{flow.id}")

    urls = re.findall(r'\s(?:href|src|hx-get|hx-post|sse-connect|data-icons)="([^"]+)"', page.text)
    outside = [one for one in urls if not one.startswith(("/awa/", "#"))]
    assert outside == []
    assert 'data-root="/awa"' in page.text


async def test_a_part_is_answered_to_an_update(api, flow) -> None:
    page = await api.get(f"/workflows/{flow.id}", headers={"HX-Request": "true"})

    assert "<html" not in page.text
    assert graph_of(page)["nodes"]


READER = {"access": Access(tokens={hash_token("t"): ("reader", "read")})}


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [(READER, {"Authorization": "Bearer t"}, 403), ({"read_only": True}, {}, 503)],
    ids=["reader", "read-only"],
)
async def test_who_may_only_read_is_offered_no_change(
    database_url, flow, settings, headers, status
) -> None:
    async with web_client(database_url, **settings) as client:
        client.headers.update(headers)
        page = await client.get(f"/workflows/{flow.id}")
        asked = await client.get(f"/workflows/{flow.id}/retry")
        csrf = await token(client) if not headers else {}
        answers = [
            await client.post(f"/workflows/{flow.id}/{verb}", headers=csrf)
            for verb in ("cancel", "retry", "signal")
        ]

    buttons = re.findall(r"<button[^>]*hx-(?:post|get)[^>]*>", page.text)
    assert len(buttons) == 3
    assert all(" disabled" in one for one in buttons)
    assert [asked.status_code, *(one.status_code for one in answers)] == [status] * 4


async def test_nothing_changes_without_the_token(api, flow) -> None:
    for verb in ("cancel", "retry", "signal"):
        answer = await api.post(
            f"/workflows/{flow.id}/{verb}", headers={"Origin": "http://127.0.0.1:3000"}
        )
        assert answer.status_code == 403


async def test_a_preview_changes_nothing(api, flow) -> None:
    headers = await token(api)
    nothing = await api.get(f"/workflows/{flow.id}/retry")
    assert "nothing to retry" in nothing.text
    assert (await api.post(f"/workflows/{flow.id}/cancel", headers=headers)).status_code == 204

    asked = await api.get(f"/workflows/{flow.id}/retry")

    assert "3 tasks" in asked.text
    assert "parts[0], parts[1] and &lt;merge&gt;" in asked.text
    found = (await api.get(f"/api/workflows/{flow.id}")).json()["workflow"]
    assert (found["state"], found["cancelled"]) == ("cancelled", 3)
    refused = await api.post(f"/workflows/{flow.id}/retry", headers=headers, data={"task": "nope"})
    assert (refused.status_code, refused.json()["error"]) == (
        422, f"workflow {flow.id} has no task 'nope'"
    )  # fmt: skip


async def test_a_signal_is_sent_once(api, flow) -> None:
    headers = await token(api)
    said = []
    for _ in range(2):
        answer = await api.post(
            f"/workflows/{flow.id}/signal", headers=headers, data={"name": "go"}
        )
        said.append(json.loads(answer.headers["hx-trigger"])["notice"]["text"])

    assert said == [
        f"Sent signal 'go' to workflow {flow.id}",
        f"Not sent again: signal 'go' to workflow {flow.id}",
    ]


async def test_the_page_of_a_job_leads_to_its_workflow(api, flow) -> None:
    (first, _) = (await api.get(f"/api/workflows/{flow.id}/tasks?group=parts")).json()

    page = await api.get(f"/jobs/{first['job_id']}")

    assert f'<a href="/workflows/{flow.id}">{flow.id} import</a>, task parts[0]' in page.text
    waiting = (await api.get(f"/api/workflows/{flow.id}/tasks")).json()[1]["job_id"]
    missing = await api.get(f"/jobs/{waiting}", headers=PAGE)
    assert missing.status_code == 404
    assert f'href="/workflows/{flow.id}"' in missing.text


async def test_the_graph_is_there_as_a_file(api, flow) -> None:
    answer = await api.get(f"/workflows/{flow.id}/graph?as=mermaid&raw")

    assert answer.text.startswith("flowchart TD\n")
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="workflow-{flow.id}.mmd"'
    )
    assert answer.headers["content-type"].startswith("text/plain")


async def test_what_was_skipped_says_why_in_the_words_of_the_command(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("skips") as flow:
        bad = flow.add(Step("bad"), name="bad")
        flow.add(Step("report"), name="report", after=bad)
        flow.add_many([Step("a"), Step("b")], name="parts", after="report")
        flow.add(
            Step("alert"), name="alert", after=flow.add(Step("x"), name="x"), when="any_failed"
        )
    end(database_url, flow, bad="failed", x="completed")

    page = await api.get(f"/workflows/{flow.id}")
    members = await api.get(f"/workflows/{flow.id}?group=parts")

    more = {one["name"]: one["more"] for one in graph_of(page)["nodes"]}
    assert more == {
        "bad": "no paper", "report": "because bad failed", "parts": "because report was skipped",
        "x": "", "alert": "because nothing failed, when any_failed",
    }  # fmt: skip
    assert "because bad failed" in row_of(page, "report")
    assert "0/2 · 2 skipped, because report was skipped" not in row_of(page, "parts")
    assert "2/2 · 2 skipped, because report was skipped" in row_of(page, "parts")
    assert "because report was skipped" in row_of(members, "parts[1]")
    said = workflow_page(details_of(database_url, flow), color=False)
    for words in more.values():
        assert all(part in said for part in words.split(", "))


async def test_the_commands_are_those_of_the_command(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("import") as flow:
        flow.add(Step("bad"), name="bad")
        flow.add(Step("merge"), name="merge", signal="-go")
    end(database_url, flow, bad="failed")
    details = details_of(database_url, flow)

    page = await api.get(f"/workflows/{flow.id}")

    shown = page.text.partition('id="commands"')[2]
    commands = [html.unescape(one) for one in re.findall(r"<code>(.*?)</code>", shown)]
    assert commands == [f"awa workflow show {flow.id} --watch", *commands_of(details)]
    assert commands[1:] == [
        f"awa job show {details.failed[0].job_id}", f"awa workflow retry {flow.id}",
        f"awa workflow signal {flow.id} -- -go", f"awa workflow cancel {flow.id}",
    ]  # fmt: skip


async def test_failed_members_of_groups_are_named_with_their_errors(
    api, database_url, flow
) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        (job,) = conn.execute(
            "SELECT job_id FROM awa.workflow_nodes WHERE group_number = 1 ORDER BY number LIMIT 1"
        ).fetchone()
        conn.execute(
            "UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now(),"
            """ errors = ARRAY['{"error": "<disk> full\\nat y"}'::jsonb] WHERE id = %s""",
            [job],
        )
        conn.execute(
            "INSERT INTO awa.workflow_events (workflow_id, job_ids) VALUES (%s, %s)",
            [flow.id, [job]],
        )
        conn.execute("SELECT awa.resolve_workflow(%s)", [flow.id])

    page = await api.get(f"/workflows/{flow.id}")

    failed = page.text.partition('id="failed"')[2].partition("</section>")[0]
    assert f'<a href="/jobs/{job}"><bdi>parts[0]</bdi></a>' in failed
    assert '<span class="c-red">&lt;disk&gt; full</span>' in failed


async def test_how_long_a_task_takes_goes_on_in_the_browser(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("times") as flow:
        flow.add(Step("fetch"), name="fetch")
        flow.add(Step("merge"), name="merge")
        flow.add(Step("later"), name="later", not_before="2099-01-01T10:30:00Z")
    end(database_url, flow, fetch="completed", merge="running")

    page = await api.get(f"/workflows/{flow.id}")

    cells = r'data-column="name">(?:<a[^>]*>)?(\w+)<.*?data-column="took">(.*?)</td>'
    took = dict(re.findall(cells, page.text, re.DOTALL))
    assert took["fetch"] == "3s"
    assert " data-span>" in took["merge"]
    # Who reads may be in another zone than the server.
    assert "waits until 2099-01-01 10:30 UTC, in " in row_of(page, "later")


async def test_signals_of_a_large_workflow_can_be_sent(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("large") as flow:
        for number in range(210):
            flow.add(Step("x"), name=f"t{number}", signal="<go>" if number == 209 else None)

    page = await api.get(f"/workflows/{flow.id}")
    last = await api.get(f"/workflows/{flow.id}?after=200")
    asked = await api.get(f"/workflows/{flow.id}/signal")
    sent = await api.post(
        f"/workflows/{flow.id}/signal", headers=await token(api), data={"name": "<go>"}
    )

    assert 'aria-label="Send signal by name"' in page.text
    assert "not sent" in row_of(last, "&lt;go&gt;")
    assert 'aria-label="Send signal &lt;go&gt;"' in last.text
    assert '<option value="&lt;go&gt;">' in asked.text
    assert f"Send a signal to workflow {flow.id}?" in asked.text
    assert sent.status_code == 204


async def test_an_update_of_what_is_shown_is_empty(api, flow, database_url) -> None:
    update = {"HX-Request": "true"}
    first = await api.get(f"/workflows/{flow.id}", headers=update)
    update["If-None-Match"] = first.headers["etag"]
    again = await api.get(f"/workflows/{flow.id}", headers=update)
    with awa.Client(database_url) as client:
        client.signal(flow.id, "go")
    changed = await api.get(f"/workflows/{flow.id}", headers=update)

    assert (again.status_code, again.text) == (304, "")
    assert "badges" in json.loads(again.headers["hx-trigger"])
    assert changed.status_code == 200
    assert "Send signal go" not in changed.text


ODD = "</script>\r\n'\"&{}\u202e\u05d0 \U0001f600" + "n" * 180


async def test_an_odd_name_is_shown_safely_and_is_still_the_name(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow(ODD, key=ODD) as flow:
        flow.add(Step("x"), name=ODD, signal=f"{ODD[:-1]}!")
        flow.add_many([Step("x")], name="n" * 200)
    headers = await token(api)
    await api.post(f"/workflows/{flow.id}/cancel", headers=headers)

    page = await api.get(f"/workflows/{flow.id}")
    listed = await api.get("/workflows")
    asked = await api.get(f"/workflows/{flow.id}/retry", params={"task": ODD})

    for one in (page, listed, asked):
        assert "</script>\r" not in one.text
        assert "\u202e" not in one.text
    values = json.loads(html.unescape(re.search(r'hx-vals="([^"]*)"', asked.text)[1]))
    assert values == {"task": ODD}
    done = await api.post(f"/workflows/{flow.id}/retry", headers=headers, data=values)
    assert done.status_code == 204
    crumb = html.unescape(re.search(r'href="(/workflows\?name=[^"]*)"', page.text)[1])
    assert ids(await api.get(crumb)) == [flow.id]


async def test_what_is_being_cancelled_says_so(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("cleans") as flow:
        flow.add(Step("clean"), name="clean", after=flow.add(Step("x")), when="always")
        flow.add_many([], name="none")
    headers = await token(api)
    await api.post(f"/workflows/{flow.id}/cancel", headers=headers)

    page = await api.get(f"/workflows/{flow.id}")

    assert "being cancelled" in page.text
    assert f"/workflows/{flow.id}/cancel" not in page.text
    assert f"awa workflow cancel {flow.id}" not in page.text
    none = graph_of(page)["nodes"][-1]
    assert (none["words"], none["done"], none["state"]) == ("0/0", 1.0, "succeeded")


async def test_a_retry_is_offered_where_there_is_something_to_retry(api, database_url) -> None:
    with awa.Client(database_url) as client, client.workflow("offers") as flow:
        flow.add(Step("a"), name="a")
        flow.add(Step("b"), name="b", after="a")
        flow.add_many([], name="none")
    end(database_url, flow, a="completed")

    page = await api.get(f"/workflows/{flow.id}")

    assert re.findall(r'aria-label="Retry (\w+)"', page.text) == ["a"]
