"""Cancel and retry workflows, and send them signals."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.workflow._app import Id, app
from awa_cli.parser.completion import task_names, workflow_signals
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document, show_text
from awa_cli.terminal.prompts import ask, confirm
from awa_cli.views.words import clean, counted

ListTasks = Annotated[bool, typer.Option("--dry-run", help="List the tasks; change nothing.")]


@app.command(
    epilog="""
    awa workflow cancel 7
    awa workflow cancel 7 --dry-run
    """
)
def cancel(
    ctx: typer.Context,
    workflow_id: Id,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the open tasks; change nothing.")
    ] = False,
) -> None:
    """Cancel a workflow: its waiting tasks, and the jobs of those that have started.

    Tasks with when="always" still run.  Asks first; without a terminal it needs --yes.
    """
    from awa_cli.views.workflows import called
    from awa_lib.ops.workflows import cancel_workflow
    from awa_lib.reads.workflows import get_workflow

    with open_session(ctx, changing=not dry_run) as db:
        one = db.run(get_workflow(workflow_id))
        if dry_run:
            result(f"{one.waiting:,} waiting and {one.started:,} started tasks")
            return
        if one.state == "open":
            confirm(ctx, "workflow.cancel", called(one))
        jobs = db.change(
            "workflow.cancel",
            workflow_id,
            cancel_workflow(workflow_id),
            lambda count: {"jobs": count},
            name=one.name,
        )
    result(f"Cancelled workflow {workflow_id}, {counted(jobs)} of it")


@app.command(
    epilog="""
    awa workflow signal 7 approved
    awa workflow signal 7 approved --payload '{"by": "ann"}'
    """
)
def signal(
    ctx: typer.Context,
    workflow_id: Id,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the signal.", autocompletion=workflow_signals),
    ],
    *,
    payload: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="JSON, @FILE, or - for stdin; tasks read it as the result of the signal.",
        ),
    ] = None,
) -> None:
    """Send a signal to a workflow, for which tasks wait.

    A signal that no task waits for yet is kept.  Nothing changes if it was sent before.
    """
    from awa_cli.filters.values import read_json
    from awa_lib.ops.workflows import send_signal
    from awa_lib.reads.names import signal_names
    from awa_lib.validation import did_you_mean

    data = None if payload is None else read_json(payload, "--payload")
    with open_session(ctx, changing=True) as db:
        known = db.run(signal_names(workflow_id))
        sent = db.change(
            "workflow.signal",
            workflow_id,
            send_signal(workflow_id, name, data),
            lambda sent: {} if sent else None,
            signal=name,
        )
    if sent and name not in known:
        near = did_you_mean(name, known, f"awa workflow signal {workflow_id} ")
        say(f"No task waits for signal '{clean(name)}' yet." + (f"  {near}" if near else ""))
    done = "Sent signal" if sent else "Not sent again: signal"
    result(f"{done} '{clean(name)}' to workflow {workflow_id}")


@app.command(
    epilog="""
    awa workflow retry 7
    awa workflow retry 7 --task merge --downstream
    awa workflow retry 7 --dry-run
    """
)
def retry(
    ctx: typer.Context,
    workflow_id: Id,
    *,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Retry this task, group, or member such as 'parts[3]'; may be repeated.",
            autocompletion=task_names,
        ),
    ] = None,
    downstream: Annotated[
        bool,
        typer.Option("--downstream", help="Also run all ended tasks behind them again."),
    ] = False,
    dry_run: ListTasks = False,
    output: Report = ReportFormat.table,
) -> None:
    """Retry the tasks of a workflow that failed or were cancelled, or those named.

    Skipped tasks behind them are decided anew.  awa says which tasks are retried and asks first,
    unless --task names them and --downstream is not given.
    """
    from awa_cli.documents.reports import RetriedTasks
    from awa_cli.views.actions import retried
    from awa_cli.views.workflow_tasks import some_names
    from awa_lib.ops.workflow_retries import retry_workflow

    with open_session(ctx, changing=not dry_run) as db:
        names = task or None
        found = db.run(
            retry_workflow(workflow_id, tasks=names, downstream=downstream, dry_run=True)
        )
        if not dry_run:
            if names is None or downstream:
                ask(ctx, f"retry {_counted(found, workflow_id)}: {some_names(found)}")
            found = db.change(
                "workflow.retry",
                workflow_id,
                retry_workflow(workflow_id, tasks=names, downstream=downstream),
                retried,
                downstream=downstream,
            )
    if output is ReportFormat.json:
        show_document(RetriedTasks(dry_run, found))
    elif dry_run:
        show_text("".join(f"{clean(name)}\n" for name in found))
    else:
        result(f"Retried {_counted(found, workflow_id)}")


def _counted(names: list[str], workflow_id: int) -> str:
    return f"{counted(len(names), 'task')} of workflow {workflow_id}"
