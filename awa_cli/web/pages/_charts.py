"""The data of the charts, kept for each time window and shared by all requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from awa_cli.views.series import WINDOWS, Series
from awa_cli.views.words import counted, now, say_count, say_rate, say_seconds
from awa_lib.reads.failures import Ended, ends_over_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.requests import Request

    from awa_cli.views.series import Window
    from awa_cli.web.pages._failures import FailureRow
    from awa_cli.web.state import State
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["Chart", "Mark", "charts", "failure_chart", "last_hour", "marks", "window_of"]

_MAX_SERIES: Final = 32
_CHARTS: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("completed", "Completed", say_rate),
    ("failed", "Failed", say_count),
    ("waited", "Wait until claimed", say_seconds),
)
_NOTHING: Final = {
    "completed": "No job completed",
    "failed": "No attempt failed",
    "waited": "No job was claimed and completed",
}
_MOST_MARKS: Final = 6
_HOUR: Final = next(one for one in WINDOWS if one.name == "1h")
_NONE: Final = Ended()


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that a chart marks: workers that started, or a failure that was new."""

    at: int
    """Epoch seconds."""
    what: str
    """``deploy`` or ``failure``."""
    words: str

    @property
    def data(self) -> dict[str, Any]:
        """What the script needs."""
        return {"at": self.at, "what": self.what, "words": self.words}

    @property
    def moment(self) -> datetime:
        """The moment."""
        return datetime.fromtimestamp(self.at, UTC)


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
    more: Sequence[float | None] = field(default_factory=list)
    """What is drawn on top: attempts that failed and are tried again."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(self.values) and not any(self.more)

    @property
    def nothing(self) -> str:
        """The words of an empty chart."""
        return _NOTHING[self.name]

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


def window_of(request: Request, default: str = WINDOWS[0].name) -> Window:
    """Return the time window of the address, or the default if it is unknown."""
    known = {one.name: one for one in WINDOWS}
    return known.get(request.query_params.get("window", default), known[default])


async def charts(
    request: Request, *, queue: str | None = None, kind: str | None = None
) -> list[Chart]:
    """Return the charts of a queue, of a kind, or of everything; only new values are read."""
    series = await _series(request, window_of(request), queue, kind)
    return [_chart(series, name, title, say) for name, title, say in _CHARTS]


async def last_hour(request: Request) -> dict[str, int]:
    """Return how many jobs were completed and failed in the last hour, and attempts retried."""
    series = await _series(request, _HOUR)
    return {name: series.total(name) for name in ("completed", "failed", "retried")}


async def _series(
    request: Request, window: Window, queue: str | None = None, kind: str | None = None
) -> Series:
    """Return a series that is at most as old as cached answers."""
    state: State = request.app.state.awa
    kept = _SHARED.setdefault(state, {})
    key = (window.name, queue, kind)
    if key not in kept and len(kept) >= _MAX_SERIES:
        del kept[next(iter(kept))]
    one = kept.setdefault(key, _SharedSeries(window, queue=queue, kind=kind))
    async with one.lock:
        age = state.settings.cache_seconds
        if not one.series.begun or (now() - one.series.until).total_seconds() >= age:
            await state.run(one.series.read(now()))
    return one.series


def _chart(series: Series, name: str, title: str, say: Callable[[float], str]) -> Chart:
    values: list[float | None] = getattr(series, name)()
    first, width = series.begin, series.window.width
    if name == "failed":
        return _failed(title, first, series.window, values, series.retried())
    known = [value for value in values if value is not None]
    last = next((say(value) for value in reversed(values) if value is not None), "none")
    words = f"none in the last {series.window.name}"
    if any(known):
        mean, highest = say(sum(known) / len(known)), say(max(known))
        words = f"{mean} on average, at most {highest}, in the last {series.window.name}"
    return Chart(name, title, last, words, first, width, values)


def _failed(
    title: str,
    first: int,
    window: Window,
    failed: Sequence[float | None],
    retried: Sequence[float | None],
) -> Chart:
    """Return the chart of failed attempts; its number is that of the whole window."""
    lost, again = (sum(one or 0.0 for one in values) for values in (failed, retried))
    words = f"none in the last {window.name}"
    if lost or again:
        words = f"{say_count(lost)} for good, {say_count(again)} tried again, "
        words += f"in the last {window.name}"
    return Chart("failed", title, say_count(lost), words, first, window.width, failed, retried)


async def failure_chart(request: Request, failure_id: str, window: Window) -> Chart:
    """Return the chart of the attempts that failed in one way."""
    state: State = request.app.state.awa
    last = int(now().timestamp()) // window.width
    first = last - window.buckets + 1
    until = now() + timedelta(minutes=1)
    since = datetime.fromtimestamp(first * window.width, UTC)
    op = ends_over_time(since, until, seconds=window.width, failure=failure_id)
    found = {int(one.bucket.timestamp()) // window.width: one.ended for one in await state.run(op)}
    ended = [found.get(number, _NONE) for number in range(first, last + 1)]
    failed = [float(one.failed + one.cancelled) for one in ended]
    retried = [float(one.retried) for one in ended]
    return _failed("Attempts that failed so", first * window.width, window, failed, retried)


def marks(
    window: Window, fleet: Iterable[RuntimeInstance], failures: Iterable[FailureRow]
) -> list[Mark]:
    """Return what began in the window: workers that started, and failures that were new."""
    end = int(now().timestamp())
    begin = end - window.width * window.buckets
    starts: dict[int, list[RuntimeInstance]] = {}
    for one in fleet:
        starts.setdefault(int(one.started_at.timestamp()) // window.width, []).append(one)
    found = [_deploy(workers) for workers in starts.values()]
    found += [
        Mark(int(one.first.timestamp()), "failure", f"new: {one.name or one.message[:40]}")
        for one in failures
        if one.failure
    ]
    known = [one for one in found if begin <= one.at <= end]
    return sorted(known, key=lambda one: one.at)[-_MOST_MARKS:]


def _deploy(workers: list[RuntimeInstance]) -> Mark:
    at = min(int(one.started_at.timestamp()) for one in workers)
    return Mark(at, "deploy", f"{counted(len(workers), 'worker')} started")
