"""Stop and start queues, and empty them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._bulk import carry_out
from awa_cli.commands._session import open_session
from awa_cli.commands.queue._app import Name, app
from awa_cli.invocation import common
from awa_cli.terminal.output import result, say
from awa_cli.terminal.progress import Progress
from awa_cli.views.actions import ACTIONS
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from awa_cli.database.session import Session


@app.command(epilog="awa queue pause email")
def pause(ctx: typer.Context, queue: Name) -> None:
    """Stop starting jobs of a queue, in the whole fleet.

    Jobs that run go on.
    A queue nobody has seen yet is created, paused.
    """
    from awa_lib.ops.queues import pause_queue

    with open_session(ctx, changing=True) as db:
        _doubt(db, queue)
        db.change("queue.pause", queue, pause_queue(queue, paused_by="cli"))
    result(ACTIONS["queue.pause"].done.format(target=queue))


@app.command(epilog="awa queue resume email")
def resume(ctx: typer.Context, queue: Name) -> None:
    """Start jobs of a paused queue again."""
    from awa_lib.ops.queues import resume_queue

    with open_session(ctx, changing=True) as db:
        _doubt(db, queue)
        db.change("queue.resume", queue, resume_queue(queue))
    result(ACTIONS["queue.resume"].done.format(target=queue))


@app.command(epilog="awa queue drain email --yes")
def drain(ctx: typer.Context, queue: Name) -> None:
    """Cancel every job of a queue that waits; running ones are spared.

    Asks first at a terminal.
    """
    from awa_cli.terminal.prompts import confirm
    from awa_lib.ops.queues import drain_queue

    with open_session(ctx, changing=True) as db:
        _doubt(db, queue)
        confirm(ctx, "queue.drain", queue)
        with Progress(common(ctx)):
            count = db.change("queue.drain", queue, drain_queue(queue))
    result(f"Drained {count} jobs from queue '{queue}'")


@app.command(
    epilog="""
    awa queue purge email --yes
    awa queue purge email --ended --yes
    """
)
def purge(
    ctx: typer.Context,
    queue: Name,
    ended: Annotated[
        bool, typer.Option("--ended", help="Only jobs that have ended; those that wait stay.")
    ] = False,
) -> None:
    """Delete the jobs of a queue for good, all but those that run.

    Asks first; without a terminal it needs --yes.
    Dead letters stay: awa dlq purge.
    """
    from awa_cli.terminal.prompts import confirm
    from awa_cli.views.actions import submitted
    from awa_lib.ops.bulk import submit_bulk_operation
    from awa_lib.ops.queues import drain_queue

    with open_session(ctx, changing=True) as db:
        _doubt(db, queue)
        action = "queue.purge-ended" if ended else "queue.purge"
        confirm(ctx, action, queue)
        submit = submit_bulk_operation("delete", submitted_by="awa", queue=queue)
        if not ended:
            with Progress(common(ctx)):
                db.change("queue.drain", queue, drain_queue(queue))
        operation = db.change(action, queue, submit, submitted)
        done = carry_out(ctx, db, operation.id)
    result(f"Purged {counted(done.processed)} of queue '{queue}'")


def _doubt(db: Session, queue: str) -> None:
    """Remark that a name is new: it may be a typing error."""
    from difflib import get_close_matches

    from awa_lib.reads.names import queue_names

    known = db.run(queue_names())
    if queue not in known:
        close = get_close_matches(queue, known, n=1)
        near = f"; did you mean: {close[0]}" if close else ""
        say(f"no queue was known as '{queue}'{near}")
