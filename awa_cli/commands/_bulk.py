"""Run a bulk operation in the foreground."""

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
    """Run an operation to its end and show its progress; Ctrl-C cancels the operation.

    Otherwise the leader of the workers would continue it in the background.
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
        db.conn.close()  # releases its locks
        _cancel(ctx, operation_id)
        raise


def _cancel(ctx: typer.Context, operation_id: str) -> None:
    from awa_lib.errors import AwaError
    from awa_lib.ops.bulk import cancel_bulk_operation

    try:
        with open_session(ctx) as db:
            ended = db.change("batch.cancel", operation_id, cancel_bulk_operation(operation_id))
    except AwaError as error:
        complain(
            f"bulk operation {operation_id} could not be cancelled",
            str(error),
            f"check its state: awa batch show {operation_id}",
            color=common(ctx).color(sys.stderr),
        )
    else:
        say(
            f"Cancelled after {ended.processed:,} of {counted(ended.total_matched)}; "
            "the other jobs are unchanged."
        )
