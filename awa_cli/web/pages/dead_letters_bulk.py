"""The dialog for a change of many dead letters: the ticked, or all that match the filter.

The dialog first shows which dead letters would change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import Read
from awa_cli.views.actions import ACTIONS
from awa_cli.views.words import counted
from awa_cli.web import api
from awa_cli.web.pages._change_each import change_each, ids_of
from awa_cli.web.pages._list_query import filter_of
from awa_cli.web.pages.render import fields, read, render, report
from awa_cli.web.problems import Refused
from awa_cli.web.query_string import read_params
from awa_cli.web.scope import identity_of
from awa_lib.reads.dead_letters import DeadLetter, count_dead_letters, dead_letters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["ask", "carry_out"]

_SAMPLE: Final = 10
_NOUN: Final = "dead letter"
# The endpoint for a single dead letter, and the endpoint for all that match.
_CHANGES: Final[dict[str, tuple[Any, Any]]] = {
    "retry": (api.dead_letters.retry, api.dead_letters.retry_all),
    "purge": (api.dead_letters.purge, api.dead_letters.purge_all),
}


async def ask(request: Request) -> Response:
    """Show the dialog: how many dead letters would change, and which."""
    given = read_params(request.url.query)
    name = _change(given)
    if "ids" in given:
        ids = ids_of(given["ids"], _NOUN)
        total, sample = len(ids), ids[:_SAMPLE]
        hidden = {"ids": ",".join(map(str, ids))}
    else:
        hidden = _where(given)
        total, rows = await read(request, _preview(hidden))
        sample = [one.id for one in rows]
    return await render(
        request,
        "parts/dead_letters_bulk.html",
        name=name,
        action=ACTIONS[f"dlq.{name}"],
        total=total,
        target=counted(total, _NOUN),
        sample=sample,
        hidden=hidden,
        by_ids="ids" in given,
    )


def _preview(where: Any) -> Op[tuple[int, list[DeadLetter]]]:
    total = yield from count_dead_letters(**where)
    rows = yield from dead_letters(limit=_SAMPLE, **where)
    return total, rows


async def carry_out(request: Request) -> Response:
    """Change the dead letters; a refused change does not stop the others."""
    state: State = request.app.state.awa
    who = identity_of(request.scope)
    await state.require_operate(who)
    form = await fields(request)
    name = _change(form)
    one, every = _CHANGES[name]
    if "ids" in form:
        return await change_each(
            request,
            ids_of(form["ids"], _NOUN),
            lambda job_id: one(who, job_id),
            f"dlq.{name}",
            lambda done: counted(done, _NOUN),
        )
    where = _where(form)
    try:
        changed = await state.run(every(who, all=not where, **where))
    finally:
        state.cache.clear()
    return report(ACTIONS[f"dlq.{name}-all"].done.format(target=counted(changed.count, _NOUN)))


def _change(given: Mapping[str, Sequence[str]]) -> str:
    name = given.get("action", [""])[0]
    if name not in _CHANGES:
        raise Refused(
            422, f"there is no change {name[:40]!r}", f"valid names are {', '.join(_CHANGES)}"
        )
    return name


def _where(given: Mapping[str, list[str]]) -> dict[str, Any]:
    return dict(filter_of(given, Read.DEAD_LETTERS))
