"""The page of recent state changes of jobs, updated live."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.states import state_label
from awa_cli.web.api.overview import kinds, queues
from awa_cli.web.pages.render import read, render
from awa_lib.reads.activity import recent_transitions
from awa_lib.states import STATES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib.reads.activity import Transition

__all__ = ["show"]

# Transitions that are read and filtered.
_MAX_READ: Final = 1_000
_MAX_ROWS: Final = 200
_EVENTS: Final = ("created", *STATES)


async def show(request: Request) -> Response:
    """Show the latest matching transitions, newest first; a script adds later transitions."""
    filters = {
        name: value
        for name in ("event", "kind", "queue")
        if (value := request.query_params.get(name, "").strip())
    }
    # Not cached: the stream does not repeat what an older answer lacks.
    transitions: list[Transition] = await read(request, recent_transitions(_MAX_READ))
    matching = [one for one in reversed(transitions) if _matches(one, filters)]
    return await render(
        request,
        "activity.html",
        part="parts/activity.html",
        rows=matching[:_MAX_ROWS],
        max_rows=_MAX_ROWS,
        filters=filters,
        events=_EVENTS,
        labels={event: state_label(event) for event in _EVENTS},
        kinds=await read(request, kinds(), cached="names of kind"),
        queues=await read(request, queues(), cached="names of queue"),
        command=" ".join(
            ["awa job tail -f", *(f"--{name} {shlex.quote(v)}" for name, v in filters.items())]
        ),
    )


def _matches(one: Transition, filters: dict[str, Any]) -> bool:
    return all(getattr(one, name) == value for name, value in filters.items())
