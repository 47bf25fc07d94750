"""The page of a workflow: its progress, its graph and its tasks, updated live."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from awa_cli.views.graphs import dot, mermaid
from awa_cli.views.workflow_tasks import WORKFLOW_TASKS, can_retry, first_line
from awa_cli.views.workflow_tree import commands_of, failed_of
from awa_cli.views.workflows import (
    called,
    can_cancel,
    done_of,
    facts_of,
    left_of,
    share_of,
    state_words,
    title_of,
)
from awa_cli.web.api.fields import Name
from awa_cli.web.api.workflows import After, TaskState
from awa_cli.web.pages._list_query import LIMIT, ListQuery, list_query, parameters
from awa_cli.web.pages._workflow_graph import (
    MOST_NODES,
    drawn_part,
    graph_data,
    layers,
    note,
    path_of,
)
from awa_cli.web.pages.render import at, read, render
from awa_cli.web.problems import Refused
from awa_lib.errors import WorkflowNotFound
from awa_lib.reads.workflow_tasks import (
    TASK_STATES,
    WorkflowDetails,
    WorkflowTask,
    list_workflow_tasks,
    workflow_details,
)
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from starlette.requests import Request

    from awa_lib._sql import Op
    from awa_lib.reads.workflows import WorkflowOverview

__all__ = ["graph", "id_of", "show"]

_PARAMETERS: Final = parameters({"state": TaskState, "group": Name, "after": After})
# Of a download, which programs draw.
_MOST_WRITTEN: Final = 1_000
_LANGUAGES: Final = {"mermaid": (mermaid, "mmd"), "dot": (dot, "dot")}


# The columns of a page, and how they differ from those of the command.
_SHOWN: Final[dict[str, dict[str, Any]]] = {
    "name": {},
    "state": {"state": lambda one: one.state},
    "job": {"get": lambda one: one.job_id if one.job_state else None},
    "att": {"wide": False},
    "kind": {},
    "ended": {},
    "took": {},
}
_COLUMNS: Final = tuple(
    replace(one, **_SHOWN[one.key]) for one in WORKFLOW_TASKS if one.key in _SHOWN
)
(_NOTE,) = (one for one in WORKFLOW_TASKS if one.key == "note")
# The other facts are in the head.
_FACTS: Final = ("created", "cancelled", "ended")


async def show(request: Request) -> Response:
    """Show a workflow."""
    workflow_id = id_of(request)
    path = at("workflows", workflow_id)
    listing = list_query(request, path, _PARAMETERS)
    details, tasks = await read(request, _read(workflow_id, listing))
    one, drawn = details.workflow, drawn_part(details)
    command = f"awa workflow show {one.id}" + (" --watch" if one.state == "open" else "")
    return await render(
        request,
        "workflow.html",
        422 if listing.problem else 200,
        part="parts/workflow.html",
        workflow=one,
        url=path,
        title=title_of(one),
        state=state_words(one),
        called=called(one),
        can_cancel=can_cancel(one),
        share=share_of(one),
        done=done_of(one),
        left=left_of(one),
        facts=[fact for fact in facts_of(one) if fact[0] in _FACTS],
        graph=graph_data(drawn),
        # For browsers without scripts, which ask for no update.
        layers=[] if "HX-Request" in request.headers else layers(drawn),
        more=drawn.more,
        failed=[
            (task, path_of(workflow_id, task), first_line(task)) for task in failed_of(details)
        ],
        signals=_signals(details),
        listing=listing,
        chips=_chips(one, listing),
        command=command,
        commands=[command, *commands_of(details)],
        **_tasks(details, listing, tasks),
    )


def _read(workflow_id: int, listing: ListQuery) -> Op[tuple[WorkflowDetails, list[WorkflowTask]]]:
    details = yield from workflow_details(workflow_id, limit=MOST_NODES)
    if listing.problem is not None:
        return details, []
    if not listing.values:
        # The list begins as the graph does.
        return details, details.tasks[: LIMIT + 1]
    tasks = yield from list_workflow_tasks(workflow_id, **listing.values, limit=LIMIT + 1)
    return details, tasks


def _signals(details: WorkflowDetails) -> list[WorkflowTask]:
    return [task for task in details.tasks if task.type == "signal"]


def _tasks(
    details: WorkflowDetails, listing: ListQuery, found: list[WorkflowTask]
) -> dict[str, Any]:
    """Return what the table of tasks needs."""
    workflow_id, rows = details.workflow.id, found[:LIMIT]
    later = listing.link(after=str(rows[-1].number)) if len(found) > LIMIT else None
    # They have a section of their own; it has not all signals of a large workflow.
    shown = {task.number for task in _signals(details)}
    return {
        "columns": (*_COLUMNS, replace(_NOTE, get=note)),
        "tasks": [task for task in rows if task.number not in shown],
        "first": listing.link() if listing.values.get("after") else None,
        "later": later,
        "tasks_command": listing.command(f"awa workflow tasks {workflow_id}"),
        "can_retry": can_retry,
        "since": {"took": lambda task: task.started_at if task.state == "started" else None},
        "links": {
            "name": lambda task: path_of(workflow_id, task),
            "job": lambda task: path_of(workflow_id, task),
            "kind": lambda task: at("kinds", task.kind) if task.kind else None,
        },
    }


def _chips(one: WorkflowOverview, listing: ListQuery) -> list[tuple[str, str, bool, int | None]]:
    """Return (state, address, whether it is on, number of tasks) for each state.

    The number is None where a group is shown: tasks are counted by workflow.
    """
    chosen, group = listing.given("state"), listing.given("group")
    return [
        (
            state,
            listing.link(state=None if state == chosen else state) + "#tasks",
            state == chosen,
            None if group else getattr(one, state),
        )
        for state in TASK_STATES
    ]


async def graph(request: Request) -> Response:
    """Answer with the graph in the language of the parameter ``as``; with ``raw`` as a file."""
    workflow_id = id_of(request)
    language = request.query_params.get("as", "")
    if language not in _LANGUAGES:
        raise Refused(
            422, f"there is no graph as {language[:40]!r}", f"languages are {', '.join(_LANGUAGES)}"
        )
    write, suffix = _LANGUAGES[language]
    details = await read(request, workflow_details(workflow_id, limit=_MOST_WRITTEN))
    text = write(details)
    if "raw" in request.query_params:
        name = f"workflow-{workflow_id}.{suffix}"
        return Response(
            text.encode("utf-8", "replace"),
            media_type="text/plain",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )
    return await render(
        request,
        "parts/workflow_graph.html",
        text=text,
        language=language,
        url=at("workflows", workflow_id, "graph"),
        cut=len(details.tasks) if details.more else None,
        command=f"awa workflow show {workflow_id} -o {language}",
    )


def id_of(request: Request) -> int:
    """Return the id in the path.  Raises WorkflowNotFound for what cannot be one."""
    workflow_id = int(request.path_params["workflow_id"])
    if not 0 < workflow_id <= INT64_MAX:
        raise WorkflowNotFound(workflow_id)
    return workflow_id
