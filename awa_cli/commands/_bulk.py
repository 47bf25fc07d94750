"""Carry a bulk operation out in the foreground."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from awa_cli.commands._session import open_session
from awa_cli.errors import complain
from awa_cli.invocation import common
from awa_cli.terminal.output import say
from awa_cli.terminal.progress import Progress
from awa_cli.views.words import counted

if TYPE_CHECKING:
    import typer

    from awa_cli.database.session import Session
    from awa_lib.models import BulkOperation

__all__ = ["carry_out"]


def carry_out(ctx: typer.Context, db: Session, operation_id: str) -> BulkOperation:
    """Run an operation to its end with its progress shown; Ctrl-C stops it, not only this process.

    Left alone it would go on in the background as soon as a worker leads.
    """
    from awa_lib.ops.bulk import run_bulk_operation

    try:
        with Progress(common(ctx)) as progress:
            return db.run(
                run_bulk_operation(
                    operation_id,
                    on_progress=lambda now: progress.show(now.processed, now.total_matched),
                )
            )
    except KeyboardInterrupt:
        db.conn.close()  # with what it holds locked
        _stop(ctx, operation_id)
        raise


def _stop(ctx: typer.Context, operation_id: str) -> None:
    from awa_lib.errors import AwaError
    from awa_lib.ops.bulk import cancel_bulk_operation

    try:
        with open_session(ctx) as db:
            ended = db.change("batch.cancel", operation_id, cancel_bulk_operation(operation_id))
    except AwaError as error:
        complain(
            f"bulk operation {operation_id} could not be stopped",
            str(error),
            f"see what became of it: awa batch show {operation_id}",
            color=common(ctx).color(sys.stderr),
        )
    else:
        say(
            f"stopped after {ended.processed:,} of {counted(ended.total_matched)}; "
            "the others are as they were"
        )
