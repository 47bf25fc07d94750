"""One change of many dead letters: of those that are ticked, or of all that fit the filter.

The dialog says first what would be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import Read
from awa_cli.terminal.output import counted
from awa_cli.views.actions import ACTIONS
from awa_cli.web import api
from awa_cli.web.guard import identity_of
from awa_cli.web.pages._change_each import change_each, ids_of
from awa_cli.web.pages._list_query import filter_of
from awa_cli.web.pages._render import fields, read, render, told
from awa_cli.web.problems import Refused
from awa_cli.web.query_string import read_params
from awa_lib.reads.dead_letters import DeadLetter, count_dead_letters, dead_letters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["ask", "carry_out"]

_SAMPLE: Final = 10
_THING: Final = "dead letter"
# The endpoint that changes one, and the one that changes all that fit.
_CHANGES: Final[dict[str, tuple[Any, Any]]] = {
    "retry": (api.dead_letters.retry, api.dead_letters.retry_all),
    "purge": (api.dead_letters.purge, api.dead_letters.purge_all),
}


async def ask(request: Request) -> Response:
    """Answer with the dialog: how many dead letters it would be, and which."""
    given = read_params(request.url.query)
    name = _change(given)
    if "ids" in given:
        ids = ids_of(given["ids"], _THING)
        total, sample = len(ids), ids[:_SAMPLE]
        hidden = {"ids": ",".join(map(str, ids))}
    else:
        hidden = _where(given)
        total, letters = await read(request, _fitting(hidden))
        sample = [one.id for one in letters]
    return await render(
        request, "parts/letters_bulk.html", name=name, action=ACTIONS[f"dlq.{name}"], total=total,
        letters=counted(total, _THING), sample=sample, hidden=hidden, by_ids="ids" in given,
    )  # fmt: skip


def _fitting(where: Any) -> Op[tuple[int, list[DeadLetter]]]:
    total = yield from count_dead_letters(**where)
    letters = yield from dead_letters(limit=_SAMPLE, **where)
    return total, letters


async def carry_out(request: Request) -> Response:
    """Change the dead letters; those that cannot be changed do not stop the others."""
    state: State = request.app.state.awa
    who = identity_of(request.scope)
    await state.require_operate(who)
    sent = await fields(request)
    name = _change(sent)
    one, every = _CHANGES[name]
    if "ids" in sent:
        return await change_each(
            request, ids_of(sent["ids"], _THING), lambda job_id: one(who, job_id), f"dlq.{name}",
            lambda done: counted(done, _THING),
        )  # fmt: skip
    where = _where(sent)
    try:
        changed = await state.run(every(who, all=not where, **where))
    finally:
        state.cache.clear()
    return told(ACTIONS[f"dlq.{name}-all"].done.format(target=counted(changed.count, _THING)))


def _change(given: Mapping[str, Sequence[str]]) -> str:
    name = given.get("action", [""])[0]
    if name not in _CHANGES:
        raise Refused(
            422, f"there is no change {name[:40]!r}", f"it is one of {', '.join(_CHANGES)}"
        )
    return name


def _where(given: Mapping[str, list[str]]) -> dict[str, Any]:
    return dict(filter_of(given, Read.DEAD_LETTERS))
