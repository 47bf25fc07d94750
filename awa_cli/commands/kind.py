"""``awa kind``: kinds of jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import kinds
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import show_document, show_rows, show_text

__all__ = ["app"]

app = typer.Typer(
    help="List and show kinds of jobs.",
    epilog="""
    awa kind list
    awa kind show send_email
    """,
)

Name = Annotated[
    str, typer.Argument(metavar="KIND", help="Name of the kind.", autocompletion=kinds)
]


@app.command(
    "list",
    epilog="""
    awa kind list
    awa kind list -o json | jq -r '.[] | select(.live_instances == 0) | .kind'
    """,
)
def list_(
    ctx: typer.Context,
    *,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List kinds, with the number of their jobs and workers.

    The column JOBS is read from counters that the leader maintains; the other columns are counted
    when the command runs.
    """
    from awa_cli.views.queue_columns import KINDS
    from awa_lib.reads.overviews import list_kinds

    with open_session(ctx) as db:
        rows = db.run(list_kinds())
    count = show_rows(
        rows, KINDS, output, common(ctx), empty="No kinds found.", chosen=read_columns(columns)
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


@app.command(epilog="awa kind show send_email")
def show(ctx: typer.Context, kind: Name, *, output: Report = ReportFormat.table) -> None:
    """Show one kind: jobs, workers and latest failures."""
    from awa_cli.terminal.pages.queue import kind_page
    from awa_lib.reads.jobs import job_rows
    from awa_lib.reads.overviews import kind_overview

    with open_session(ctx) as db:
        found = db.run(kind_overview(kind))
        if output is ReportFormat.json:
            show_document(found)
            return
        failed = db.run(job_rows(states=["failed"], kind=kind, limit=5))
    show_text(kind_page(found, failed, color=common(ctx).color()))
