"""The graph of a workflow: as data for the script that draws it, and as a list of layers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.words import age, clean
from awa_cli.views.workflow_tasks import members_of, note_of, notes_of, state_of
from awa_cli.views.workflow_tree import layers_of
from awa_cli.web.pages._list_query import address
from awa_cli.web.pages.render import at

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask

__all__ = ["MOST_NODES", "Node", "drawn_part", "graph_data", "layers", "note", "path_of"]

MOST_NODES: Final = 200
# The layout of as many takes a browser a second, that of 1,000 a quarter of a minute.
_MOST_EDGES: Final = 300


@dataclass(frozen=True, slots=True)
class Node:
    """A task, a group or a signal of the graph."""

    number: int
    name: str
    type: str
    state: str
    words: str
    """Its state, or the counts of a group."""
    more: str
    """What it waits for, its error, why it was skipped, its rule."""
    to: str | None
    """The path of its page."""
    done: float
    """The share of a group's members that have ended, between 0 and 1."""
    bad: float
    """The share of those that failed."""


def drawn_part(details: WorkflowDetails) -> WorkflowDetails:
    """Return the first nodes of the graph, with no more edges than a browser lays out at once."""
    # An edge is there from the later of its two nodes on.
    places = sorted(max(edge.parent, edge.child) for edge in details.edges)
    if len(places) <= _MOST_EDGES:
        return details
    end = places[_MOST_EDGES]
    return replace(
        details,
        tasks=[task for task in details.tasks if task.number < end],
        edges=[edge for edge in details.edges if edge.parent < end and edge.child < end],
        more=True,
    )


def graph_data(details: WorkflowDetails) -> dict[str, Any]:
    """Return the nodes and edges for the script."""
    workflow_id = details.workflow.id
    return {
        "nodes": [asdict(_node(workflow_id, task)) for task in details.tasks],
        "edges": [[edge.parent, edge.child] for edge in details.edges],
    }


def layers(details: WorkflowDetails) -> list[list[Node]]:
    """Return the nodes by the length of the longest path to them."""
    parents: dict[int, list[int]] = {task.number: [] for task in details.tasks}
    for edge in details.edges:
        parents[edge.child].append(edge.parent)
    place = layers_of(parents)
    found: list[list[Node]] = [[] for _ in range(max(place.values(), default=-1) + 1)]
    for task in details.tasks:
        found[place[task.number]].append(_node(details.workflow.id, task))
    return found


def path_of(workflow_id: int, task: WorkflowTask) -> str | None:
    """Return the page of the job of a task, or that of the members of a group."""
    if task.members is not None:
        return address({"group": task.name}, at("workflows", workflow_id)) + "#tasks"
    if task.job_state is None:
        return None
    return at("dlq" if task.job_state == "dead" else "jobs", task.job_id)


def note(task: WorkflowTask) -> str:
    """Return the note of a task in the table, in the words of the command."""
    found = notes_of(task, moment_words=lambda at: f"{_utc(at)}, {age(at)}")
    return note_of(task, found, between=", ")


def _utc(moment: datetime) -> str:
    # The clock of this server need not be that of who reads.
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _node(workflow_id: int, task: WorkflowTask) -> Node:
    members = task.members
    total = members.total if members else 0
    ended = total - members.open if members else 0
    return Node(
        number=task.number,
        name=clean(task.name),
        type=task.type,
        state=task.state,
        words=_words(task),
        more=", ".join(text for text, _ in notes_of(task, moment_words=_utc)),
        to=path_of(workflow_id, task),
        done=ended / total if total else 1.0,
        bad=members.failed / total if members and total else 0.0,
    )


def _words(task: WorkflowTask) -> str:
    if task.members is not None:
        return members_of(task.members)
    if task.state != "started" or task.job_state is None:
        return state_of(task)
    if task.job_state == "scheduled":
        return f"scheduled {age(task.run_at)}"
    attempt = f", attempt {task.attempt}" if task.attempt else ""
    # Not "waiting", as of a job: a task waits for other tasks.
    state = {"waiting_external": "waiting for a callback"}.get(task.job_state, task.job_state)
    return f"{state}{attempt}"
