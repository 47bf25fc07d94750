"""Change the ticked rows one by one; a refused change does not stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.actions import ACTIONS
from awa_cli.web.pages.render import report
from awa_lib.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["change_each", "ids_of"]

_MAX_TICKED: Final = 1_000


async def change_each(
    request: Request,
    ids: Sequence[int],
    change: Callable[[int], Op[Any]],
    action_id: str,
    target: Callable[[int], str],
) -> Response:
    """Run the endpoint ``change`` for each id; ``target(count)`` names what was changed.

    Raises the first error if every change was refused.
    """
    state: State = request.app.state.awa
    refused: list[NotFound | Conflict] = []
    try:
        for job_id in ids:
            try:
                await state.run(change(job_id))
            except (NotFound, Conflict) as error:
                refused.append(error)
    finally:
        state.cache.clear()
    done = len(ids) - len(refused)
    if refused and not done:
        raise refused[0]
    message = ACTIONS[action_id].done.format(target=target(done))
    if refused:
        message += f"; {len(refused):,} refused: {refused[-1]}"
    return report(message)


def ids_of(texts: Sequence[str], thing: str = "job") -> list[int]:
    """Parse the ids of the ticked rows; sorted, without duplicates.  Raises InvalidInput."""
    words = [word for word in ",".join(texts).split(",") if word]
    if not words or not all(word.isascii() and word.isdecimal() for word in words):
        raise InvalidInput(f"no {thing} is ticked", hint="tick at least one row")
    ids = sorted({int(word) for word in words if len(word) <= 18})  # noqa: PLR2004 - the digits of a bigint
    if len(ids) > _MAX_TICKED:
        raise InvalidInput(
            f"more than {_MAX_TICKED:,} {thing}s are ticked",
            hint="use a filter, and change all matching rows",
        )
    return ids
