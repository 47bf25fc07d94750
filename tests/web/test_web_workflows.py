"""Workflows over the API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

import awa_lib as awa


@dataclass
class Step:
    name: str


@pytest.fixture
def flow(database_url: str) -> awa.Workflow:
    with awa.Client(database_url) as client, client.workflow("import", key="today") as flow:
        parts = flow.add_many([Step("a"), Step("b")], name="parts")
        flow.add(Step("merge"), name="merge", after=parts, signal="go")
    return flow


async def test_the_api_lists_and_shows(api: httpx.AsyncClient, flow: awa.Workflow) -> None:
    (found,) = (await api.get("/api/workflows", params={"state": "open", "name": "import"})).json()
    assert (found["id"], found["key"], found["tasks"]) == (flow.id, "today", 3)
    assert (await api.get("/api/workflows", params={"before_id": flow.id})).json() == []

    details = (await api.get(f"/api/workflows/{flow.id}")).json()
    assert [one["name"] for one in details["tasks"]] == ["parts", "merge", "go"]
    assert details["edges"] == [{"parent": 1, "child": 4}, {"parent": 5, "child": 4}]
    assert details["workflow"]["id"] == flow.id
    assert details["tasks"][1]["waits"][1] == {
        "reason": "signal", "name": "go", "state": None, "until": None
    }  # fmt: skip
    cut = (await api.get(f"/api/workflows/{flow.id}", params={"limit": 1})).json()
    assert (len(cut["tasks"]), cut["more"]) == (1, True)

    where: dict[str, Any] = {"group": "parts", "after": 2}
    (member,) = (await api.get(f"/api/workflows/{flow.id}/tasks", params=where)).json()
    assert (member["name"], member["job_state"]) == ("parts[1]", "available")


def next_of(answer: httpx.Response) -> str:
    return answer.headers["link"].partition(">")[0].removeprefix("<")


async def test_the_api_lists_edges_in_pages(api: httpx.AsyncClient, flow: awa.Workflow) -> None:
    at = f"/api/workflows/{flow.id}"
    first = await api.get(f"{at}/edges", params={"limit": 1})
    second = await api.get(next_of(first))
    third = await api.get(next_of(second))

    assert [one.json() for one in (first, second, third)] == [
        [{"parent": 1, "child": 4}],
        [{"parent": 5, "child": 4}],
        [],
    ]
    assert "link" not in third.headers
    tasks = await api.get(f"{at}/tasks", params={"limit": 1})
    assert [one["name"] for one in (await api.get(next_of(tasks))).json()] == ["merge"]


async def test_events_follow_workflows(server: Any, flow: awa.Workflow) -> None:
    topics = {"topic": ["workflows", f"workflow:{flow.id}", "workflow:77"]}
    seen: dict[str, Any] = {}
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{server().url}/api/events", params=topics) as stream,
    ):
        name = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                seen[name] = json.loads(line.removeprefix("data: "))
            if seen.keys() >= {"workflows", "workflow", "gone"}:
                break

    assert [one["id"] for one in seen["workflows"]] == [flow.id]
    assert (seen["workflow"]["id"], seen["workflow"]["waiting"]) == (flow.id, 1)
    assert seen["gone"] == {"topic": "workflow:77"}


async def test_the_api_changes_workflows(api: httpx.AsyncClient, flow: awa.Workflow) -> None:
    at = f"/api/workflows/{flow.id}"
    assert (await api.post(f"{at}/signal", json={"name": "go", "payload": [1]})).json() == {
        "sent": True
    }
    assert (await api.post(f"{at}/signal", json={"name": "go"})).json() == {"sent": False}
    assert (await api.post(f"{at}/retry", json={})).status_code == 409
    assert (await api.post(f"{at}/cancel")).json() == {"jobs": 2}
    again = await api.post(f"{at}/cancel")
    assert (again.status_code, again.json()["error"]) == (409, f"workflow {flow.id} was cancelled")
    retried = await api.post(f"{at}/retry", json={"tasks": ["parts[1]"]})
    assert retried.json() == {"tasks": ["parts[1]"]}
    entries = (await api.get("/api/audit")).json()
    assert [(one["action"], one["detail"]) for one in entries] == [
        (
            "workflow.retry",
            {"way": "local", "downstream": False, "tasks": 1, "names": ["parts[1]"]},
        ),
        ("workflow.cancel", {"way": "local", "jobs": 2}),
        ("workflow.signal", {"way": "local", "signal": "go"}),
    ]


@pytest.mark.parametrize("path", ["", "/tasks", "/edges"])
async def test_a_workflow_that_is_not_there(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(f"/api/workflows/7{path}")
    assert (answer.status_code, answer.json()["error"]) == (404, "workflow not found: 7")
