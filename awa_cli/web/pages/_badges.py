"""Numbers beside entries of the navigation: what needs a look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.words import counted, now
from awa_lib.errors import AwaError
from awa_lib.reads.dead_letters import dlq_depth
from awa_lib.reads.ends import count_failures

if TYPE_CHECKING:
    from starlette.requests import Request

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["Badge", "badges", "badges_data"]

_HOUR: Final = timedelta(hours=1)
_LONG: Final = 10_000


@dataclass(frozen=True, slots=True)
class Badge:
    """A number with its words; ``bad`` is red."""

    text: str
    words: str
    bad: bool = False


async def badges(request: Request) -> dict[str, Badge]:
    """Return the badges by entry of the navigation; none if the database does not answer."""
    state: State = request.app.state.awa
    try:
        found: dict[str, Badge] = await state.cache.get("badges", lambda: state.run(_read()))
    except AwaError:
        return {}
    return found


def badges_data(found: dict[str, Badge]) -> dict[str, Any]:
    """Return badges as JSON for the script that updates them."""
    return {name: asdict(one) for name, one in found.items()}


def _read() -> Op[dict[str, Badge]]:
    failures = yield from count_failures(now() - _HOUR)
    dead = yield from dlq_depth()
    found = {}
    if failures:
        words = f"{counted(failures, 'failure')} in the last hour"
        found["failures"] = Badge(_short(failures), words, bad=True)
    if dead:
        found["dlq"] = Badge(_short(dead), counted(dead, "dead letter"))
    return found


def _short(number: int) -> str:
    """Write a number in four characters: ``950``, ``2,079``, ``12k``."""
    return f"{number:,}" if number < _LONG else f"{number // 1000:,}k"
