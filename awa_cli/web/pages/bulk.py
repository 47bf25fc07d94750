"""The dialog for a change of many jobs: the ticked jobs, or all that match a filter.

The dialog first shows which jobs would change.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.views.actions import ACTIONS
from awa_cli.views.words import counted
from awa_cli.web import api
from awa_cli.web.api.fields import Name, Priority
from awa_cli.web.json_schema import Schemas, from_text
from awa_cli.web.pages._change_each import change_each, ids_of
from awa_cli.web.pages._list_query import filter_of
from awa_cli.web.pages.render import fields, read, render, report
from awa_cli.web.problems import Refused
from awa_cli.web.query_string import read_params
from awa_cli.web.scope import identity_of
from awa_lib.errors import InvalidInput
from awa_lib.reads.jobs import job_rows_of
from awa_lib.states import CAN_CANCEL, CAN_RETRY, ENDED, QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["ask", "carry_out"]

_SAMPLE: Final = 10


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of many jobs, as a bulk operation and as an action."""

    operation: str
    action_id: str
    states: Sequence[str]
    endpoint: Callable[..., Op[Any]]
    """The endpoint that changes a single job."""
    argument: str | None = None
    type: Any = None


_CHANGES: Final = {
    "retry": _Change("retry", "jobs.retry", CAN_RETRY, api.jobs.retry),
    "cancel": _Change("cancel", "jobs.cancel", CAN_CANCEL, api.jobs.cancel),
    "discard": _Change("delete", "jobs.discard", ENDED, api.jobs.delete),
    "priority": _Change(
        "set_priority", "jobs.priority", QUEUED, api.jobs.priority, "priority", Priority
    ),
    "move": _Change("move_queue", "jobs.move", QUEUED, api.jobs.move, "to_queue", Name),
}


async def ask(request: Request) -> Response:
    """Show the dialog: how many jobs would change, and which."""
    given = read_params(request.url.query)
    name, change = _change(given.pop("action", [""])[0])
    if "ids" in given:
        ticked = ids_of(given["ids"])
        rows = await read(request, job_rows_of(ticked))
        changeable = [job for job in rows if job.state in change.states]
        states = dict(Counter(job.state for job in changeable).most_common())
        ids = [job.id for job in changeable]
        total, sample, hidden = len(ids), ids, [("ids", ",".join(map(str, ids)))]
        of = counted(len(ticked), "ticked job") if len(ids) < len(ticked) else ""
    else:
        where = _where(given)
        state: State = request.app.state.awa
        op = api.bulk_operations.preview(
            state.settings, operation=_operation(change), all=not where, **where
        )
        preview = await read(request, op)
        total, sample, states, of = preview.total_matched, preview.sample, preview.states, ""
        hidden = [(field, value) for field, values in given.items() for value in values]
    queues = await read(request, api.overview.queues(), cached="names of queue")
    return await render(
        request,
        "parts/bulk.html",
        name=name,
        change=change,
        action=ACTIONS[change.action_id],
        jobs=counted(total),
        total=total,
        states=states,
        sample=sample[:_SAMPLE],
        of=of,
        hidden=hidden,
        queues=queues if change.argument == "to_queue" else [],
        by_ids="ids" in given,
    )


async def carry_out(request: Request) -> Response:
    """Change the ticked jobs one by one, or submit a bulk operation."""
    who = identity_of(request.scope)
    state: State = request.app.state.awa
    await state.require_operate(who)
    form = await fields(request)
    _, change = _change(form.pop("action", [""])[0])
    extra = _argument(change, form)
    if "ids" in form:
        return await _change_each(request, change, ids_of(form["ids"]), extra)
    where = _where(form)
    op = api.bulk_operations.submit(
        who, state.settings, operation=_operation(change), all=not where, **extra, **where
    )
    submitted = await state.run(op)
    state.cache.clear()
    total = counted(submitted.total_matched)
    verb = ACTIONS[change.action_id].verb
    return report(f"{verb}: {total}, as a bulk operation", to="/batches")


async def _change_each(
    request: Request, change: _Change, ids: list[int], extra: dict[str, Any]
) -> Response:
    who = identity_of(request.scope)
    return await change_each(
        request,
        ids,
        lambda job_id: change.endpoint(who, job_id, **extra),
        change.action_id,
        lambda done: _target(counted(done), extra),
    )


def _target(jobs: str, extra: dict[str, Any]) -> str:
    if "priority" in extra:
        return f"{jobs} priority {extra['priority']}"
    return f"{jobs} to queue {extra['to_queue']}" if "to_queue" in extra else jobs


def _change(name: str) -> tuple[str, _Change]:
    if name not in _CHANGES:
        raise Refused(
            422, f"there is no change {name[:40]!r}", f"valid names are {', '.join(_CHANGES)}"
        )
    return name, _CHANGES[name]


def _operation(change: _Change) -> Any:
    return change.operation


def _argument(change: _Change, form: dict[str, list[str]]) -> dict[str, Any]:
    if change.argument is None:
        return {}
    texts = form.pop(change.argument, None)
    if not texts:
        raise InvalidInput(f"{change.argument} is missing")
    schema = Schemas().of(change.type)
    return {change.argument: from_text(schema, texts, change.argument)}


def _where(given: dict[str, list[str]]) -> dict[str, Any]:
    """Return the filter as endpoints of bulk operations take it.  Raises InvalidInput."""
    return dict(QUERY_STRING.bulk(filter_of(given)))
