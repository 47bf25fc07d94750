"""Pause, resume, drain and purge queues."""

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
    """Pause a queue on all workers.

    Running jobs continue.  A queue that does not exist is created and paused.
    """
    from awa_lib.ops.queues import pause_queue

    with open_session(ctx, changing=True) as db:
        _warn_if_unknown(db, queue)
        db.change("queue.pause", queue, pause_queue(queue, paused_by="cli"))
    result(ACTIONS["queue.pause"].done.format(target=queue))


@app.command(epilog="awa queue resume email")
def resume(ctx: typer.Context, queue: Name) -> None:
    """Resume a paused queue."""
    from awa_lib.ops.queues import resume_queue

    with open_session(ctx, changing=True) as db:
        _warn_if_unknown(db, queue)
        db.change("queue.resume", queue, resume_queue(queue))
    result(ACTIONS["queue.resume"].done.format(target=queue))


@app.command(epilog="awa queue drain email --yes")
def drain(ctx: typer.Context, queue: Name) -> None:
    """Cancel all waiting jobs of a queue.

    Running jobs continue.  At a terminal it asks first.
    """
    from awa_cli.terminal.prompts import confirm
    from awa_lib.ops.queues import drain_queue

    with open_session(ctx, changing=True) as db:
        _warn_if_unknown(db, queue)
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
    *,
    ended: Annotated[
        bool, typer.Option("--ended", help="Delete only jobs that have ended.")
    ] = False,
) -> None:
    """Permanently delete all jobs of a queue that are not running.

    Waiting jobs are cancelled and deleted too, unless --ended is given.  Asks first; without a
    terminal it needs --yes.  Dead letters are kept; to delete them: awa dlq purge.
    """
    from awa_cli.terminal.prompts import confirm
    from awa_cli.views.actions import submitted
    from awa_lib.ops.bulk import submit_bulk_operation
    from awa_lib.ops.queues import drain_queue

    with open_session(ctx, changing=True) as db:
        _warn_if_unknown(db, queue)
        action = "queue.purge-ended" if ended else "queue.purge"
        confirm(ctx, action, queue)
        submit = submit_bulk_operation("delete", submitted_by="awa", queue=queue)
        if not ended:
            with Progress(common(ctx)):
                db.change("queue.drain", queue, drain_queue(queue))
        operation = db.change(action, queue, submit, submitted)
        done = carry_out(ctx, db, operation.id)
    result(f"Purged {counted(done.processed)} of queue '{queue}'")


def _warn_if_unknown(db: Session, queue: str) -> None:
    """Warn that no queue has this name, which may be a typing error."""
    from awa_lib.reads.names import queue_names
    from awa_lib.validation import did_you_mean

    known = db.run(queue_names())
    if queue not in known:
        near = did_you_mean(queue, known)
        say(f"there is no queue '{queue}' yet{f'; {near}' if near else ''}")
