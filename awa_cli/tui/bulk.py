"""Change all jobs that match a filter: choose the change, confirm their number, watch progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.spelling import TEXT
from awa_cli.filters.text import read_text
from awa_cli.tui.changes.change import Change
from awa_cli.tui.changes.jobs import BULK
from awa_cli.tui.widgets.dialogs import AskText, Pick, PickPriority
from awa_cli.tui.widgets.progress import ProgressDialog
from awa_cli.views.actions import ACTIONS, submitted
from awa_cli.views.words import counted
from awa_lib.errors import AwaError
from awa_lib.ops.bulk import (
    STATES,
    preview_bulk_operation,
    run_bulk_operation,
    submit_bulk_operation,
)

if TYPE_CHECKING:
    from awa_cli.tui.host import Host
    from awa_lib.models import BulkOperation

__all__ = ["change_all"]

_SAMPLE: Final = 8
# What the target of a change says besides the number of jobs.
_TARGETS: Final = {"priority": " priority {priority}", "move": " to queue {to_queue}"}


async def change_all(app: Host, filter_text: str) -> None:
    """Ask for a change, show how many jobs match the filter, and carry it out."""
    title = f"All jobs matching {filter_text}" if filter_text else "All jobs"
    try:
        query = read_text(filter_text)
        states = query.get("states")
        options = [
            (name, ACTIONS[bulk.action_id].verb)
            for name, bulk in BULK.items()
            if app.may(bulk.action_id)
            and (not states or set(states).intersection(STATES[bulk.operation]))
        ]
        name = await app.push_screen_wait(Pick(title, options))
        if name is None or (spec := await _ask_spec(app, name)) is None:
            return
        await _submit(app, name, spec, dict(TEXT.bulk(query)))
    except AwaError as error:
        app.show_error(error)


async def _ask_spec(app: Host, name: str) -> dict[str, Any] | None:
    """Ask for the parameters of the change; return None to cancel it."""
    if name == "priority":
        number = await app.push_screen_wait(PickPriority())
        return None if number is None else {"priority": int(number)}
    if name == "move":
        queue = await app.push_screen_wait(AskText("Move to which queue?"))
        return None if queue is None else {"to_queue": queue}
    return {}


async def _submit(app: Host, name: str, spec: dict[str, Any], where: dict[str, Any]) -> None:
    bulk, everything = BULK[name], not where
    preview = await app.source.read(preview_bulk_operation(bulk.operation, all=everything, **where))
    if not preview.total_matched:
        text = "No matching job is in a state that allows this change."
        if name == "retry" and not where.get("state"):
            text += "  Without a state in the filter, failed jobs are retried."
        app.notify(text)
        return
    more = " …" if preview.total_matched > _SAMPLE else ""
    change = Change(
        bulk.action_id,
        _target(name, spec, preview.total_matched),
        lambda: submit_bulk_operation(
            bulk.operation, submitted_by="awa tui", all=everything, **spec, **where
        ),
        outcome=submitted,
    )
    states = ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in preview.states.items())
    note = f"{states}.  Ids: " + ", ".join(map(str, preview.sample[:_SAMPLE])) + more
    if not await app.confirmed(change, note=note):
        return
    operation: BulkOperation = await app.source.change(change.recorded())
    dialog = ProgressDialog(change.action.verb, operation)
    app.push_screen(dialog)
    ended = await app.source.change(run_bulk_operation(operation.id, on_progress=dialog.show))
    dialog.end()
    text = change.action.done.format(target=_target(name, spec, ended.processed))
    if ended.skipped or ended.errored:
        text += f"; {ended.skipped + ended.errored:,} could not be changed"
    app.notify(text, severity="warning" if ended.errored else "information", markup=False)
    app.show_change()


def _target(name: str, spec: dict[str, Any], count: int) -> str:
    return counted(count) + _TARGETS.get(name, "").format(**spec)
