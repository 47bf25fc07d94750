"""``awa batch``: bulk operations, which change many jobs and continue after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.commands._options import DryRun, Everything, Limit, ToQueue
from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import operation_ids
from awa_cli.parser.job_options import (
    ErrorText,
    FailureId,
    Kind,
    Queue,
    Since,
    States,
    Tag,
    Until,
    Where,
    read_options,
)
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import result, say, show_document, show_rows, show_text
from awa_cli.terminal.progress import Progress
from awa_cli.terminal.prompts import ask
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from awa_lib.models import BulkOperation

__all__ = ["app"]

app = typer.Typer(
    help="Submit, show, run and cancel bulk operations on jobs.",
    epilog="""
    awa batch submit retry --state failed --kind send_email
    awa batch list
    awa batch show ID
    """,
)

Id = Annotated[
    str,
    typer.Argument(metavar="ID", help="Id of the bulk operation.", autocompletion=operation_ids),
]
Operation = Annotated[
    str,
    typer.Argument(metavar="OPERATION", help="retry, cancel, delete, set_priority or move_queue."),
]
State = Annotated[
    str | None,
    typer.Option(
        metavar="STATE",
        help="Only operations in this state: pending, running, completed, cancelled or failed.",
    ),
]
Priority = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=4, help="New priority, for set_priority."),
]


@app.command(
    "list",
    epilog="""
    awa batch list
    awa batch list --state running -o json
    """,
)
def list_(
    ctx: typer.Context,
    *,
    state: State = None,
    limit: Limit = 20,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List bulk operations, newest first."""
    from awa_cli.views.job_columns import BATCHES
    from awa_lib.reads.bulk import list_bulk_operations

    op = list_bulk_operations(state=state, limit=limit)
    with open_session(ctx) as db:
        rows = db.run(op)
    count = show_rows(
        rows,
        BATCHES,
        output,
        common(ctx),
        empty="No bulk operations found.",
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


@app.command(epilog="awa batch show 4e0c2c1e-0f5e-4e5b-8f5a-3f1f0c3f1a11")
def show(ctx: typer.Context, operation_id: Id, *, output: Report = ReportFormat.table) -> None:
    """Show one bulk operation."""
    from awa_lib.reads.bulk import get_bulk_operation

    with open_session(ctx) as db:
        _show(ctx, db.run(get_bulk_operation(operation_id)), output)


@app.command(
    epilog="""
    awa batch submit retry --state failed --kind send_email
    awa batch submit delete --state completed --until 30d --dry-run
    awa batch submit move_queue --to-queue slow --kind report
    """
)
def submit(
    ctx: typer.Context,
    operation: Operation,
    *,
    state: States = None,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    error: ErrorText = None,
    failure: FailureId = None,
    everything: Everything = False,
    priority: Priority = None,
    to_queue: ToQueue = None,
    dry_run: DryRun = False,
    output: Report = ReportFormat.table,
) -> None:
    """Change all matching jobs in the background.

    Prints the id of the bulk operation.  The leader of the workers runs it in batches; without a
    worker, run it with: awa batch run ID.
    """
    from awa_cli.filters.spelling import OPTIONS
    from awa_cli.views.actions import submitted
    from awa_lib.ops.bulk import preview_bulk_operation, submit_bulk_operation

    text = {"kind": kind, "queue": queue, "tag": tag, "since": since, "until": until}
    query = read_options(state=state, where=where, error=error, failure=failure, **text)
    filters: dict[str, Any] = dict(OPTIONS.bulk(query))
    filters["all"] = everything
    preview = preview_bulk_operation(operation, **filters)
    with open_session(ctx, changing=not dry_run) as db:
        found = db.run(preview)
        if dry_run:
            result(counted(found.total_matched))
            return
        if operation == "delete":
            ask(ctx, f"delete {counted(found.total_matched)} for good")
        filters |= {"priority": priority, "to_queue": to_queue}
        op = submit_bulk_operation(operation, submitted_by="cli", **filters)
        made = db.change("batch.submit", f"{operation} of jobs", op, submitted)
    _show_submitted(made, output)


def _show_submitted(made: BulkOperation, output: ReportFormat) -> None:
    if output is ReportFormat.json:
        show_document(made)
    else:
        result(made.id)
        say(f"Submitted a change of {counted(made.total_matched)}: awa batch show {made.id}")


@app.command(epilog="awa batch run 4e0c2c1e-0f5e-4e5b-8f5a-3f1f0c3f1a11")
def run(ctx: typer.Context, operation_id: Id, *, output: Report = ReportFormat.table) -> int:
    """Run a bulk operation in this process, to its end.

    An operation that was interrupted continues where it stopped.  Exits with status 1 if the
    operation failed or a job could not be changed.
    """
    from awa_cli.views.actions import submitted
    from awa_lib.ops.bulk import run_bulk_operation
    from awa_lib.reads.bulk import get_bulk_operation

    try:
        with open_session(ctx, changing=True) as db, Progress(common(ctx)) as progress:
            found = db.run(get_bulk_operation(operation_id))
            op = run_bulk_operation(
                operation_id,
                on_progress=lambda now: progress.show(now.processed, now.total_matched),
            )
            ended = db.change("batch.run", operation_id, op, **submitted(found))
    except KeyboardInterrupt:
        say(f"Not finished: a worker continues it.  To cancel it: awa batch cancel {operation_id}")
        raise
    _show(ctx, ended, output)
    return ExitCode.OK if ended.state == "completed" and not ended.errored else ExitCode.FAILED


@app.command(epilog="awa batch cancel 4e0c2c1e-0f5e-4e5b-8f5a-3f1f0c3f1a11")
def cancel(ctx: typer.Context, operation_id: Id) -> None:
    """Cancel a bulk operation.

    It stops after the current batch; jobs it has changed stay changed.
    """
    from awa_lib.ops.bulk import cancel_bulk_operation

    with open_session(ctx, changing=True) as db:
        ended = db.change("batch.cancel", operation_id, cancel_bulk_operation(operation_id))
    result(f"Cancelled bulk operation {ended.id} after {counted(ended.processed)}")


def _show(ctx: typer.Context, one: BulkOperation, output: ReportFormat) -> None:
    from awa_cli.terminal.pages.bulk import batch_page

    if output is ReportFormat.json:
        show_document(one)
    else:
        show_text(batch_page(one, color=common(ctx).color()))
