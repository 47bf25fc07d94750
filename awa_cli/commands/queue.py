"""``awa queue``: look at queues, stop and start them."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.errors import ExitCode
from awa_cli.options import TABLE, FailEmpty, Output, common
from awa_cli.output import result, show_rows
from awa_cli.session import open_session

__all__ = ["app"]

app = typer.Typer(
    help="Look at queues, pause, resume and drain them.",
    epilog="""
    awa queue stats
    awa queue pause email
    """,
)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="Name of the queue.")]


@app.command(
    epilog="""
    awa queue stats
    awa queue stats -o json | jq '.[] | select(.lag_seconds > 60)'
    """
)
def stats(ctx: typer.Context, output: Output = TABLE, fail_empty: FailEmpty = False) -> int:
    """Show every queue: jobs by state, lag, whether it is paused.

    The counts are exact and made now.
    LAG is how long the oldest job that could run has waited.
    """
    from awa_cli.columns import QUEUES
    from awa_lib.reads.queues import queue_stats

    with open_session(ctx) as db:
        rows = db.run(queue_stats())
    show_rows(rows, QUEUES, output, common(ctx), empty="No queues found.")
    return ExitCode.NOTHING if fail_empty and not rows else ExitCode.OK


@app.command(epilog="awa queue pause email")
def pause(ctx: typer.Context, queue: Name) -> None:
    """Stop starting jobs of a queue, in the whole fleet.

    Jobs that run go on.
    A queue nobody has seen yet is created, paused.
    """
    from awa_lib.ops.queues import pause_queue

    with open_session(ctx, changing=True) as db:
        db.run(pause_queue(queue, paused_by="cli"))
    result(f"Paused queue '{queue}'")


@app.command(epilog="awa queue resume email")
def resume(ctx: typer.Context, queue: Name) -> None:
    """Start jobs of a paused queue again."""
    from awa_lib.ops.queues import resume_queue

    with open_session(ctx, changing=True) as db:
        db.run(resume_queue(queue))
    result(f"Resumed queue '{queue}'")


@app.command(epilog="awa queue drain email --yes")
def drain(ctx: typer.Context, queue: Name) -> None:
    """Cancel every job of a queue that waits; running ones are spared.

    Asks first at a terminal.
    """
    from awa_cli.actions import confirm
    from awa_lib.ops.queues import drain_queue

    with open_session(ctx, changing=True) as db:
        confirm(ctx, "queue.drain", queue)
        count = db.run(drain_queue(queue))
    result(f"Drained {count} jobs from queue '{queue}'")
