"""A change of what is ticked, one by one: what is refused does not stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.actions import ACTIONS
from awa_cli.web.pages._render import told
from awa_lib.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["change_each", "ids_of"]

_MOST_TICKED: Final = 1_000


async def change_each(
    request: Request,
    ids: Sequence[int],
    one: Callable[[int], Op[Any]],
    action_id: str,
    target: Callable[[int], str],
) -> Response:
    """Run the endpoint ``one`` for each; ``target`` says so many.

    Raises what was refused first when all were.
    """
    state: State = request.app.state.awa
    refused: list[NotFound | Conflict] = []
    try:
        for job_id in ids:
            try:
                await state.run(one(job_id))
            except (NotFound, Conflict) as error:
                refused.append(error)
    finally:
        state.cache.clear()
    done = len(ids) - len(refused)
    if refused and not done:
        raise refused[0]
    said = ACTIONS[action_id].done.format(target=target(done))
    return told(f"{said}; {len(refused):,} not: {refused[-1]}" if refused else said)


def ids_of(texts: Sequence[str], thing: str = "job") -> list[int]:
    """Read the ids of what is ticked, sorted, each once.  Raises InvalidInput."""
    words = [word for word in ",".join(texts).split(",") if word]
    if not words or not all(word.isascii() and word.isdecimal() for word in words):
        raise InvalidInput(f"no {thing} is ticked", hint="tick some rows first")
    ids = sorted({int(word) for word in words if len(word) <= 18})  # noqa: PLR2004 - as ids are
    if len(ids) > _MOST_TICKED:
        raise InvalidInput(
            f"more than {_MOST_TICKED:,} {thing}s are ticked",
            hint="filter them, and change all that fit",
        )
    return ids
