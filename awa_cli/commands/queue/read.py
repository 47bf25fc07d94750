"""List and show queues."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._options import Interval, Watch
from awa_cli.commands._session import open_session
from awa_cli.commands.queue._app import Name, app
from awa_cli.errors import ExitCode, complain
from awa_cli.invocation import common
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import show_document, show_live, show_rows, show_text
from awa_cli.views.words import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.queues import QueueStat

FailIf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="Exit with status 6 if this holds for a queue: lag>60s, email.failed>=10; "
        "may be repeated.",
    ),
]


@app.command(
    epilog="""
    awa queue stats
    awa queue stats --watch
    awa queue stats -o json | jq '.[] | select(.lag_seconds > 60)'
    awa queue stats --fail-if 'lag>60s' --fail-if 'email.failed>100'
    """
)
def stats(
    ctx: typer.Context,
    *,
    watch: Watch = False,
    interval: Interval = "2s",
    fail_if: FailIf = None,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """Show all queues: jobs by state, lag, and whether the queue is paused.

    The jobs are counted when the command runs.  The column LAG shows how long the oldest job that
    could run has waited.
    """
    from awa_cli.commands.queue._conditions import read_condition
    from awa_cli.filters.values import read_interval
    from awa_cli.views.queue_columns import QUEUES
    from awa_lib.reads.queues import QueueStat, queue_stats

    conditions = [read_condition(text, QueueStat, "queue") for text in fail_if or ()]
    seconds = read_interval(interval)
    with open_session(ctx) as db:
        if watch:
            show_live(
                lambda: db.run(queue_stats()),
                QUEUES,
                output,
                common(ctx),
                seconds,
                chosen=read_columns(columns),
            )
        rows = db.run(queue_stats())
    footer = _worst if any(one.failed for one in rows) else None
    show_rows(
        rows,
        QUEUES,
        output,
        common(ctx),
        empty="No queues found.",
        footer=footer,
        chosen=read_columns(columns),
    )
    held = [why for condition in conditions for row in rows if (why := condition.held(row))]
    for why in held:
        complain(why, color=common(ctx).color(sys.stderr))
    if held:
        return ExitCode.WRONG
    return ExitCode.NOTHING if fail_empty and not rows else ExitCode.OK


def _worst(rows: Sequence[QueueStat]) -> str:
    """Suggest a command for the queue with the most failed jobs."""
    import shlex

    worst = max(rows, key=lambda one: one.failed)
    name = shlex.quote(clean(worst.queue))
    return f"To see failed jobs: awa job list --state failed --queue {name}"


@app.command(
    "list",
    epilog="""
    awa queue list
    awa queue list -o wide
    awa queue list -o template='{queue} {owner}'
    """,
)
def list_(
    ctx: typer.Context,
    *,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List queues, with what workers declare about them."""
    from awa_cli.views.queue_columns import QUEUE_OVERVIEWS
    from awa_lib.reads.overviews import list_queues

    with open_session(ctx) as db:
        rows = db.run(list_queues())
    count = show_rows(
        rows,
        QUEUE_OVERVIEWS,
        output,
        common(ctx),
        empty="No queues found.",
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


@app.command(
    epilog="""
    awa queue show email
    awa queue show email -o json | jq .policy
    """
)
def show(ctx: typer.Context, queue: Name, *, output: Report = ReportFormat.table) -> None:
    """Show one queue: jobs, limits, settings, workers and latest failures."""
    from awa_cli.terminal.pages.queue import queue_page
    from awa_lib.reads.overviews import queue_details

    with open_session(ctx) as db:
        details = db.run(queue_details(queue))
    if output is ReportFormat.json:
        show_document(details)
    else:
        show_text(queue_page(details, color=common(ctx).color()))
