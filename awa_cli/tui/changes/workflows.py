"""Changes of workflows: cancel, retry, send a signal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from awa_cli.tui.changes.change import Change
from awa_cli.tui.widgets.dialogs import AskText, Pick
from awa_cli.views.actions import operator, recorded, retried
from awa_cli.views.words import clean, counted
from awa_cli.views.workflow_tasks import can_retry
from awa_cli.views.workflows import called, title_of
from awa_lib.errors import AwaError, Conflict
from awa_lib.ops import workflows as ops
from awa_lib.ops.workflow_retries import retry_workflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.tui.host import Host
    from awa_lib._sql import Op
    from awa_lib.reads.workflow_tasks import WorkflowTask
    from awa_lib.reads.workflows import WorkflowOverview

__all__ = ["cancel", "retry", "send"]

_SAMPLE: Final = 8


def cancel(one: WorkflowOverview) -> Change:
    """Return the change that cancels a workflow."""
    return Change(
        "workflow.cancel",
        called(one),
        lambda: recorded(
            "workflow.cancel",
            one.id,
            ops.cancel_workflow(one.id),
            via="tui",
            actor=operator(),
            outcome=lambda count: {"jobs": count},
            name=one.name,
        ),
        in_parts=True,
    )


async def retry(app: Host, one: WorkflowOverview, tasks: Sequence[WorkflowTask] = ()) -> None:
    """Ask what to retry: these tasks, or all that failed; show how many, ask, and retry them."""
    ended = [task for task in tasks if can_retry(task)]
    names = [task.name for task in ended]
    these = counted(len(names), "task")
    if len(ended) == 1:
        these = clean(names[0])
        # Of a group those that failed.
        these = these if ended[0].members is None else f"failed tasks of {these}"
    options: list[tuple[str, str]] = []
    if names:
        options += [("tasks", these), ("tasks behind", f"{these}, and all behind")]
    if one.failed or one.cancelled:
        options += [
            ("failed", "all failed and cancelled"),
            ("failed behind", "all failed and cancelled, and all behind"),
        ]
    if not options:
        app.notify("Nothing to retry: no task failed or was cancelled.")
        return
    title = f"Retry which tasks of workflow {one.id}?"
    if (chosen := await app.push_screen_wait(Pick(title, options))) is not None:
        wanted = names if chosen.startswith("tasks") else None
        try:
            await _retry(app, one, wanted, downstream=chosen.endswith("behind"))
        except AwaError as error:
            app.show_error(error)


async def _retry(
    app: Host, one: WorkflowOverview, names: Sequence[str] | None, *, downstream: bool
) -> None:
    found = await app.source.read(
        retry_workflow(one.id, tasks=names, downstream=downstream, dry_run=True)
    )
    target = f"{counted(len(found), 'task')} of workflow {one.id} ({title_of(one)})"
    change = Change(
        "workflow.retry-tasks",
        target,
        lambda: recorded(
            "workflow.retry",
            one.id,
            retry_workflow(one.id, tasks=names, downstream=downstream),
            via="tui",
            actor=operator(),
            outcome=retried,
            downstream=downstream,
        ),
        in_parts=True,
    )
    more = " …" if len(found) > _SAMPLE else ""
    note = ", ".join(map(clean, found[:_SAMPLE])) + more
    app.apply(change, note=note)


async def send(app: Host, one: WorkflowOverview, names: Sequence[str]) -> None:
    """Ask for a signal and its payload, ask again, and send it.

    ``names`` are those that were not sent yet.
    """
    name: str | None = names[0] if len(names) == 1 else None
    if len(names) > 1:
        options = [(each, clean(each)) for each in names]
        name = await app.push_screen_wait(Pick("Send which signal?", options))
        if name is None:
            return
    if name is None:
        name = await app.push_screen_wait(AskText("Name of the signal"))
    if name is None:
        return
    title = f"Payload of signal {clean(name)}, as JSON"
    text = await app.push_screen_wait(AskText(title, "null", check=_fault))
    if text is not None:
        with_data = "" if text == "null" else f" with {clean(text)}"
        app.apply(_signal(one, name, json.loads(text)), note=f"Signal {clean(name)}{with_data}")


def _signal(one: WorkflowOverview, name: str, payload: Any) -> Change:
    return Change(
        "workflow.signal",
        f"{one.id} ({title_of(one)})",
        lambda: recorded(
            "workflow.signal",
            one.id,
            _send(one.id, name, payload),
            via="tui",
            actor=operator(),
            signal=name,
        ),
        in_parts=True,
    )


def _send(workflow_id: int, name: str, payload: Any) -> Op[None]:
    if not (yield from ops.send_signal(workflow_id, name, payload)):
        raise Conflict(
            f"signal {name!r} was sent to workflow {workflow_id} before",
            why="a signal is sent once",
        )


def _fault(text: str) -> str | None:
    """Return why a text is no JSON, or None."""
    try:
        json.loads(text)
    except ValueError as error:
        return f"This is not JSON: {error}"
    except RecursionError:
        return "This is nested too deep."
    return None
