"""What the pages of workflows answer, asked without a browser."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass

import pytest
from fix_web import web_client

import awa_lib as awa
from awa_cli.access import Access, hash_token

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
    assert len(buttons) == 2
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
