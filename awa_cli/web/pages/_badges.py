"""Numbers beside entries of the navigation: what needs a look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.words import counted
from awa_lib.errors import AwaError
from awa_lib.reads.incidents import badges as read_badges

if TYPE_CHECKING:
    from starlette.requests import Request

    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["Badge", "badges", "badges_data"]

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
    numbers = yield from read_badges()
    found = {}
    if numbers.failures:
        words = f"{counted(numbers.failures, 'failure')} in the last hour"
        found["failures"] = Badge(_short(numbers.failures), words, bad=True)
    if numbers.dead_letters:
        words = counted(numbers.dead_letters, "dead letter")
        found["dlq"] = Badge(_short(numbers.dead_letters), words)
    return found


def _short(number: int) -> str:
    """Write a number that is counted up to 10,000: ``950``, ``2,079``, ``10k+``."""
    return f"{number:,}" if number < _LONG else "10k+"
