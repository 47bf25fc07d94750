"""List and show workflows and their tasks."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._options import BeforeId, Interval, Limit, Watch
from awa_cli.commands._session import open_session
from awa_cli.commands.workflow._app import Id, app
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import task_names, task_states, workflow_names, workflow_states
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import say, show_document, show_live_text, show_rows, show_text
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask
    from awa_lib.reads.workflows import WorkflowOverview


class GraphFormat(StrEnum):
    """The output format of the graph of a workflow."""

    table = "table"
    json = "json"
    mermaid = "mermaid"
    dot = "dot"


State = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        help="Only workflows in this state: open, succeeded, failed or cancelled.",
        autocompletion=workflow_states,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Only workflows of this name.", autocompletion=workflow_names
    ),
]
Key = Annotated[str | None, typer.Option(metavar="KEY", help="Only workflows with this key.")]
TaskState = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        help="Only tasks in this state, with those of groups: waiting, started, succeeded, failed,"
        " cancelled or skipped.",
        autocompletion=task_states,
    ),
]
GroupName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="List the tasks of this group.", autocompletion=task_names),
]
After = Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Only tasks behind this number.")]
Graph = Annotated[
    GraphFormat,
    typer.Option(
        "--output", "-o", help="Output format: table, json, mermaid or dot.", metavar="FORMAT"
    ),
]


@app.command(
    "list",
    epilog="""
    awa workflow list
    awa workflow list --state open --name import
    awa workflow list --state failed -o ids
    """,
)
def list_(
    ctx: typer.Context,
    *,
    state: State = None,
    name: Name = None,
    key: Key = None,
    before_id: BeforeId = None,
    limit: Limit = 20,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List workflows, newest first.

    DONE is how many tasks have ended, of how many; LEFT estimates the time until the end from the
    rate so far.
    """
    from awa_cli.views.workflows import WORKFLOWS
    from awa_lib.reads.workflows import list_workflows

    op = list_workflows(state=state, name=name, key=key, before_id=before_id, limit=limit)
    with open_session(ctx) as db:
        rows = db.run(op)
    count = show_rows(
        rows,
        WORKFLOWS,
        output,
        common(ctx),
        empty="No workflows found.",
        footer=partial(_footer, limit=limit),
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


def _footer(shown: Sequence[WorkflowOverview], *, limit: int) -> str:
    more = f"  Older workflows: --before-id {shown[-1].id}" if len(shown) == limit else ""
    one = next((one for one in shown if one.state == "open"), shown[0])
    return (
        f"{counted(len(shown), 'workflow')} listed.{more}  To see tasks: awa workflow show {one.id}"
    )


@app.command(
    epilog="""
    awa workflow show 7
    awa workflow show 7 --watch
    awa workflow show 7 -o mermaid > import.mmd
    awa workflow show 7 -o dot | dot -Tsvg > import.svg
    """
)
def show(
    ctx: typer.Context,
    workflow_id: Id,
    *,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Show at most N tasks and groups.")
    ] = 200,
    watch: Watch = False,
    interval: Interval = "2s",
    output: Graph = GraphFormat.table,
) -> None:
    """Show a workflow: its graph, progress, and what each waiting task waits for.

    Each task is drawn below one that it waits for, a group of tasks as one line.  With --watch the
    command ends when the workflow has ended.
    """
    from awa_cli.filters.values import read_interval
    from awa_lib.reads.workflow_tasks import workflow_details

    seconds = read_interval(interval)
    with open_session(ctx) as db:

        def read() -> tuple[str, bool]:
            found = db.run(workflow_details(workflow_id, limit=limit))
            return _written(ctx, found, output), found.workflow.state != "open"

        if watch:
            show_live_text(read, seconds, screen=output is GraphFormat.table)
        elif output is GraphFormat.json:
            show_document(db.run(workflow_details(workflow_id, limit=limit)))
        else:
            show_text(read()[0])


def _written(ctx: typer.Context, found: WorkflowDetails, output: GraphFormat) -> str:
    if output is GraphFormat.table:
        from awa_cli.terminal.pages.workflow import workflow_page

        return workflow_page(found, color=common(ctx).color())
    if output is GraphFormat.json:
        from awa_cli.terminal.output import document_text

        return document_text(found)
    from awa_cli.views.graphs import dot, mermaid

    if found.more:
        say(f"The graph has more than {counted(len(found.tasks), 'task')}: --limit N")
    return mermaid(found) if output is GraphFormat.mermaid else dot(found)


@app.command(
    epilog="""
    awa workflow tasks 7 --state failed
    awa workflow tasks 7 --group parts --limit 100
    awa workflow tasks 7 --state failed --columns name,job_id,error
    """
)
def tasks(
    ctx: typer.Context,
    workflow_id: Id,
    *,
    group: GroupName = None,
    state: TaskState = None,
    after: After = 0,
    limit: Limit = 100,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List the tasks, groups and signals of a workflow, in order."""
    from awa_cli.views.workflow_tasks import WORKFLOW_TASKS
    from awa_lib.reads.workflow_tasks import list_workflow_tasks

    def footer(shown: Sequence[WorkflowTask]) -> str:
        more = f"  More: --after {shown[-1].number}" if len(shown) == limit else ""
        failed = next((one.job_id for one in shown if one.job_state == "failed"), None)
        why = "" if failed is None else f"  To see an error: awa job show {failed}"
        return f"{counted(len(shown), 'task')} listed.{more}{why}"

    op = list_workflow_tasks(workflow_id, group=group, state=state, after=after, limit=limit)
    with open_session(ctx) as db:
        rows = db.run(op)
    count = show_rows(
        rows,
        WORKFLOW_TASKS,
        output,
        common(ctx),
        empty="No tasks found.",
        footer=footer,
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK
