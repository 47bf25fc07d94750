"""Changes of failures: retry what failed so, leave it out of lists."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from awa_cli.tui.changes.change import Change
from awa_cli.tui.widgets.progress import ProgressDialog
from awa_cli.views.actions import submitted
from awa_cli.views.words import counted, now
from awa_lib.errors import AwaError
from awa_lib.ops import failures as ops
from awa_lib.ops.bulk import (
    preview_bulk_operation,
    run_bulk_operation,
    submit_bulk_operation,
)
from awa_lib.ops.dead_letters import bulk_retry_from_dlq
from awa_lib.reads.dead_letters import count_dead_letters

if TYPE_CHECKING:
    from awa_cli.tui.host import Host
    from awa_lib.models import BulkOperation

__all__ = ["MUTE_DAYS", "mute", "retry", "unmute"]

MUTE_DAYS: Final = 7
_SAMPLE: Final = 8


def mute(failure: str) -> Change:
    """Return the change that leaves a failure out of lists for a week."""
    until = now() + timedelta(days=MUTE_DAYS)
    return Change(
        "failure.mute",
        failure,
        lambda: ops.mute_failure(failure, until),
        undo=lambda: unmute(failure),
    )


def unmute(failure: str) -> Change:
    """Return the change that shows a failure in lists again."""
    return Change(
        "failure.unmute",
        failure,
        lambda: ops.unmute_failure(failure),
        undo=lambda: mute(failure),
    )


async def retry(app: Host, failure: str) -> None:
    """Show how many jobs and dead letters failed so, ask, and retry them."""
    try:
        await app.source.read(ops.checked_failure(failure))
        preview = preview_bulk_operation("retry", state="failed", failure=failure)
        found = await app.source.read(preview)
        dead = await app.source.read(count_dead_letters(failure=failure))
        jobs = found.total_matched
        if not jobs + dead:
            app.notify("Nothing to retry: no failed job and no dead letter failed so last.")
            return
        change = Change(
            "failure.retry",
            failure,
            lambda: submit_bulk_operation(
                "retry", submitted_by="awa tui", state="failed", failure=failure
            ),
            outcome=submitted,
        )
        note = f"{_things(jobs, dead)}."
        if found.sample:
            more = " …" if jobs > _SAMPLE else ""
            note += "  Ids: " + ", ".join(map(str, found.sample[:_SAMPLE])) + more
        if not await app.confirmed(change, note=note):
            return
        ended = await _retry_jobs(app, change) if jobs else None
        if dead:
            again = Change(
                "dlq.retry-all",
                f"failure {failure}",
                lambda: bulk_retry_from_dlq(failure=failure),
            )
            dead = await app.source.change(again.recorded())
    except AwaError as error:
        app.show_error(error)
        return
    _report(app, ended, dead)


async def _retry_jobs(app: Host, change: Change) -> BulkOperation:
    operation: BulkOperation = await app.source.change(change.recorded())
    dialog = ProgressDialog(change.action.verb, operation)
    app.push_screen(dialog)
    ended = await app.source.change(run_bulk_operation(operation.id, on_progress=dialog.show))
    dialog.end()
    return ended


def _report(app: Host, ended: BulkOperation | None, dead: int) -> None:
    text = f"Retried {_things(0 if ended is None else ended.processed, dead)}"
    left = 0 if ended is None else ended.skipped + ended.errored
    if left:
        text += f"; {left:,} could not be changed"
    app.notify(text, severity="warning" if left else "information", markup=False)
    app.show_change()


def _things(jobs: int, dead: int) -> str:
    """Write ``2,000 failed jobs and 3 dead letters``."""
    parts = [counted(jobs, "failed job")] if jobs or not dead else []
    return " and ".join([*parts, *([counted(dead, "dead letter")] if dead else [])])
