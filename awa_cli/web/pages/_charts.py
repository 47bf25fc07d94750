"""The data of the charts, kept for each time window and shared by all requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from awa_cli.views.series import WINDOWS, Series
from awa_cli.views.words import now, say_count, say_rate, say_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from awa_cli.views.series import Window
    from awa_cli.web.state import State

__all__ = ["Chart", "charts", "window_of"]

_MAX_SERIES: Final = 32
_CHARTS: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("completed", "Completed", say_rate),
    ("failed", "Failed", say_count),
    ("waited", "Wait until claimed", say_seconds),
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: ``values`` by bucket, oldest first; ``words`` is its text alternative."""

    name: str
    title: str
    last: str
    words: str
    begin: int
    """Epoch seconds of the first bucket."""
    width: int
    """Seconds of a bucket."""
    values: Sequence[float | None]

    @property
    def points(self) -> str:
        """Return the points of a line in a picture that is 100 wide and 40 high."""
        highest = max((one for one in self.values if one is not None), default=0.0) or 1.0
        step = 100 / max(len(self.values) - 1, 1)
        return " ".join(
            f"{number * step:.1f},{39 - 38 * value / highest:.1f}"
            for number, value in enumerate(self.values)
            if value is not None
        )


class _SharedSeries:
    """A series, and the lock of the request that reads it."""

    def __init__(self, window: Window, **of: str | None) -> None:
        self.series = Series(window, **of)
        self.lock = asyncio.Lock()


_SHARED: WeakKeyDictionary[State, dict[Any, _SharedSeries]] = WeakKeyDictionary()


def window_of(request: Request) -> Window:
    """Return the time window of the address, or the shortest if it is unknown."""
    name = request.query_params.get("window")
    return next((one for one in WINDOWS if one.name == name), WINDOWS[0])


async def charts(
    request: Request, *, queue: str | None = None, kind: str | None = None
) -> list[Chart]:
    """Return the charts of a queue, of a kind, or of everything; only new values are read."""
    state: State = request.app.state.awa
    window = window_of(request)
    kept = _SHARED.setdefault(state, {})
    key = (window.name, queue, kind)
    if key not in kept and len(kept) >= _MAX_SERIES:
        del kept[next(iter(kept))]
    one = kept.setdefault(key, _SharedSeries(window, queue=queue, kind=kind))
    async with one.lock:
        age = state.settings.cache_seconds
        if not one.series.begun or (now() - one.series.until).total_seconds() >= age:
            await state.run(one.series.read(now()))
        return [_chart(one.series, name, title, say) for name, title, say in _CHARTS]


def _chart(series: Series, name: str, title: str, say: Callable[[float], str]) -> Chart:
    values: list[float | None] = getattr(series, name)()
    known = [value for value in values if value is not None]
    last = next((say(value) for value in reversed(values) if value is not None), "none")
    words = f"none in the last {series.window.name}"
    if name == "failed" and any(known):
        words = f"{say(sum(known))} in the last {series.window.name}"
    elif any(known):
        mean, highest = say(sum(known) / len(known)), say(max(known))
        words = f"{mean} on average, at most {highest}, in the last {series.window.name}"
    first = series.begin
    return Chart(name, title, last, words, first, series.window.width, values)
