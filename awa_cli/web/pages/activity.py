"""Activity: what happens to jobs, as it happens."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.states import state_sign
from awa_cli.web.api.overview import kinds, queues
from awa_cli.web.pages._render import read, render
from awa_lib.reads.activity import recent_transitions
from awa_lib.states import STATES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib.reads.activity import Transition

__all__ = ["show"]

# So many are looked through; older ones are found among the jobs.
_RECENT: Final = 1_000
_SHOWN: Final = 200
_EVENTS: Final = ("created", *STATES)


async def show(request: Request) -> Response:
    """Answer with the latest transitions that fit, newest first; a script adds what is new."""
    wanted = {
        name: value
        for name in ("event", "kind", "queue")
        if (value := request.query_params.get(name, "").strip())
    }
    # Not an older answer: what it lacks, the stream does not bring.
    found: list[Transition] = await read(request, recent_transitions(_RECENT))
    fitting = [one for one in reversed(found) if _fits(one, wanted)]
    return await render(
        request,
        "activity.html",
        part="parts/activity.html",
        rows=fitting[:_SHOWN],
        most=_SHOWN,
        wanted=wanted,
        events=_EVENTS,
        signs={event: state_sign(event) for event in _EVENTS},
        kinds=await read(request, kinds(), cached="names of kind"),
        queues=await read(request, queues(), cached="names of queue"),
        command=" ".join(
            ["awa job tail -f", *(f"--{name} {shlex.quote(v)}" for name, v in wanted.items())]
        ),
    )


def _fits(one: Transition, wanted: dict[str, Any]) -> bool:
    return all(getattr(one, name) == value for name, value in wanted.items())
