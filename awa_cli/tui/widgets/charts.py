"""Bar charts, in eighths of a cell where the terminal shows Unicode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.segment import Segment
from rich.style import Style
from textual.containers import Horizontal
from textual.strip import Strip
from textual.widget import Widget

from awa_cli.tui.widgets.cells import cell
from awa_cli.views.words import say_count, say_rate, say_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult

    from awa_cli.tui.host import Host
    from awa_cli.views.series import Series

__all__ = ["Chart", "SeriesCharts", "bars", "resample", "spark"]

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_ASCII: Final = " .:#"


def bars(values: Sequence[float | None], height: int, *, ascii_only: bool = False) -> list[str]:
    """Draw one column per value, the highest as high as the chart; the top line comes first.

    A value above zero always has a bar.  None is a gap.
    """
    signs = _ASCII if ascii_only else _EIGHTHS
    steps = len(signs) - 1
    top = max((one for one in values if one), default=0.0)
    levels = [
        0 if not one or top <= 0 else max(1, round(one / top * height * steps)) for one in values
    ]
    return [
        "".join(signs[max(0, min(steps, level - line * steps))] for level in levels)
        for line in reversed(range(height))
    ]


def spark(values: Sequence[float | None], *, ascii_only: bool = False) -> str:
    """Draw a chart of one line."""
    return bars(values, 1, ascii_only=ascii_only)[0]


def resample(values: Sequence[float | None], width: int) -> list[float | None]:
    """Fit values to a width: the largest of each group, or each value repeated."""
    if not values or width <= 0:
        return []
    if len(values) > width:
        groups = [
            values[i * len(values) // width : (i + 1) * len(values) // width] for i in range(width)
        ]
        return [max((one for one in group if one is not None), default=None) for group in groups]
    return [values[i * len(values) // width] for i in range(width)]


class Chart(Widget):
    """A title with the latest value, bars, and the time axis."""

    app: Host

    def __init__(
        self, title: str, *, style: str, say: Callable[[float], str], **options: Any
    ) -> None:
        super().__init__(**options)
        self.chart_title = title
        self._style = style
        self._say = say
        self._values: list[float | None] = []
        self._span = ""

    def show(self, values: Sequence[float | None], span: str) -> None:
        """Show values, the oldest first; ``span`` is the time they cover."""
        if list(values) != self._values or span != self._span:
            self._values, self._span = list(values), span
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        base, width, height = self.rich_style, self.size.width, self.size.height
        if y == 0:
            return Strip(self._heading(width, base))
        axis = height > 2  # noqa: PLR2004 - two lines have room for the bars alone
        body = height - 1 - axis
        if axis and y == height - 1:
            muted = base + self.app.paint("bright_black")
            left = f"-{self._span}" if self._span else ""
            return Strip([Segment(cell(left, max(width - 3, 0)) + "now"[:width], muted)])
        lines = bars(resample(self._values, width), body, ascii_only=self.app.ascii_only)
        text = lines[y - 1] if y - 1 < len(lines) else ""
        return Strip([Segment(cell(text, width), base + self.app.paint(self._style))])

    def _heading(self, width: int, base: Style) -> list[Segment]:
        known = [one for one in self._values if one is not None]
        latest = self._say(known[-1]) if known else "-"
        top = f"max {self._say(max(known))}" if known else ""
        title = muted = base + self.app.paint("bright_black")
        value = base + Style(bold=True)
        left = f"{self.chart_title} "
        rest = width - len(left) - len(latest)
        parts = [Segment(cell(left, min(len(left), width)), title)]
        if rest >= 0:
            parts.append(Segment(latest, value))
            parts.append(Segment(cell(top if len(top) < rest else "", rest, right=True), muted))
        return parts


class SeriesCharts(Horizontal):
    """Completions, failures, time until the claim, age of the oldest job, side by side."""

    def compose(self) -> ComposeResult:
        """Yield the charts."""
        yield Chart("completed", style="green", say=say_rate, id="completed")
        yield Chart("failed", style="red", say=say_count, id="failed")
        yield Chart("wait", style="cyan", say=say_seconds, id="waited")
        yield Chart("lag", style="yellow", say=say_seconds, id="lags")

    def show(self, series: Series) -> None:
        """Show the latest values, in place; without any, only a line of titles."""
        shown = (series.completed(), series.failed(), series.waited(), series.lags())
        self.set_class(not any(one for values in shown for one in values), "-blank")
        for name in ("completed", "failed", "waited", "lags"):
            values = getattr(series, name)()
            self.query_one(f"#{name}", Chart).show(values, series.window.name)
