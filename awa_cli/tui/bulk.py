"""One change of all jobs that fit a filter: choose it, see how many, agree, watch it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.spelling import TEXT
from awa_cli.filters.text import read_text
from awa_cli.terminal.output import counted
from awa_cli.tui.changes.change import Deed
from awa_cli.tui.changes.jobs import BULK
from awa_cli.tui.widgets.dialogs import AskText, Pick
from awa_cli.tui.widgets.progress import ProgressDialog
from awa_cli.views.actions import ACTIONS, submitted
from awa_lib.errors import AwaError
from awa_lib.ops.bulk import (
    STATES,
    preview_bulk_operation,
    run_bulk_operation,
    submit_bulk_operation,
)

if TYPE_CHECKING:
    from awa_cli.tui.app import Monitor
    from awa_lib.models import BulkOperation

__all__ = ["change_all"]

_SAMPLE: Final = 8


async def change_all(app: Monitor, filter_text: str) -> None:
    """Ask which change of the jobs that fit, show how many they are, and carry it out."""
    title = f"All jobs with {filter_text}" if filter_text else "All jobs"
    try:
        query = read_text(filter_text)
        states = query.get("states")
        allowed = [
            name for name, one in BULK.items()
            if app.may(one.action_id)
            if not states or set(states).intersection(STATES[one.operation])
        ]  # fmt: skip
        options = [(name, ACTIONS[BULK[name].action_id].verb) for name in allowed]
        name = await app.push_screen_wait(Pick(title, options))
        if name is None or (spec := await _spec(app, name)) is None:
            return
        await _submit(app, name, spec, dict(TEXT.bulk(query)))
    except AwaError as error:
        app.complain(error)


async def _spec(app: Monitor, name: str) -> dict[str, Any] | None:
    """Ask what the change needs to know."""
    from awa_cli.tui.screens.jobs import ask_priority

    if name == "priority":
        number = await app.push_screen_wait(ask_priority())
        return None if number is None else {"priority": int(number)}
    if name == "move":
        queue = await app.push_screen_wait(AskText("Move to which queue?"))
        return None if queue is None else {"to_queue": queue}
    return {}


async def _submit(app: Monitor, name: str, spec: dict[str, Any], where: dict[str, Any]) -> None:
    bulk, everything = BULK[name], not where
    found = await app.source.read(preview_bulk_operation(bulk.operation, all=everything, **where))
    if not found.total_matched:
        app.notify("No jobs fit that can be changed so.")
        return
    extra = {"priority": " priority {priority}", "move": " to queue {to_queue}"}.get(name, "")
    target = counted(found.total_matched) + extra.format(**spec)
    more = " …" if found.total_matched > _SAMPLE else ""
    note = "Ids: " + ", ".join(map(str, found.sample[:_SAMPLE])) + more
    deed = Deed(
        bulk.action_id,
        target,
        lambda: submit_bulk_operation(
            bulk.operation, submitted_by="awa tui", all=everything, **spec, **where
        ),
        outcome=submitted,
    )
    if not await app.agreed(deed, note=note):
        return
    operation: BulkOperation = await app.source.change(deed.noted())
    dialog = ProgressDialog(deed.action.verb, operation)
    app.push_screen(dialog)
    ended = await app.source.change(run_bulk_operation(operation.id, on_progress=dialog.show))
    dialog.end()
    changed = counted(ended.processed) + extra.format(**spec)
    told = deed.action.done.format(target=changed)
    if ended.skipped or ended.errored:
        told += f"; {ended.skipped + ended.errored:,} could not be"
    app.notify(told, severity="warning" if ended.errored else "information", markup=False)
    if (page := app.page) is not None:
        page.changed()
