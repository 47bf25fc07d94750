"""Pause and resume queues, cancel what waits in them, and purge them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._bulk import carry_out
from awa_cli.commands._session import open_session
from awa_cli.commands.queue._app import Name, app
from awa_cli.invocation import common
from awa_cli.terminal.output import result, say
from awa_cli.terminal.progress import Progress
from awa_cli.views.actions import ACTIONS
from awa_cli.views.words import counted, waiting_of

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


@app.command("cancel-waiting", epilog="awa queue cancel-waiting email --yes")
def cancel_waiting(ctx: typer.Context, queue: Name) -> None:
    """Cancel all waiting jobs of a queue.

    Running jobs continue; cancelled jobs can be retried.  Asks first; without a terminal it needs
    --yes.
    """
    from awa_cli.terminal.prompts import confirm

    with open_session(ctx, changing=True) as db:
        _warn_if_unknown(db, queue)
        confirm(ctx, "queue.cancel-waiting", _waiting(db, queue))
        count = _cancel(ctx, db, queue)
    result(f"Cancelled {waiting_of(count, queue)}")


@app.command(hidden=True, epilog="awa queue cancel-waiting email --yes")
def drain(ctx: typer.Context, queue: Name) -> None:
    """Cancel all waiting jobs of a queue.

    The name of awa 0.5 for: awa queue cancel-waiting.  Without a terminal it does not ask.
    """
    from awa_cli.terminal.prompts import confirm

    with open_session(ctx, changing=True) as db:
        _warn_if_unknown(db, queue)
        waiting = _waiting(db, queue)
        if sys.stdin.isatty():
            confirm(ctx, "queue.cancel-waiting", waiting)
        else:
            say(f"awa queue drain cancels {waiting}; its clear name is: awa queue cancel-waiting")
        count = _cancel(ctx, db, queue)
    result(f"Drained {count} jobs from queue '{queue}'")


def _waiting(db: Session, queue: str) -> str:
    from awa_lib.ops.queues import count_waiting

    return waiting_of(db.run(count_waiting(queue)), queue)


def _cancel(ctx: typer.Context, db: Session, queue: str) -> int:
    from awa_lib.ops.queues import cancel_waiting as op

    with Progress(common(ctx)):
        return db.change("queue.cancel-waiting", queue, op(queue))


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

    with open_session(ctx, changing=True) as db:
        _warn_if_unknown(db, queue)
        action = "queue.purge-ended" if ended else "queue.purge"
        confirm(ctx, action, queue)
        submit = submit_bulk_operation("delete", submitted_by="awa", queue=queue)
        if not ended:
            _cancel(ctx, db, queue)
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
