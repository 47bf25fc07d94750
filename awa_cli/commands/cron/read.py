"""List and show schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.cron._app import Name, app, run_named
from awa_cli.documents.reports import Fire
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import schedules
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import show_document, show_rows, show_text
from awa_cli.views.words import counted, now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.cron import CronJob


@app.command(
    "list",
    epilog="""
    awa cron list
    awa cron list -o json | jq -r '.[] | select(.declared | not) | .name'
    """,
)
def list_(
    ctx: typer.Context,
    *,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List schedules, with the last and next time each fires."""
    from awa_cli.views.columns import SCHEDULES
    from awa_lib.reads.cron import list_cron_jobs

    with open_session(ctx) as db:
        rows = db.run(list_cron_jobs())

    def footer(shown: Sequence[CronJob]) -> str:
        return f"{counted(len(shown), 'schedule')} listed."

    count = show_rows(
        rows,
        SCHEDULES,
        output,
        common(ctx),
        empty="No cron job schedules found.",
        footer=footer,
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


@app.command(epilog="awa cron show nightly")
def show(ctx: typer.Context, name: Name, *, output: Report = ReportFormat.table) -> None:
    """Show one schedule: its job, next times, and whether a worker declares it."""
    from awa_cli.terminal.pages.schedule import schedule_page
    from awa_lib.reads.cron import get_cron_job

    with open_session(ctx) as db:
        found = run_named(db, get_cron_job(name), ctx.command_path)
    if output is ReportFormat.json:
        show_document(found)
    else:
        show_text(schedule_page(found, color=common(ctx).color()))


@app.command(
    "next",
    epilog="""
    awa cron next nightly
    awa cron next '*/15 8-18 * * mon-fri' -n 3
    awa cron next '0 2 * * *' --tz Europe/Berlin -o json
    """,
)
def next_(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|EXPR",
            help="Name of a schedule, or a cron expression, which needs no database.",
            autocompletion=schedules,
        ),
    ],
    *,
    number: Annotated[
        int, typer.Option("-n", metavar="N", min=1, max=1000, help="Number of times to show.")
    ] = 5,
    zone: Annotated[
        str | None,
        typer.Option(
            "--tz", metavar="ZONE", help="Time zone; by default that of the schedule, or UTC."
        ),
    ] = None,
    output: Output = TABLE,
) -> None:
    """Show the next times a schedule or cron expression fires."""
    from awa_cli.views.columns import FIRES
    from awa_lib.cron import CronExpression

    text, timezone, begin = what, zone or "UTC", datetime.now(UTC)
    if not (what.startswith("@") or len(what.split()) > 1):
        from awa_lib.reads.cron import get_cron_job

        with open_session(ctx) as db:
            found = run_named(db, get_cron_job(what), ctx.command_path)
        text, timezone, begin = found.cron_expr, zone or found.timezone, now()
    expression = CronExpression(text, timezone)
    fires = [
        Fire(moment.astimezone(expression.zone).isoformat(), moment)
        for moment in expression.upcoming(begin, number)
    ]
    show_rows(fires, FIRES, output, common(ctx), empty="This schedule never fires.")
