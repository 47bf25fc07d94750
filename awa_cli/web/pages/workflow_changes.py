"""The changes of a workflow by the buttons of its page, with their dialogs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_cli.views.actions import ACTIONS
from awa_cli.views.words import clean, counted
from awa_cli.views.workflow_tasks import some_names
from awa_cli.web import api
from awa_cli.web.pages.render import act, at, fields, read, render, report
from awa_cli.web.pages.workflow import id_of
from awa_cli.web.scope import identity_of
from awa_lib.errors import Conflict, InvalidInput
from awa_lib.ops.workflow_retries import retry_workflow
from awa_lib.reads.names import signal_names

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["ask_retry", "ask_signal", "cancel", "retry", "signal"]


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a retry would run again."""

    downstream: str
    """``true`` or ``false``, as the form sends it."""
    count: int
    names: str


async def cancel(request: Request) -> Response:
    """Cancel the workflow."""
    workflow_id = id_of(request)
    op = api.workflows.cancel(identity_of(request.scope), workflow_id)
    return await act(request, op, "workflow.cancel", workflow_id)


async def ask_retry(request: Request) -> Response:
    """Show the dialog that retries tasks: which, without and with those behind them."""
    workflow_id = id_of(request)
    # A preview reads all tasks that could be retried: for those who may.
    state: State = request.app.state.awa
    await state.require_operate(identity_of(request.scope))
    task = request.query_params.get("task")
    choices, why = await read(request, _choices(workflow_id, task))
    return await render(
        request,
        "parts/workflow_retry.html",
        action=ACTIONS["workflow.retry"],
        url=at("workflows", workflow_id, "retry"),
        task=task,
        things=clean(task) if task else f"the tasks of workflow {workflow_id} that failed",
        choices=choices,
        why=why,
    )


def _choices(workflow_id: int, task: str | None) -> Op[tuple[list[_Choice], str]]:
    """Return what can be chosen, or nothing and the reason."""
    tasks = None if task is None else [task]
    found: list[list[str]] = []
    why = ""
    for downstream in (False, True):
        op = retry_workflow(workflow_id, tasks=tasks, downstream=downstream, dry_run=True)
        try:
            found.append((yield from op))
        except Conflict as error:
            found.append([])
            why = str(error)
    alone, behind = found
    choices = [_Choice("false", len(alone), some_names(alone))] if alone else []
    if len(behind) > len(alone):
        known = set(alone)
        more = some_names(name for name in behind if name not in known)
        choices.append(_Choice("true", len(behind), more))
    return choices, why


async def retry(request: Request) -> Response:
    """Retry tasks of the workflow."""
    workflow_id = id_of(request)
    who = identity_of(request.scope)
    state: State = request.app.state.awa
    await state.require_operate(who)
    given = await fields(request)
    op = api.workflows.retry(
        who, workflow_id, tasks=given.get("task"), downstream=given.get("downstream") == ["true"]
    )
    try:
        done = await state.run(op)
    finally:
        state.cache.clear()
    return report(f"Retried {counted(len(done.tasks), 'task')} of workflow {workflow_id}")


async def ask_signal(request: Request) -> Response:
    """Show the dialog that sends a signal: the given one, or one that is named in it."""
    workflow_id = id_of(request)
    name = request.query_params.get("name", "")
    known = [] if name else await read(request, signal_names(workflow_id))
    return await render(
        request,
        "parts/workflow_signal.html",
        action=ACTIONS["workflow.signal"],
        url=at("workflows", workflow_id, "signal"),
        workflow_id=workflow_id,
        name=name,
        known=known,
    )


async def signal(request: Request) -> Response:
    """Send a signal to the workflow."""
    workflow_id = id_of(request)
    who = identity_of(request.scope)
    state: State = request.app.state.awa
    await state.require_operate(who)
    given = await fields(request)
    name = given.get("name", [""])[-1]
    payload = _payload(given.get("payload", [""])[-1])
    try:
        done = await state.run(api.workflows.signal(who, workflow_id, name=name, payload=payload))
    finally:
        state.cache.clear()
    sent = "Sent signal" if done.sent else "Not sent again: signal"
    return report(f"{sent} '{clean(name)}' to workflow {workflow_id}")


def _payload(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(
            "the payload is not JSON", hint='write it like {"by": "ann"}, or leave it empty'
        ) from None
