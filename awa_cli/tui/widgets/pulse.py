"""Charts of what ends and what waits, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal

from awa_cli.output import span
from awa_cli.tui.widgets.chart import Chart

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_cli.tui.series import Series

__all__ = ["Pulse"]


class Pulse(Horizontal):
    """Completions, failures, time until the claim, age of the oldest job."""

    def compose(self) -> ComposeResult:
        """Yield the charts."""
        yield Chart("completed", style="green", say=_rate, id="completed")
        yield Chart("failed", style="red", say=_count, id="failed")
        yield Chart("wait", style="cyan", say=_seconds, id="waited")
        yield Chart("lag", style="yellow", say=_seconds, id="lags")

    def show(self, series: Series) -> None:
        """Show other values, in place."""
        for name in ("completed", "failed", "waited", "lags"):
            values = getattr(series, name)()
            self.query_one(f"#{name}", Chart).show(values, series.window.name)


def _rate(value: float) -> str:
    return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.1f}/s"  # noqa: PLR2004 - two digits say enough


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f}ms" if value < 1 else span(value)
